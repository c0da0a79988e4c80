//! Docker's moments: RFC 3339 in UTC.

const MS_PER_DAY: i64 = 24 * 60 * 60 * 1000;

/// Milliseconds since 1970. `None` for what is no such moment, and for Docker's "never", which is in the year 1.
pub(super) fn unix_ms(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(whole, ':')?;
    let fits = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !fits || fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let padded: String = fraction.chars().chain("00".chars()).take(3).collect();
    let ms = ((hour * 60 + minute) * 60 + second) * 1000 + padded.parse::<i64>().ok()?;
    u64::try_from(days_since_1970(year, month, day) * MS_PER_DAY + ms).ok()
}

fn numbers(text: &str, between: char) -> Option<[i64; 3]> {
    let mut parts = text.split(between).map(|part| part.parse::<u32>().ok());
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then(|| three.map(i64::from))
}

/// Days of the proleptic Gregorian calendar, with years that begin in March so that leap days come last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::unix_ms;

    #[test]
    fn moments_are_read_to_the_millisecond() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00.5Z", 951_825_600_500),
            ("2024-03-01T00:00:00.123456789Z", 1_709_251_200_123),
            ("2026-11-25T19:48:12.86Z", 1_795_636_092_860),
        ];
        for (text, ms) in cases {
            assert_eq!(unix_ms(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_since_1970_is_none() {
        for text in [
            "",
            "0001-01-01T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
        ] {
            assert_eq!(unix_ms(text), None, "{text}");
        }
    }
}
