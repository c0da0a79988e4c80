//! Entity tags of variants (RFC 9110 section 8.8.3).

use http::HeaderValue;

use super::Coding;

/// The entity tag of a variant: a strong one is of one coding, so `"x"` becomes `"x-br"`; a weak one is of all, as is
/// what is no entity tag.
pub fn coded_etag(etag: &HeaderValue, coding: Coding) -> HeaderValue {
    let bytes = etag.as_bytes();
    let is_strong = bytes.len() >= 2 && bytes.starts_with(b"\"") && bytes.ends_with(b"\"");
    if !is_strong || coding == Coding::Identity {
        return etag.clone();
    }
    let opaque = &bytes[..bytes.len() - 1];
    let coded = [opaque, b"-", coding.name().as_bytes(), b"\""].concat();
    HeaderValue::from_bytes(&coded).unwrap_or_else(|_| etag.clone())
}

/// The entity tags of an `If-None-Match` or `If-Match` so that the origin knows its own among them: beside each that
/// [`coded_etag`] may have made for one of `codings` stands what it was made of. `W/` stays, for there are proxies that
/// weaken tags. `None` if there is none to add.
///
/// Not for `If-Range`: the client's part is one of coded bytes, which the origin's do not continue.
pub fn origin_etags(etags: &HeaderValue, codings: &[Coding]) -> Option<HeaderValue> {
    let text = etags.as_bytes();
    let mut with_origins = Vec::with_capacity(2 * text.len());
    let mut written = 0;
    for tag in Tags(text, 0) {
        let Some(origin) = without_coding(tag.opaque, codings) else {
            continue;
        };
        with_origins.extend_from_slice(&text[written..tag.end]);
        with_origins.extend_from_slice(if tag.is_weak { b", W/\"" } else { b", \"" });
        with_origins.extend_from_slice(origin);
        with_origins.push(b'"');
        written = tag.end;
    }
    if written == 0 {
        return None;
    }
    with_origins.extend_from_slice(&text[written..]);
    HeaderValue::from_bytes(&with_origins).ok()
}

/// Whether a list of entity tags names this one, as `If-None-Match` compares them (RFC 9110 section 8.8.3.2).
pub fn names_etag(list: &HeaderValue, etag: &HeaderValue) -> bool {
    let wanted = Tags(etag.as_bytes(), 0).next();
    wanted.is_some_and(|wanted| Tags(list.as_bytes(), 0).any(|tag| tag.opaque == wanted.opaque))
}

struct Tag<'a> {
    is_weak: bool,
    opaque: &'a [u8],
    /// Behind its closing quote.
    end: usize,
}

/// The entity tags of a list, from a place on. They hold commas, not quotes: what is between two quotes is one.
struct Tags<'a>(&'a [u8], usize);

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let Self(text, at) = self;
        let begin = *at + memchr::memchr(b'"', &text[*at..])? + 1;
        let close = begin + memchr::memchr(b'"', &text[begin..])?;
        let before = &text[*at..begin - 1];
        *at = close + 1;
        Some(Tag {
            is_weak: before.ends_with(b"W/"),
            opaque: &text[begin..close],
            end: close + 1,
        })
    }
}

fn without_coding<'a>(opaque: &'a [u8], codings: &[Coding]) -> Option<&'a [u8]> {
    let made = codings.iter().filter(|coding| **coding != Coding::Identity);
    made.filter_map(|coding| opaque.strip_suffix(coding.name().as_bytes()))
        .find_map(|start| start.strip_suffix(b"-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    #[test]
    fn strong_tags_are_of_one_coding_and_weak_ones_of_all() {
        for (etag, coding, coded) in [
            ("\"x\"", Coding::Brotli, "\"x-br\""),
            ("\"x\"", Coding::Zstd, "\"x-zstd\""),
            ("\"\"", Coding::Gzip, "\"-gzip\""),
            ("\"x\"", Coding::Identity, "\"x\""),
            ("W/\"x\"", Coding::Brotli, "W/\"x\""),
            ("x", Coding::Brotli, "x"),
            ("\"", Coding::Brotli, "\""),
        ] {
            assert_eq!(coded_etag(&value(etag), coding), value(coded), "{etag}");
        }
    }

    #[test]
    fn the_origin_finds_its_own_tags_beside_those_of_codings() {
        for (sent, origin) in [
            ("\"x-br\"", "\"x-br\", \"x\""),
            (
                "\"a,b-gzip\", W/\"c-br\" ,\"d\"",
                "\"a,b-gzip\", \"a,b\", W/\"c-br\", W/\"c\" ,\"d\"",
            ),
            ("\"-gzip\"", "\"-gzip\", \"\""),
        ] {
            let given = origin_etags(&value(sent), &Coding::MADE);
            assert_eq!(given, Some(value(origin)), "{sent}");
        }
        for sent in [
            "*",
            "\"x-identity\"",
            "\"xbr\"",
            "\"open-br",
            "",
            "\"x-zstd\"",
        ] {
            let codings = [Coding::Identity, Coding::Gzip, Coding::Brotli];
            assert_eq!(origin_etags(&value(sent), &codings), None, "{sent}");
        }
    }

    #[test]
    fn every_coding_comes_off_as_it_came_on() {
        let etag = value("\"6f-5a\"");
        for coding in Coding::MADE {
            let coded = coded_etag(&etag, coding);
            assert!(!names_etag(&coded, &etag));
            assert!(names_etag(&origin_etags(&coded, &[coding]).unwrap(), &etag));
        }
    }

    #[test]
    fn a_list_names_a_tag_whether_weak_or_not() {
        let list = value("\"a\",W/\"b\"");
        for (etag, is_named) in [
            ("\"b\"", true),
            ("W/\"a\"", true),
            ("\"c\"", false),
            ("a", false),
        ] {
            assert_eq!(names_etag(&list, &value(etag)), is_named, "{etag}");
        }
    }
}
