//! Who changes something, when and why, and the record of it.

use weir_proto::control::records::v1::Audit;
use weir_proto::control::v1::AuditRecord;

use super::keys::ProfileKeys;
use super::record::encode;
use crate::store::Op;

/// Who is at the other end of a request, put into its extensions by whoever proved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Their name.
    pub name: String,
    /// viewer, operator, admin, node, backend; `local` where no identity is asked for.
    pub role: String,
}

/// One change, as it will be remembered.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Who makes it.
    pub author: &'a str,
    /// As what.
    pub role: &'a str,
    /// Why.
    pub message: &'a str,
    /// Names it: made again, it is made once.
    pub write_id: &'a str,
    /// When.
    pub now_unix_ms: u64,
}

/// Records a change; it belongs into the change's own transaction.
pub fn audit_op(
    keys: &ProfileKeys,
    change: &Change<'_>,
    action: &str,
    target: &str,
    detail: String,
) -> Op {
    let record = AuditRecord {
        at_unix_ms: change.now_unix_ms,
        author: change.author.to_owned(),
        role: change.role.to_owned(),
        action: action.to_owned(),
        target: target.to_owned(),
        message: change.message.to_owned(),
        write_id: change.write_id.to_owned(),
        detail,
    };
    let (year, month, day) = civil(change.now_unix_ms / MS_PER_DAY);
    let day = format!("{year:04}{month:02}{day:02}");
    Op::Put {
        key: keys.audit(&day, change.now_unix_ms, change.write_id),
        value: encode(&Audit {
            record: Some(record),
        }),
        lease: None,
    }
}

const MS_PER_DAY: u64 = 86_400_000;

/// A time for people, such as `2026-03-01T12:00:00Z`.
pub fn rfc3339(unix_ms: u64) -> String {
    let (year, month, day) = civil(unix_ms / MS_PER_DAY);
    let secs = unix_ms % MS_PER_DAY / 1_000;
    let (hour, minute, second) = (secs / 3_600, secs / 60 % 60, secs % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day since 1970, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097;
    // Counted from the first of March of the year 0, so that the leap day is the last of its year.
    let days = days + 719_468;
    let (era, of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_827_696_789), "2000-02-29T12:34:56Z");
        assert_eq!(rfc3339(1_767_225_599_999), "2025-12-31T23:59:59Z");
        assert_eq!(civil(20_513), (2026, 3, 1));
    }
}
