//! What a connection that does not keep up loses.
//!
//! Bytes and age count, never messages: of both it is known what they cost.

use std::time::Duration;

use crate::cache::UnixMs;

/// Bounds of what waits for one connection, what is being written included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Bytes that are not critical.
    pub bytes_max: usize,
    /// Bytes beside them that only critical messages may take.
    pub critical_bytes_max: usize,
    /// How old the oldest may be.
    pub age_max: Duration,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self {
            bytes_max: 1 << 20,
            critical_bytes_max: 64 << 10,
            age_max: Duration::from_secs(10),
        }
    }
}

impl OutboxLimits {
    /// Beyond so many bytes, ephemeral messages are dropped and the client is told that it is slow.
    pub const fn soft_bytes(&self) -> usize {
        self.bytes_max / 2
    }
}

/// What waits for a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Bytes that are not critical.
    pub bytes: usize,
    /// Bytes that are.
    pub critical_bytes: usize,
    /// Since when the oldest waits that may be dropped.
    pub oldest: Option<UnixMs>,
    /// Since when the oldest waits that is critical.
    pub critical_oldest: Option<UnixMs>,
}

/// What a batch is to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Holds something critical.
    Critical,
    /// Holds something numbered.
    Numbered,
    /// Only what is not kept anywhere.
    Ephemeral,
}

/// Why a connection is ended by the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CutReason {
    /// It does not take what it may not miss.
    Slow,
    /// Its patterns take more topics than a connection may have.
    TooManyTopics,
    /// An operator wants it.
    Operator,
    /// It may not receive any more what it receives.
    Unauthorized,
    /// The node goes, and it was told before.
    Draining,
}

impl CutReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::Slow,
        Self::TooManyTopics,
        Self::Operator,
        Self::Unauthorized,
        Self::Draining,
    ];

    /// As clients, people and metrics read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::TooManyTopics => "too-many-topics",
            Self::Operator => "operator",
            Self::Unauthorized => "unauthorized",
            Self::Draining => "draining",
        }
    }
}

/// What happens with a batch that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It waits with the others.
    Take,
    /// Ephemeral ones that wait are dropped, the oldest first, until it fits or it is the last of them to be dropped.
    DropEphemeral,
    /// All that waits and is not critical is dropped, and read from history when the connection takes something again.
    CatchUp,
    /// The connection ends.
    Cut(CutReason),
}

/// What to do with a batch of so many bytes. A connection for which nothing waits takes anything.
pub const fn admit(load: Load, kind: Kind, bytes: usize, limits: &OutboxLimits) -> Admission {
    let all = load.bytes + load.critical_bytes;
    match kind {
        _ if all == 0 => Admission::Take,
        Kind::Critical if all + bytes > limits.bytes_max + limits.critical_bytes_max => {
            Admission::Cut(CutReason::Slow)
        }
        Kind::Numbered if load.bytes + bytes > limits.bytes_max => Admission::CatchUp,
        Kind::Ephemeral if load.bytes + bytes > limits.soft_bytes() => Admission::DropEphemeral,
        _ => Admission::Take,
    }
}

/// What to do with what waits too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// As [`Admission::CatchUp`].
    CatchUp,
    /// The connection ends.
    Cut(CutReason),
}

/// What to do now with what waits, if it waits too long.
pub fn overdue(load: Load, now: UnixMs, limits: &OutboxLimits) -> Option<Overdue> {
    let old = |at: Option<UnixMs>| at.is_some_and(|at| now.since(at) > limits.age_max);
    if old(load.critical_oldest) {
        return Some(Overdue::Cut(CutReason::Slow));
    }
    old(load.oldest).then_some(Overdue::CatchUp)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: OutboxLimits = OutboxLimits {
        bytes_max: 1_000,
        critical_bytes_max: 100,
        age_max: Duration::from_secs(10),
    };

    fn load(bytes: usize, critical_bytes: usize) -> Load {
        Load {
            bytes,
            critical_bytes,
            ..Load::default()
        }
    }

    #[test]
    fn each_class_loses_what_it_may_lose() {
        for (bytes, critical, kind, more, expected) in [
            (0, 0, Kind::Numbered, 5_000, Admission::Take),
            (900, 0, Kind::Numbered, 100, Admission::Take),
            (900, 0, Kind::Numbered, 101, Admission::CatchUp),
            (900, 100, Kind::Numbered, 100, Admission::Take),
            (400, 0, Kind::Ephemeral, 100, Admission::Take),
            (400, 0, Kind::Ephemeral, 101, Admission::DropEphemeral),
            (1_000, 0, Kind::Critical, 100, Admission::Take),
            (
                1_000,
                1,
                Kind::Critical,
                100,
                Admission::Cut(CutReason::Slow),
            ),
            (0, 0, Kind::Critical, 5_000, Admission::Take),
        ] {
            let what = (bytes, critical, kind, more);
            assert_eq!(
                admit(load(bytes, critical), kind, more, &LIMITS),
                expected,
                "{what:?}"
            );
        }
    }

    #[test]
    fn a_connection_that_is_late_with_something_critical_is_cut() {
        let late = |oldest: Option<u64>, critical: Option<u64>| {
            let load = Load {
                oldest: oldest.map(UnixMs),
                critical_oldest: critical.map(UnixMs),
                ..load(1, 1)
            };
            overdue(load, UnixMs(10_001), &LIMITS)
        };
        assert_eq!(late(Some(1), Some(1)), None);
        assert_eq!(late(Some(0), Some(1)), Some(Overdue::CatchUp));
        assert_eq!(late(Some(0), Some(0)), Some(Overdue::Cut(CutReason::Slow)));
    }
}
