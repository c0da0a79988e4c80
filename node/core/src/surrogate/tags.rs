//! Tags of responses: `Surrogate-Key` and `Cache-Tag`.

use http::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

/// Tags of one response.
pub const TAGS_MAX: usize = 64;
/// Bytes of one tag.
pub const TAG_BYTES_MAX: usize = 256;
/// Bytes of all tag headers of a response.
pub const TAG_HEADER_BYTES_MAX: usize = 16 * 1024;

/// Why a response with these tags must not be stored by a CDN (nor here): it could not be purged by all of them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TagProblem {
    /// Too many.
    #[error("a response has at most {TAGS_MAX} tags, this one has more")]
    TooMany,
    /// One that is too long.
    #[error("tag {start:?}... has {bytes} bytes, at most {TAG_BYTES_MAX} are kept")]
    TooLong {
        /// Its first characters.
        start: String,
        /// How long it is.
        bytes: usize,
    },
    /// Too much in all.
    #[error("the tag headers have {bytes} bytes, at most {TAG_HEADER_BYTES_MAX} are read")]
    HeaderTooLong {
        /// How long they are.
        bytes: usize,
    },
    /// Not visible ASCII.
    #[error("header {header} holds what is not visible ASCII")]
    NotAscii {
        /// Which header.
        header: &'static str,
    },
}

const SURROGATE_KEY: &str = "surrogate-key";
const CACHE_TAG: &str = "cache-tag";
/// As many characters of a tag that is too long as an error tells.
const TOLD_BYTES: usize = 32;

/// The tags of a response, each once: `Surrogate-Key` between spaces, `Cache-Tag` between commas.
///
/// # Errors
///
/// A bound that is passed.
pub fn parse_tags(headers: &HeaderMap) -> Result<Vec<&str>, TagProblem> {
    let (keys, tags) = (headers.get_all(SURROGATE_KEY), headers.get_all(CACHE_TAG));
    let bytes = keys.iter().chain(&tags).map(HeaderValue::len).sum();
    if bytes > TAG_HEADER_BYTES_MAX {
        return Err(TagProblem::HeaderTooLong { bytes });
    }
    let mut found = Vec::new();
    for line in keys {
        let line = text(line, "Surrogate-Key")?;
        line.split([' ', '\t'])
            .try_for_each(|tag| add(&mut found, tag))?;
    }
    for line in tags {
        let line = text(line, "Cache-Tag")?;
        line.split(',')
            .try_for_each(|tag| add(&mut found, tag.trim()))?;
    }
    Ok(found)
}

/// Targeted fields by which caches beyond this one go (RFC 9213 and what was before it); those other than the first
/// count only where an origin sends them, and there more than it.
static CDN_FIELDS: [HeaderName; 4] = [
    HeaderName::from_static("cdn-cache-control"),
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("cloudflare-cdn-cache-control"),
    HeaderName::from_static("fastly-cdn-cache-control"),
];

/// Says to CDNs that they must not store a response that could not be purged by all of its tags; whether it is one.
pub fn keep_from_cdns(response: &mut HeaderMap) -> bool {
    if parse_tags(response).is_ok() {
        return false;
    }
    let [first, others @ ..] = &CDN_FIELDS;
    let sent = others.iter().filter(|name| response.contains_key(*name));
    let names: Vec<&HeaderName> = std::iter::once(first).chain(sent).collect();
    for name in names {
        response.insert(name, HeaderValue::from_static("no-store"));
    }
    true
}

fn text<'a>(line: &'a HeaderValue, header: &'static str) -> Result<&'a str, TagProblem> {
    line.to_str().map_err(|_| TagProblem::NotAscii { header })
}

fn add<'a>(found: &mut Vec<&'a str>, tag: &'a str) -> Result<(), TagProblem> {
    if tag.is_empty() || found.contains(&tag) {
        return Ok(());
    }
    if tag.len() > TAG_BYTES_MAX {
        return Err(TagProblem::TooLong {
            start: tag[..TOLD_BYTES].to_owned(),
            bytes: tag.len(),
        });
    }
    if found.len() == TAGS_MAX {
        return Err(TagProblem::TooMany);
    }
    found.push(tag);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn keys_are_between_spaces_and_tags_between_commas() {
        let map = headers(&[
            (SURROGATE_KEY, " a  b,c "),
            (CACHE_TAG, "d e, f,,a"),
            (SURROGATE_KEY, "g\tb,c"),
            (CACHE_TAG, ""),
        ]);
        assert_eq!(parse_tags(&map), Ok(vec!["a", "b,c", "g", "d e", "f"]));
        assert_eq!(parse_tags(&HeaderMap::new()), Ok(vec![]));
    }

    #[test]
    fn bounds_are_within_and_beyond_them_is_told() {
        let many = |count: usize| {
            (0..count)
                .map(|n| format!("t{n}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        assert_eq!(
            parse_tags(&headers(&[(CACHE_TAG, &many(64))]))
                .unwrap()
                .len(),
            64
        );
        let told = parse_tags(&headers(&[(CACHE_TAG, &many(65))])).unwrap_err();
        assert_eq!(
            told.to_string(),
            "a response has at most 64 tags, this one has more"
        );

        let long = "x".repeat(256);
        let one = headers(&[(SURROGATE_KEY, &long)]);
        assert_eq!(parse_tags(&one), Ok(vec![&*long]));
        let one = headers(&[(SURROGATE_KEY, &format!("{long}x"))]);
        let told = parse_tags(&one).unwrap_err().to_string();
        assert!(
            told.ends_with("has 257 bytes, at most 256 are kept"),
            "{told}"
        );
    }

    #[test]
    fn both_headers_count_together() {
        let half = " ".repeat(8 << 10);
        let within = headers(&[(SURROGATE_KEY, &half), (CACHE_TAG, &half)]);
        assert_eq!(parse_tags(&within), Ok(vec![]));
        let beyond = headers(&[(SURROGATE_KEY, &half), (CACHE_TAG, &format!("{half} "))]);
        let bytes = (16 << 10) + 1;
        assert_eq!(
            parse_tags(&beyond),
            Err(TagProblem::HeaderTooLong { bytes })
        );
    }

    #[test]
    fn what_is_not_ascii_is_refused_by_header() {
        let header = HeaderValue::from_bytes("ä".as_bytes()).unwrap();
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static(CACHE_TAG), header)]);
        assert_eq!(
            parse_tags(&headers),
            Err(TagProblem::NotAscii {
                header: "Cache-Tag"
            })
        );
    }

    #[test]
    fn what_cannot_be_purged_by_all_of_its_tags_is_kept_by_no_cdn() {
        let long = "x".repeat(TAG_BYTES_MAX + 1);
        let mut map = headers(&[
            ("cdn-cache-control", "max-age=60"),
            ("cdn-cache-control", "public"),
            ("surrogate-control", "max-age=60"),
            ("cache-control", "max-age=5"),
            (SURROGATE_KEY, &long),
        ]);
        assert!(keep_from_cdns(&mut map));
        for name in ["cdn-cache-control", "surrogate-control"] {
            let told: Vec<_> = map.get_all(name).iter().collect();
            assert_eq!(told, ["no-store"], "{name}");
        }
        assert_eq!(map["cache-control"], "max-age=5", "browsers have no tags");
        assert!(!map.contains_key("cloudflare-cdn-cache-control"));
        let mut map = headers(&[("surrogate-control", "max-age=60"), (CACHE_TAG, "a")]);
        assert!(!keep_from_cdns(&mut map));
        assert_eq!(map.len(), 2);
    }
}
