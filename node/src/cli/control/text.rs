//! How the control plane's values are written: hashes, times, enums, counts.

use std::time::Duration;

use weir_core::tuning::Code;
use weir_proto::control::v1::{ApplyStatus, Presence, Role};
use weir_proto::tuning::v1::ApplyClass;

use crate::cli::status::uptime;

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

/// A time as RFC 3339 in UTC, such as `2026-03-01T12:00:00.250Z`; `None` for 0, which stands for no time.
pub(in crate::cli) fn rfc3339(unix_ms: u64) -> Option<String> {
    if unix_ms == 0 {
        return None;
    }
    let (seconds, ms) = (unix_ms / 1_000, unix_ms % 1_000);
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
    ))
}

/// A time for tables, to the second; `-` for none.
pub(in crate::cli) fn moment(unix_ms: u64) -> String {
    let whole =
        rfc3339(unix_ms).and_then(|text| text.split_once('.').map(|(s, _)| format!("{s}Z")));
    whole.unwrap_or_else(|| "-".to_owned())
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar.
///
/// Counts from 0000-03-01, so that a leap day is the last of its year; an era is 400 years.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// How long ago, such as `2m 5s`; `-` for no time.
pub(in crate::cli) fn ago(unix_ms: u64, now: Duration) -> String {
    match unix_ms {
        0 => "-".to_owned(),
        _ => uptime(now.saturating_sub(Duration::from_millis(unix_ms)).as_secs()),
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

/// What became of an offered profile.
pub(in crate::cli) fn apply_status(status: ApplyStatus) -> &'static str {
    match status {
        ApplyStatus::Unspecified => "none",
        ApplyStatus::Applied => "applied",
        ApplyStatus::Unchanged => "unchanged",
        ApplyStatus::Deferred => "deferred",
        ApplyStatus::Rejected => "rejected",
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
    fn times_are_written_as_rfc_3339_in_utc() {
        for (unix_ms, written) in [
            (1, "1970-01-01T00:00:00.001Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_767_225_599_000, "2025-12-31T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(unix_ms).as_deref(), Some(written));
        }
        assert_eq!(rfc3339(0), None);
        assert_eq!(moment(951_782_399_999), "2000-02-28T23:59:59Z");
        assert!(rfc3339(u64::MAX).is_some());
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let mut last = civil_date(0);
        for day in 1..200_000 {
            let next = civil_date(day);
            let follows = match next {
                (year, 1, 1) => last == (year - 1, 12, 31),
                (year, month, 1) => {
                    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
                    let days = [
                        31,
                        if leap { 29 } else { 28 },
                        31,
                        30,
                        31,
                        30,
                        31,
                        31,
                        30,
                        31,
                        30,
                    ];
                    last == (year, month - 1, days[usize::try_from(month - 2).unwrap()])
                }
                (year, month, day) => last == (year, month, day - 1),
            };
            assert!(follows, "{next:?} after {last:?}");
            last = next;
        }
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
