//! How old a response is when it comes (RFC 9111 section 4.2.3).

use std::time::Duration;

use http::HeaderMap;
use http::header::AGE;

use super::time::UnixMs;

/// The greatest age that is told apart from more, in seconds.
const AGE_MAX_S: u64 = 1 << 31;

/// `corrected_initial_age`: the greater of what the clocks say (`Date` against our own, whole seconds, zero if the
/// origin's clock is ahead) and what caches on the way counted plus the time that the request took.
pub(super) fn initial(
    headers: &HeaderMap,
    date: UnixMs,
    requested_at: UnixMs,
    responded_at: UnixMs,
) -> Duration {
    let apparent = Duration::from_secs(responded_at.unix_s().saturating_sub(date.unix_s()));
    let counted = Duration::from_secs(value_s(headers)) + responded_at.since(requested_at);
    apparent.max(counted)
}

/// `Age`: the first member of the first line counts, in seconds; 0 if that is no number (RFC 9111 section 5.1).
pub(super) fn value_s(headers: &HeaderMap) -> u64 {
    let Some(line) = headers.get(AGE) else {
        return 0;
    };
    let end = |byte: &u8| matches!(byte, b',' | b';');
    let first = line
        .as_bytes()
        .split(end)
        .next()
        .unwrap_or_default()
        .trim_ascii();
    if !first.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    first.iter().fold(0, |age, digit| {
        (age * 10 + u64::from(digit - b'0')).min(AGE_MAX_S)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_first_member_of_the_first_line_is_the_age() {
        for (lines, age_s) in [
            (&["7200"][..], 7_200),
            (&["7200, 0"], 7_200),
            (&["0, 7200"], 0),
            (&["0", "7200"], 0),
            (&["7200", "0"], 7_200),
            (&["7200;foo=111"], 7_200),
            (&["2147483649"], AGE_MAX_S),
            (&["99999999999999999999999"], AGE_MAX_S),
            (&["abc"], 0),
            (&["-7200"], 0),
            (&["7200.0"], 0),
            (&[""], 0),
            (&[], 0),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(AGE, HeaderValue::from_static(line));
            }
            assert_eq!(value_s(&headers), age_s, "{lines:?}");
        }
    }

    #[test]
    fn a_clock_that_is_ahead_makes_nothing_younger() {
        let mut headers = HeaderMap::new();
        let at = UnixMs(1_000_000);
        let initial = |headers: &HeaderMap, date_ms| {
            super::initial(headers, UnixMs(date_ms), UnixMs(998_500), at).as_millis()
        };
        assert_eq!(initial(&headers, 2_000_000), 1_500);
        assert_eq!(initial(&headers, 990_000), 10_000);
        headers.insert(AGE, HeaderValue::from_static("30"));
        assert_eq!(initial(&headers, 990_000), 31_500);
        assert_eq!(initial(&headers, 2_000_000), 31_500);
    }
}
