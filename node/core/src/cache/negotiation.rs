//! `Accept-Encoding` and `Accept-Language` in one form for all requests that mean the same
//! (RFC 9110 sections 12.5.3 and 12.5.4).

use std::cmp::Ordering;

use http::HeaderValue;
use http::header::GetAll;

use super::directives::split;

/// Members beyond which a list is taken as it is.
const MEMBERS_MAX: usize = 24;

/// A name as it was written, and its weight in thousandths.
type Member<'a> = (&'a [u8], u16);

/// Appends the members in lower case, ordered by preference and then by name: the order in which they were written has
/// no meaning. Whether the list is well-formed; nothing is appended if not.
pub(super) fn write_normal(lines: &GetAll<'_, HeaderValue>, out: &mut Vec<u8>) -> bool {
    let mut members: [Member<'_>; MEMBERS_MAX] = [(b"", 0); MEMBERS_MAX];
    let mut count = 0;
    for part in lines.iter().flat_map(|line| split(line.as_bytes())) {
        let (Some(slot), Some(member)) = (members.get_mut(count), member(part)) else {
            return false;
        };
        *slot = member;
        count += 1;
    }
    let members = &mut members[..count];
    members.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| compare(a.0, b.0)));
    let mut before: Option<Member<'_>> = None;
    for (name, weight) in members.iter().copied() {
        let is_repeat = before.is_some_and(|(other, its_weight)| {
            weight == its_weight && compare(name, other).is_eq()
        });
        if is_repeat {
            continue;
        }
        if before.is_some() {
            out.push(b',');
        }
        out.extend(name.iter().map(u8::to_ascii_lowercase));
        if weight < 1_000 {
            let digits = [100, 10, 1].map(|unit| b'0' + (weight / unit % 10) as u8);
            out.extend_from_slice(b";q=.");
            out.extend_from_slice(&digits);
        }
        before = Some((name, weight));
    }
    true
}

fn compare(a: &[u8], b: &[u8]) -> Ordering {
    a.iter()
        .map(u8::to_ascii_lowercase)
        .cmp(b.iter().map(u8::to_ascii_lowercase))
}

fn member(part: &[u8]) -> Option<Member<'_>> {
    let (name, weight) = match memchr::memchr(b';', part) {
        Some(at) => (
            part[..at].trim_ascii(),
            weight(part[at + 1..].trim_ascii())?,
        ),
        None => (part, 1_000),
    };
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_*.".contains(byte);
    if name.is_empty() || !name.iter().all(is_name) {
        return None;
    }
    // Two names for one coding (RFC 9110 section 8.4.1).
    let is_old = name.eq_ignore_ascii_case(b"x-gzip") || name.eq_ignore_ascii_case(b"x-compress");
    Some((if is_old { &name[2..] } else { name }, weight))
}

/// `q=` and a weight (RFC 9110 section 12.4.2), in thousandths.
fn weight(parameter: &[u8]) -> Option<u16> {
    let (whole, fraction) = match parameter {
        [b'q' | b'Q', b'=', whole @ (b'0' | b'1')] => (whole, &b""[..]),
        [
            b'q' | b'Q',
            b'=',
            whole @ (b'0' | b'1'),
            b'.',
            fraction @ ..,
        ] => (whole, fraction),
        _ => return None,
    };
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(b"000").take(3);
    let thousandths = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let weight = thousandths + u16::from(whole - b'0') * 1_000;
    (weight <= 1_000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::ACCEPT_ENCODING;

    use super::*;

    fn normal_of(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
        }
        let mut out = Vec::new();
        let is_normal = write_normal(&headers.get_all(ACCEPT_ENCODING), &mut out);
        assert!(is_normal || out.is_empty());
        is_normal.then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_means_the_same_has_one_form() {
        for (lines, form) in [
            (&["gzip, deflate, br, zstd"][..], "br,deflate,gzip,zstd"),
            (&["zstd,br", "X-GZIP,deflate"], "br,deflate,gzip,zstd"),
            (&["gzip;q=0.5 , br ; q=1.0"], "br,gzip;q=.500"),
            (&[" eN ,   De"], "de,en"),
            (&["de-AT;q=0.9,de"], "de,de-at;q=.900"),
            (&["identity;q=0, *;q=0.001"], "*;q=.001,identity;q=.000"),
            (&["br,BR;q=1,br"], "br"),
            (&[""], ""),
        ] {
            assert_eq!(normal_of(lines).as_deref(), Some(form), "{lines:?}");
        }
    }

    #[test]
    fn a_list_that_is_too_long_is_left_alone() {
        let list = |count| vec!["a"; count].join(",");
        assert_eq!(normal_of(&[&list(MEMBERS_MAX)]).as_deref(), Some("a"));
        assert_eq!(normal_of(&[&list(MEMBERS_MAX + 1)]), None);
    }

    #[test]
    fn what_is_not_well_formed_is_left_alone() {
        for line in [
            "gzip;level=1",
            "gzip;q=1.5",
            "gzip;q=0.1234",
            "gzip;q=",
            "g zip",
            ";q=1",
            "gzip;q=2",
        ] {
            assert_eq!(normal_of(&[line]), None, "{line}");
        }
    }
}
