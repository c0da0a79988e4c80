//! Days and times of the Gregorian calendar, in UTC.

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;
/// The last millisecond of the year 9999, which is the last that texts of fixed length can tell.
pub const LAST_UNIX_MS: u64 = 253_402_300_799_999;

/// The day as `yyyymmdd`, so that texts sort by time; of what is after [`LAST_UNIX_MS`] that one's.
pub fn yyyymmdd(unix_ms: u64) -> String {
    let (year, month, day) = date(unix_ms.min(LAST_UNIX_MS) / DAY_MS);
    format!("{year:04}{month:02}{day:02}")
}

/// A time as RFC 3339 to the second, such as `2026-03-01T12:00:00Z`.
pub fn rfc3339(unix_ms: u64) -> String {
    format!("{}Z", to_the_second(unix_ms))
}

/// A time as RFC 3339 to the millisecond, such as `2026-03-01T12:00:00.250Z`.
pub fn rfc3339_ms(unix_ms: u64) -> String {
    format!("{}.{:03}Z", to_the_second(unix_ms), unix_ms % 1_000)
}

/// A time as web servers write it in their logs, such as `01/Mar/2026:12:00:00 +0000`.
pub fn common_log(unix_ms: u64) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (year, month, day) = date(unix_ms / DAY_MS);
    let month = usize::try_from(month.saturating_sub(1)).map_or("", |at| MONTHS[at % 12]);
    let seconds = unix_ms % DAY_MS / 1_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
}

fn to_the_second(unix_ms: u64) -> String {
    let (year, month, day) = date(unix_ms / DAY_MS);
    let seconds = unix_ms % DAY_MS / 1_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// The day of a date counted from 1970; `None` if there is no such day or it is before that.
pub(crate) fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9_999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year_from_march = year - u64::from(month <= 2);
    let month_from_march = (month + 9) % 12;
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let leap_days = year_from_march / 4 - year_from_march / 100 + year_from_march / 400;
    let days = 365 * year_from_march + leap_days + of_year - 719_468;
    (date(days) == (year, month, day)).then_some(days)
}

/// Year, month (from 1) and day (from 1) of a day counted from 1970. Years begin in March here, so that the leap day
/// is the last of its year and months follow one formula.
pub(crate) fn date(days: u64) -> (u64, u64, u64) {
    const ERA_DAYS: u64 = 146_097;
    let days = days + 719_468;
    let (era, of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = match from_march < 10 {
        true => from_march + 3,
        false => from_march - 9,
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days_are_named() {
        for (unix_ms, day) in [
            (0, "19700101"),
            (DAY_MS - 1, "19700101"),
            (951_782_400_000, "20000229"),
            (1_709_164_800_000, "20240229"),
            (1_709_251_200_000, "20240301"),
            (1_798_761_599_999, "20261231"),
            (4_107_542_400_000, "21000301"),
            (LAST_UNIX_MS, "99991231"),
            (u64::MAX, "99991231"),
        ] {
            assert_eq!(yyyymmdd(unix_ms), day, "{unix_ms}");
        }
    }

    #[test]
    fn times_are_written_as_rfc_3339_in_utc() {
        for (unix_ms, written) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1, "1970-01-01T00:00:00.001Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339_ms(unix_ms), written);
            assert_eq!(rfc3339(unix_ms), format!("{}Z", &written[..19]));
        }
        assert!(rfc3339_ms(u64::MAX).ends_with(".615Z"));
    }

    #[test]
    fn each_day_follows_the_day_before() {
        let is_leap = |year: u64| {
            year.is_multiple_of(400) || (year.is_multiple_of(4) && !year.is_multiple_of(100))
        };
        let length = |year, month| match month {
            2 if is_leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..200_000 {
            assert_eq!(date(days), (year, month, day), "day {days}");
            assert_eq!(self::days(year, month, day), Some(days));
            assert_eq!(self::days(year, month, length(year, month) + 1), None);
            day += 1;
            if day > length(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }
}
