//! The headers of a response whose body is coded on its way.

use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Coding, add_accept_encoding, coded_etag};

/// What is true of the bytes of the body as they were.
static OF_THE_BYTES: [HeaderName; 6] = [
    CONTENT_LENGTH,
    ACCEPT_RANGES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// Makes the headers of a response those of its coded form: what is true of the bytes goes (length, ranges, digests), a
/// strong tag becomes that of the coding, and `Vary` says what it depends on. For identity only `Vary` changes.
pub fn code_headers(headers: &mut HeaderMap, coding: Coding) {
    add_accept_encoding(headers);
    if coding == Coding::Identity {
        return;
    }
    for name in &OF_THE_BYTES {
        headers.remove(name);
    }
    if let Some(etag) = headers.get(ETAG) {
        let coded = coded_etag(etag, coding);
        headers.insert(ETAG, coded);
    }
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> HeaderMap {
        let lines = [
            ("content-length", "9"),
            ("accept-ranges", "bytes"),
            ("repr-digest", "sha-256=:YQ==:"),
            ("etag", "\"a\""),
            ("content-type", "text/plain"),
        ];
        let lines = lines.map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        HeaderMap::from_iter(lines)
    }

    #[test]
    fn what_is_true_of_the_bytes_does_not_stay() {
        let mut coded = headers();
        code_headers(&mut coded, Coding::Brotli);
        let mut lines: Vec<_> = coded
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "content-encoding: br",
                "content-type: text/plain",
                "etag: \"a-br\"",
                "vary: Accept-Encoding"
            ]
        );
    }

    #[test]
    fn the_form_without_a_coding_says_that_there_are_others() {
        let mut plain = headers();
        code_headers(&mut plain, Coding::Identity);
        assert_eq!(plain.remove("vary").unwrap(), "Accept-Encoding");
        assert_eq!(plain, headers());
    }
}
