//! Entity tags (RFC 9110 section 8.8.3).

use http::HeaderValue;

/// Whether the value is one entity tag, weak or strong.
pub(super) fn is_well_formed(value: &HeaderValue) -> bool {
    matches!(take(value.as_bytes()), Some((_, [])))
}

/// One entity tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    is_weak: bool,
    opaque: &'a [u8],
}

impl<'a> Tag<'a> {
    /// The tag, if the value is one.
    pub(super) fn of(value: &'a [u8]) -> Option<Self> {
        match take(value)? {
            (tag, []) => Some(tag),
            _ => None,
        }
    }

    /// Whether both stand for the same content (RFC 9110 section 8.8.3.2).
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }

    /// Whether both stand for the same bytes.
    pub(super) fn is(&self, other: &Self) -> bool {
        !self.is_weak && !other.is_weak && self.opaque == other.opaque
    }
}

/// The tags of a list; what is none is skipped up to the next comma.
pub(super) fn tags(mut line: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    std::iter::from_fn(move || {
        loop {
            line = line.trim_ascii_start();
            line = match line.strip_prefix(b",") {
                Some(rest) => rest,
                None if line.is_empty() => return None,
                None => match take(line) {
                    Some((tag, rest)) => {
                        line = rest;
                        return Some(tag);
                    }
                    None => &line[memchr::memchr(b',', line).unwrap_or(line.len())..],
                },
            };
        }
    })
}

/// The tag at the start of the text, and what follows it.
fn take(text: &[u8]) -> Option<(Tag<'_>, &[u8])> {
    let (is_weak, quoted) = match text.strip_prefix(b"W/") {
        Some(quoted) => (true, quoted),
        None => (false, text),
    };
    let rest = quoted.strip_prefix(b"\"")?;
    let close = memchr::memchr(b'"', rest)?;
    let opaque = &rest[..close];
    let is_sound = opaque.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    is_sound.then_some((Tag { is_weak, opaque }, &rest[close + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_quoted_is_a_tag() {
        for text in ["\"abc\"", "W/\"abc\"", "\"\"", "\"a,b\"", "\"\u{e9}\""] {
            assert!(Tag::of(text.as_bytes()).is_some(), "{text}");
        }
        for text in [
            "abc",
            "w/\"abc\"",
            "W\"abc\"",
            "\"abc",
            "\"a b\"",
            "\"a\"b",
            "",
            "W\\\"abc\"",
        ] {
            assert!(Tag::of(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn lists_are_read_past_what_is_no_tag() {
        let found: Vec<_> = tags(b" abc, W/\"a,b\" ,, \"c\",w/\"d\", \"e\" ")
            .map(|tag| (tag.is_weak, std::str::from_utf8(tag.opaque).unwrap()))
            .collect();
        assert_eq!(found, [(true, "a,b"), (false, "c"), (false, "e")]);
    }

    #[test]
    fn weak_tags_are_like_others_but_are_none() {
        let [weak, strong] = ["W/\"a\"", "\"a\""].map(|text| Tag::of(text.as_bytes()).unwrap());
        assert!(weak.is_like(&strong) && strong.is_like(&weak));
        assert!(!weak.is(&strong) && !strong.is(&weak) && !weak.is(&weak) && strong.is(&strong));
    }
}
