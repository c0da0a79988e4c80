//! The wall clock: who keeps it, and what others' clocks say.

use super::finding::{Area, Finding, Severity};
use crate::purge::DEFAULT_DRIFT_MAX_MS;

/// Beyond this times in logs and traces of several machines do not fit together.
const NOTICED_MS: u64 = 500;
const FIX: &str = "`timedatectl set-ntp true`, or start chronyd or ntpd";

/// Who keeps the clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Daemon {
    /// A daemon says that it is synchronised.
    Synchronised(&'static str),
    /// A daemon runs; whether it has synchronised is not known.
    Running(&'static str),
    /// None is seen: there is none, or this is a container.
    #[default]
    None,
}

/// What another clock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Whose clock.
    pub of: String,
    /// By how much it is ahead of this host's, in milliseconds.
    pub ahead_ms: i64,
    /// How wrong that may be either way, in milliseconds.
    pub doubt_ms: u64,
}

/// How the clock is kept, and what others' clocks say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Who keeps it.
    pub daemon: Daemon,
    /// What others say.
    pub offsets: Vec<Offset>,
}

pub(super) fn judge(clock: &Clock) -> Vec<Finding> {
    let synchronised = |found: String| Finding::ok(Area::Clock, "clock synchronised", found);
    let kept = match &clock.daemon {
        Daemon::Synchronised(name) => synchronised(format!("yes, by {name}")),
        Daemon::Running(name) => synchronised(format!("{name} runs")),
        Daemon::None => synchronised("no daemon is seen".to_owned()).bad(
            Severity::Info,
            "unless the host of this container keeps it, the clock drifts: purges and traces of nodes lose their order",
            FIX,
        ),
    };
    std::iter::once(kept)
        .chain(clock.offsets.iter().map(judge_offset))
        .collect()
}

fn judge_offset(offset: &Offset) -> Finding {
    let side = match offset.ahead_ms {
        0.. => "ahead",
        _ => "behind",
    };
    let apart_ms = offset.ahead_ms.unsigned_abs();
    let found = format!("{apart_ms} ms {side}, give or take {} ms", offset.doubt_ms);
    let finding = Finding::ok(Area::Clock, format!("clock of {}", offset.of), found);
    let surely_ms = apart_ms.saturating_sub(offset.doubt_ms);
    match surely_ms {
        _ if surely_ms > DEFAULT_DRIFT_MAX_MS => finding.bad(
            Severity::Error,
            format!(
                "further apart than nodes allow ({DEFAULT_DRIFT_MAX_MS} ms): purges of the one that is ahead are \
                 refused by the others, and certificates may count as not valid"
            ),
            FIX,
        ),
        _ if surely_ms > NOTICED_MS => finding.bad(
            Severity::Warning,
            "purges wait for as long as clocks are apart; times in logs and traces do not fit together",
            FIX,
        ),
        _ => finding,
    }
}
