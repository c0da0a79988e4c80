//! What is worth compressing.

use http::header::{CACHE_CONTROL, CONTENT_ENCODING};
use http::{HeaderMap, StatusCode};
use thiserror::Error;

use super::MediaTypes;

/// What is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressionRules<'a> {
    /// In bytes.
    pub bytes_min: u64,
    /// In bytes.
    pub bytes_max: u64,
    /// What it may be.
    pub types: &'a MediaTypes,
}

/// Why a response is sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotCompressible {
    /// 204, 206, 304 and other answers without a whole body.
    #[error("status {0} has no whole body")]
    Status(u16),
    /// `Content-Encoding` is set.
    #[error("it is encoded already")]
    Encoded,
    /// `Cache-Control: no-transform` (RFC 9111 section 5.2.2.6).
    #[error("it is marked no-transform")]
    NoTransform,
    /// No or an unlisted `Content-Type`.
    #[error("its media type is not listed")]
    Type,
    /// Smaller or larger than what is worth it.
    #[error("its {bytes} bytes are out of {min} to {max}")]
    Size {
        /// Of the body.
        bytes: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}

/// A whole response.
#[derive(Clone, Copy, Debug)]
pub struct Representation<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Of its body; `None` while they are still to come and nobody says how many.
    pub bytes: Option<u64>,
}

impl CompressionRules<'_> {
    /// Whether variants of a response may be made. If so, every variant of it, the identity too, says
    /// `Vary: Accept-Encoding`.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check(&self, response: &Representation<'_>) -> Result<(), NotCompressible> {
        if !has_whole_body(response.status) {
            return Err(NotCompressible::Status(response.status.as_u16()));
        }
        if is_encoded(response.headers) {
            return Err(NotCompressible::Encoded);
        }
        if is_no_transform(response.headers) {
            return Err(NotCompressible::NoTransform);
        }
        if !self.types.contain(response.headers) {
            return Err(NotCompressible::Type);
        }
        let sizes = self.bytes_min..=self.bytes_max;
        match response.bytes {
            Some(bytes) if !sizes.contains(&bytes) => Err(NotCompressible::Size {
                bytes,
                min: self.bytes_min,
                max: self.bytes_max,
            }),
            _ => Ok(()),
        }
    }
}

fn has_whole_body(status: StatusCode) -> bool {
    let has_none = status.is_informational()
        || matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        );
    !has_none && status != StatusCode::PARTIAL_CONTENT
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_ENCODING).into_iter();
    values.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Whether `Cache-Control` of a request or response says `no-transform` (RFC 9111 sections 5.2.1.6 and 5.2.2.6), also
/// in what is no valid list: a directive that is meant is kept.
pub fn is_no_transform(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_CONTROL).into_iter();
    let mut directives = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    directives.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn check(
        status: u16,
        lines: &[(HeaderName, &str)],
        bytes: impl Into<Option<u64>>,
    ) -> Result<(), NotCompressible> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let rules = CompressionRules {
            bytes_min: 1 << 10,
            bytes_max: 10 << 20,
            types: &MediaTypes::default(),
        };
        rules.check(&Representation {
            status: StatusCode::from_u16(status).unwrap(),
            headers: &headers,
            bytes: bytes.into(),
        })
    }

    #[test]
    fn text_in_its_many_names_is_compressed() {
        for media_type in [
            "text/html; charset=utf-8",
            "TEXT/CSS",
            "application/json",
            "application/problem+json",
            "application/rss+xml;x=y",
            "image/svg+xml",
            "application/wasm",
        ] {
            assert_eq!(
                check(200, &[(CONTENT_TYPE, media_type)], 2_048),
                Ok(()),
                "{media_type}"
            );
        }
    }

    #[test]
    fn what_is_dense_unknown_or_a_stream_is_not() {
        for media_type in [
            "image/png",
            "video/mp4",
            "application/zip",
            "text/event-stream",
            "jsontext",
            "",
        ] {
            let checked = check(200, &[(CONTENT_TYPE, media_type)], 2_048);
            assert_eq!(checked, Err(NotCompressible::Type), "{media_type}");
        }
        assert_eq!(check(200, &[], 2_048), Err(NotCompressible::Type));
    }

    #[test]
    fn both_bounds_of_size_are_within() {
        let of = |bytes: u64| check(200, &[(CONTENT_TYPE, "text/plain")], bytes);
        assert_eq!((of(1_024), of(10 << 20)), (Ok(()), Ok(())));
        for bytes in [0, 1_023, (10 << 20) + 1] {
            let refused = of(bytes).unwrap_err().to_string();
            assert_eq!(
                refused,
                format!("its {bytes} bytes are out of 1024 to 10485760")
            );
        }
    }

    #[test]
    fn a_stream_of_unknown_length_is_compressed() {
        assert_eq!(check(200, &[(CONTENT_TYPE, "text/plain")], None), Ok(()));
    }

    #[test]
    fn what_is_encoded_partial_or_marked_stays_as_it_is() {
        let text = (CONTENT_TYPE, "text/plain");
        let with = |line| check(200, &[text.clone(), line], 2_048);
        assert_eq!(
            with((CONTENT_ENCODING, "gzip")),
            Err(NotCompressible::Encoded)
        );
        assert_eq!(with((CONTENT_ENCODING, "identity")), Ok(()));
        let marked = with((CACHE_CONTROL, "max-age=5 , No-Transform"));
        assert_eq!(marked, Err(NotCompressible::NoTransform));
        for status in [204, 205, 206, 304] {
            assert_eq!(
                check(status, std::slice::from_ref(&text), 2_048),
                Err(NotCompressible::Status(status))
            );
        }
        assert_eq!(check(404, &[text], 2_048), Ok(()));
    }
}
