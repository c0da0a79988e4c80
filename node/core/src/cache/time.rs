//! Points in time, all of one timeline.

use std::time::Duration;

/// Milliseconds since the Unix epoch by the clock of the cache. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// Later than anything that is compared with it.
    pub const NEVER: Self = Self(u64::MAX);

    /// This point in time, later by `duration`.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(ms(duration)))
    }

    /// This point in time, earlier by `duration`.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(ms(duration)))
    }

    /// How long ago `earlier` was; zero if it is in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The whole second that this is part of, since the Unix epoch.
    pub fn unix_s(self) -> u64 {
        self.0 / 1_000
    }
}

/// Milliseconds of a duration, at most what 64 bits hold.
pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
