//! Days of the Gregorian calendar, for keys that sort.

const DAY_MS: u64 = 86_400_000;
/// The last millisecond of the year 9999.
pub(super) const LAST_UNIX_MS: u64 = 253_402_300_799_999;

/// The day in UTC, as `yyyymmdd`.
pub(super) fn day_of(unix_ms: u64) -> String {
    let (year, month, day) = civil(unix_ms.min(LAST_UNIX_MS) / DAY_MS);
    format!("{year:04}{month:02}{day:02}")
}

/// Year, month and day of a day counted from 1970. Years begin in March here, so that the leap day is the last
/// of its year and months follow one formula.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA_DAYS: u64 = 146_097;
    let days = days + 719_468;
    let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
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
            assert_eq!(day_of(unix_ms), day, "{unix_ms}");
        }
    }

    #[test]
    fn each_day_follows_the_day_before() {
        let length = |year: u64, month| match month {
            2 if year.is_multiple_of(400)
                || (year.is_multiple_of(4) && !year.is_multiple_of(100)) =>
            {
                29
            }
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..200_000 {
            assert_eq!(civil(days), (year, month, day), "day {days}");
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
