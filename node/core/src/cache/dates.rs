//! HTTP dates (RFC 9110 section 5.6.7).

use crate::calendar;

use super::time::UnixMs;

const WEEKDAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const DAY_S: u64 = 86_400;

/// A date in any of the three forms. Names may be in any case, as many senders get it wrong; everything else is as
/// written in the grammar, except that the name of the day need not be that of the date.
///
/// `now` decides the century of the form with two digits: never more than 50 years ahead.
pub fn parse(text: &[u8], now: UnixMs) -> Option<UnixMs> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let comma = text.find(',');
    let seconds = match comma {
        Some(3) => imf_fixdate(text),
        Some(at) => rfc850(text, at, now),
        None => asctime(text),
    }?;
    Some(UnixMs(seconds * 1_000))
}

/// The date as `Sun, 06 Nov 1994 08:49:37 GMT`; of what is after the year 9999 its last second.
pub fn format(time: UnixMs) -> String {
    let seconds = time.0.min(calendar::LAST_UNIX_MS) / 1_000;
    let (days, of_day) = (seconds / DAY_S, seconds % DAY_S);
    let (year, month, day) = calendar::date(days);
    let weekday = &WEEKDAYS[(days % 7) as usize][..3];
    let month = MONTHS[(month - 1) as usize];
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &str) -> Option<u64> {
    let is_shaped = text.len() == 29
        && is_weekday(text.get(..3)?, 3)
        && [(3, ", "), (7, " "), (11, " "), (16, " "), (25, " ")]
            .iter()
            .all(|(at, mark)| text.get(*at..).is_some_and(|rest| rest.starts_with(mark)))
        && text.get(26..)?.eq_ignore_ascii_case("GMT");
    if !is_shaped {
        return None;
    }
    let day = digits(text.get(5..7)?)?;
    let year = digits(text.get(12..16)?)?;
    unix_s(year, month(text.get(8..11)?)?, day, text.get(17..25)?)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(text: &str, comma: usize, now: UnixMs) -> Option<u64> {
    let (weekday, rest) = (text.get(..comma)?, text.get(comma..)?);
    let is_shaped = rest.len() == 24
        && is_weekday(weekday, usize::MAX)
        && [(0, ", "), (4, "-"), (8, "-"), (11, " "), (20, " ")]
            .iter()
            .all(|(at, mark)| rest.get(*at..).is_some_and(|rest| rest.starts_with(mark)))
        && rest.get(21..)?.eq_ignore_ascii_case("GMT");
    if !is_shaped {
        return None;
    }
    let day = digits(rest.get(2..4)?)?;
    let month = month(rest.get(5..8)?)?;
    let (this_year, ..) = calendar::date(now.0.min(calendar::LAST_UNIX_MS) / calendar::DAY_MS);
    let mut year = this_year - this_year % 100 + digits(rest.get(9..11)?)?;
    if year > this_year + 50 {
        year -= 100;
    }
    unix_s(year, month, day, rest.get(12..20)?)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &str) -> Option<u64> {
    let is_shaped = text.len() == 24
        && text.is_ascii()
        && is_weekday(&text[..3], 3)
        && [3, 7, 10, 19].iter().all(|at| text.as_bytes()[*at] == b' ');
    if !is_shaped {
        return None;
    }
    let day = &text[8..10];
    let day = digits(day.strip_prefix(' ').unwrap_or(day))?;
    unix_s(
        digits(&text[20..])?,
        month(&text[4..7])?,
        day,
        &text[11..19],
    )
}

fn unix_s(year: u64, month: u64, day: u64, time: &str) -> Option<u64> {
    let bytes = time.as_bytes();
    if bytes.len() != 8 || bytes[2] != b':' || bytes[5] != b':' {
        return None;
    }
    let part = |at: usize| digits(time.get(at..at + 2)?);
    let (hour, minute, second) = (part(0)?, part(3)?, part(6)?);
    // A leap second is 60.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(calendar::days(year, month, day)? * DAY_S + hour * 3_600 + minute * 60 + second)
}

fn digits(text: &str) -> Option<u64> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok())?
}

fn month(text: &str) -> Option<u64> {
    let index = MONTHS
        .iter()
        .position(|name| name.eq_ignore_ascii_case(text))?;
    Some(index as u64 + 1)
}

fn is_weekday(text: &str, length_max: usize) -> bool {
    WEEKDAYS
        .iter()
        .any(|name| name[..name.len().min(length_max)].eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    #[test]
    fn all_three_forms_are_the_same_time() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "sUN, 06 NOV 1994 08:49:37 gmt",
        ] {
            assert_eq!(
                parse(text.as_bytes(), NOW),
                Some(UnixMs(784_111_777_000)),
                "{text}"
            );
        }
        assert_eq!(
            format(UnixMs(784_111_777_999)),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
    }

    #[test]
    fn two_digits_are_at_most_50_years_ahead() {
        let of = |text: &str| parse(text.as_bytes(), NOW).map(format);
        let near = of("Thursday, 18-Aug-50 02:01:18 GMT");
        assert_eq!(near.as_deref(), Some("Thu, 18 Aug 2050 02:01:18 GMT"));
        let past = of("Tuesday, 18-Aug-98 02:01:18 GMT");
        assert_eq!(past.as_deref(), Some("Tue, 18 Aug 1998 02:01:18 GMT"));
    }

    #[test]
    fn what_is_not_as_written_in_the_grammar_is_no_date() {
        for text in [
            "",
            "0",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 31 Feb 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, +8 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 1950 02:01:18 GMT",
            "Th\u{e9} Aug  8 02:01:18 205",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for seconds in (0..8_000_000_000).step_by(77_777_777) {
            let time = UnixMs(seconds * 1_000);
            assert_eq!(parse(format(time).as_bytes(), NOW), Some(time));
        }
    }
}
