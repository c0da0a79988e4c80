//! Members of `Cache-Control` (RFC 9111 section 5.2).

use std::borrow::Cow;

use http::HeaderValue;
use http::header::GetAll;

/// One directive: a name and maybe an argument, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Member<'a> {
    /// As it was written; compared without regard to case.
    pub name: &'a [u8],
    /// What follows `=`.
    pub argument: Option<Cow<'a, [u8]>>,
}

impl Member<'_> {
    /// Whether this is the directive of this name.
    pub(in crate::cache) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The argument as seconds.
    pub(in crate::cache) fn seconds(&self) -> u32 {
        self.argument.as_deref().map_or(0, seconds)
    }
}

/// The greatest number of seconds that is told apart from more (RFC 9111 section 1.2.2).
pub(in crate::cache) const SECONDS_MAX: u32 = 1 << 31;

/// The text as seconds, at most [`SECONDS_MAX`]. What is no number is 0: a lifetime that cannot be read is best
/// taken as none (RFC 9111 section 4.2.1).
fn seconds(text: &[u8]) -> u32 {
    if !text.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let number = text.iter().fold(0_u64, |number, digit| {
        (number * 10 + u64::from(digit - b'0')).min(u64::from(SECONDS_MAX))
    });
    u32::try_from(number).unwrap_or(SECONDS_MAX)
}

/// The directives of all lines in order.
pub(in crate::cache) fn members<'a>(
    lines: &GetAll<'a, HeaderValue>,
) -> impl Iterator<Item = Member<'a>> {
    lines
        .iter()
        .flat_map(|line| split(line.as_bytes()))
        .map(member)
}

/// The parts between commas, without white space around them and without empty ones. Commas in quotes are none;
/// a quote that is not closed does not hide what follows it.
pub(in crate::cache) fn split(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = part_end(rest);
            let part = rest[..end].trim_ascii();
            rest = rest.get(end + 1..).unwrap_or_default();
            if !part.is_empty() {
                return Some(part);
            }
        }
        None
    })
}

fn part_end(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b',' => return at,
            b'"' => at = closing_quote(text, at).unwrap_or(at),
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// Where the quotes that open at `open` close.
fn closing_quote(text: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn member(part: &[u8]) -> Member<'_> {
    let Some(equals) = memchr::memchr(b'=', part) else {
        return Member {
            name: part,
            argument: None,
        };
    };
    let (name, value) = (&part[..equals], &part[equals + 1..]);
    let argument = match value {
        [b'"', quoted @ .., b'"'] => unescape(quoted),
        _ => Cow::Borrowed(value),
    };
    Member {
        name,
        argument: Some(argument),
    }
}

fn unescape(quoted: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', quoted).is_none() {
        return Cow::Borrowed(quoted);
    }
    let mut out = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => out.extend(bytes.next()),
            _ => out.push(*byte),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> Vec<&str> {
        split(line.as_bytes())
            .map(|part| std::str::from_utf8(part).unwrap())
            .collect()
    }

    #[test]
    fn commas_in_quotes_do_not_separate() {
        assert_eq!(parts(" a ,, b=\"x, y\" ,c"), ["a", "b=\"x, y\"", "c"]);
        assert_eq!(parts(r#"a="x\", y", b"#), [r#"a="x\", y""#, "b"]);
    }

    #[test]
    fn a_quote_that_is_not_closed_hides_nothing() {
        assert_eq!(parts("a=\"x, no-store"), ["a=\"x", "no-store"]);
        assert_eq!(parts("a=\"x\\, no-store"), ["a=\"x\\", "no-store"]);
    }

    #[test]
    fn seconds_are_bounded_and_zero_if_unreadable() {
        for (text, expected) in [
            ("003600", 3_600),
            ("2147483647", 2_147_483_647),
            ("2147483648", SECONDS_MAX),
            ("99999999999999999999999999", SECONDS_MAX),
            ("-1", 0),
            ("3600.0", 0),
            ("'3600'", 0),
            ("3600a", 0),
            (" 3600", 0),
            ("", 0),
        ] {
            assert_eq!(seconds(text.as_bytes()), expected, "{text}");
        }
    }
}
