//! How the control plane's values are written: hashes, times, enums, counts.

use std::time::Duration;

use weir_core::calendar;
use weir_core::tuning::Code;
use weir_core::units::format_rough;
use weir_proto::control::v1::{JobState, Presence, Role};
use weir_proto::tuning::v1::ApplyClass;

/// Bytes of a hash that tables show.
const SHORT_HASH_BYTES: usize = 4;

/// Lower-case hexadecimal.
pub(in crate::cli) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Enough of a hash to tell it from others; `-` for none.
pub(in crate::cli) fn short_hash(hash: &[u8]) -> String {
    match hash {
        [] => "-".to_owned(),
        _ => hex(&hash[..hash.len().min(SHORT_HASH_BYTES)]),
    }
}

/// A time as RFC 3339 in UTC, to the millisecond; `None` for 0, which stands for no time.
pub(in crate::cli) fn rfc3339(unix_ms: u64) -> Option<String> {
    (unix_ms > 0).then(|| calendar::rfc3339_ms(unix_ms))
}

/// A time for tables, to the second; `-` for none.
pub(in crate::cli) fn moment(unix_ms: u64) -> String {
    match unix_ms {
        0 => "-".to_owned(),
        _ => calendar::rfc3339(unix_ms),
    }
}

/// How long ago, such as `2m 5s`; `-` for no time.
pub(in crate::cli) fn ago(unix_ms: u64, now: Duration) -> String {
    match unix_ms {
        0 => "-".to_owned(),
        _ => format_rough(now.saturating_sub(Duration::from_millis(unix_ms))),
    }
}

/// Milliseconds for the wire.
pub(in crate::cli) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Such as `1 problem`, `2 problems`.
pub(in crate::cli) fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// The text, or `-` for none.
pub(in crate::cli) fn or_dash(text: &str) -> String {
    match text {
        "" => "-".to_owned(),
        _ => text.to_owned(),
    }
}

/// The text, or `None` for none.
pub(in crate::cli) fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// When a change takes effect.
pub(in crate::cli) fn apply_class(class: ApplyClass) -> &'static str {
    match class {
        ApplyClass::Unspecified => "unknown",
        ApplyClass::Hot => "hot",
        ApplyClass::NewConnections => "new connections",
        ApplyClass::Drain => "drain",
        ApplyClass::Restart => "restart",
        ApplyClass::Host => "host",
    }
}

/// Whether a node is there.
pub(in crate::cli) fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Unspecified => "unknown",
        Presence::Connected => "connected",
        Presence::Suspect => "suspect",
        Presence::Away => "away",
    }
}

/// How a job is.
pub(in crate::cli) fn job_state(state: JobState) -> &'static str {
    match state {
        JobState::Unspecified => "unknown",
        JobState::Ready => "ready",
        JobState::Waiting => "waiting",
        JobState::Claimed => "claimed",
        JobState::Dead => "dead",
        JobState::Done => "done",
        JobState::Cancelled => "cancelled",
    }
}

/// What a token allows.
pub(in crate::cli) fn role(role: Role) -> &'static str {
    match role {
        Role::Unspecified => "unknown",
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
        Role::Node => "node",
        Role::Backend => "backend",
    }
}

/// What kind of wrong.
pub(in crate::cli) fn problem_code(code: Code) -> &'static str {
    match code {
        Code::Unknown => "unknown",
        Code::Type => "type",
        Code::Range => "range",
        Code::Conflict => "conflict",
        Code::Infeasible => "infeasible",
        Code::Unsupported => "unsupported",
        Code::Quarantined => "quarantined",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_stands_for_no_time() {
        assert_eq!(rfc3339(1).as_deref(), Some("1970-01-01T00:00:00.001Z"));
        assert_eq!(rfc3339(0), None);
        assert_eq!(moment(951_782_399_999), "2000-02-28T23:59:59Z");
        assert_eq!(moment(0), "-");
    }

    #[test]
    fn hashes_are_hexadecimal() {
        assert_eq!(hex(&[0, 15, 255]), "000fff");
        assert_eq!(short_hash(&[1, 2, 3, 4, 5]), "01020304");
        assert_eq!(short_hash(&[1]), "01");
        assert_eq!(short_hash(&[]), "-");
    }

    #[test]
    fn what_happened_later_than_now_is_no_time_ago() {
        let now = Duration::from_secs(100);
        assert_eq!(ago(35_000, now), "1m 5s");
        assert_eq!(ago(200_000, now), "0s");
        assert_eq!(ago(0, now), "-");
    }
}
