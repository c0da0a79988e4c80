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

/// The entity tags of an `If-None-Match`, `If-Match` or `If-Range` as the origin knows them: without what
/// [`coded_etag`] put there.
///
/// A tag of the origin that ends like that by itself loses its end, too: the origin then sends the whole response.
pub fn origin_etags(etags: &HeaderValue) -> HeaderValue {
    let mut stripped = Vec::with_capacity(etags.len());
    let mut rest = etags.as_bytes();
    // Entity tags hold commas, not quotes: what is between two quotes is one.
    while let Some(opens) = memchr::memchr(b'"', rest) {
        let Some(length) = memchr::memchr(b'"', &rest[opens + 1..]) else {
            break;
        };
        let opaque = &rest[opens + 1..opens + 1 + length];
        let is_weak = rest[..opens].ends_with(b"W/");
        stripped.extend_from_slice(&rest[..=opens]);
        stripped.extend_from_slice(if is_weak {
            opaque
        } else {
            without_coding(opaque)
        });
        stripped.push(b'"');
        rest = &rest[opens + length + 2..];
    }
    stripped.extend_from_slice(rest);
    HeaderValue::from_bytes(&stripped).unwrap_or_else(|_| etags.clone())
}

fn without_coding(opaque: &[u8]) -> &[u8] {
    for coding in Coding::ALL {
        let start = opaque.strip_suffix(coding.name().as_bytes());
        let start = start.and_then(|start| start.strip_suffix(b"-"));
        if let Some(start) = start.filter(|_| coding != Coding::Identity) {
            return start;
        }
    }
    opaque
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
    fn the_origin_gets_its_own_tags_back() {
        for (sent, origin) in [
            ("\"x-br\"", "\"x\""),
            (
                "\"a,b-gzip\", W/\"c-br\" ,\"d\"",
                "\"a,b\", W/\"c-br\" ,\"d\"",
            ),
            ("*", "*"),
            ("\"-zstd\"", "\"\""),
            ("\"x-identity\"", "\"x-identity\""),
            ("\"xbr\"", "\"xbr\""),
            ("\"open-br", "\"open-br"),
            ("", ""),
        ] {
            assert_eq!(origin_etags(&value(sent)), value(origin), "{sent}");
        }
    }

    #[test]
    fn every_coding_comes_off_as_it_came_on() {
        let etag = value("\"6f-5a\"");
        for coding in Coding::ALL {
            assert_eq!(origin_etags(&coded_etag(&etag, coding)), etag);
        }
    }
}
