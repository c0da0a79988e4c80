//! A stored response in a content coding that the cache applies itself (RFC 9110 section 8.4).

use http::header::{CONTENT_ENCODING, CONTENT_RANGE};

use super::stored::Stored;
use crate::content_coding::{Coding, code_headers};

/// The stored response as it is in a content coding, for the answers of which its conditions are then evaluated. Its
/// tag, if strong, is another one: the bytes are others. Validate with the original, whose tag the origin knows.
///
/// `None` if the response may not be transformed (RFC 9111 section 5.2.2.6), is coded already, or has no body of its
/// own.
pub fn coded(stored: &Stored, coding: Coding) -> Option<Stored> {
    let may = !stored.flags.no_transform
        && !stored.headers.contains_key(CONTENT_ENCODING)
        && !stored.headers.contains_key(CONTENT_RANGE)
        && !matches!(stored.status.as_u16(), 204 | 304);
    let mut coded = may.then(|| stored.clone())?;
    code_headers(&mut coded.headers, coding);
    Some(coded)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method, StatusCode};

    use super::*;
    use crate::cache::conditional::{Condition, evaluate};
    use crate::cache::{Exchange, Policy, UnixMs, store};

    fn stored(lines: &[(&'static str, &'static str)]) -> Stored {
        let (request, mut response) = (HeaderMap::new(), HeaderMap::new());
        response.insert("cache-control", HeaderValue::from_static("max-age=60"));
        for (name, value) in lines {
            response.append(*name, HeaderValue::from_static(value));
        }
        let exchange = Exchange {
            method: &Method::GET,
            path_and_query: "/",
            request: &request,
            status: StatusCode::OK,
            response: &response,
            requested_at: UnixMs(0),
            responded_at: UnixMs(0),
        };
        store(&exchange, &Policy::default()).unwrap()
    }

    #[test]
    fn a_coded_response_has_a_strong_tag_of_its_own() {
        let plain = stored(&[("etag", "\"a\""), ("content-length", "9"), ("vary", "x")]);
        let coded = coded(&plain, Coding::Brotli).unwrap();
        assert_eq!(coded.headers["etag"], "\"a-br\"");
        assert_eq!(coded.headers["content-encoding"], "br");
        assert!(!coded.headers.contains_key("content-length"));
        let vary: Vec<_> = coded.headers.get_all("vary").iter().collect();
        assert_eq!(vary, ["x, Accept-Encoding"]);
        for (tag, of_plain, of_coded) in [
            ("\"a\"", Condition::NotModified, Condition::Full),
            ("\"a-br\"", Condition::Full, Condition::NotModified),
        ] {
            let mut request = HeaderMap::new();
            request.insert("if-none-match", HeaderValue::from_static(tag));
            let of = |stored| evaluate(&Method::GET, &request, stored, UnixMs(0));
            assert_eq!([of(&plain), of(&coded)], [of_plain, of_coded], "{tag}");
        }
    }

    #[test]
    fn a_weak_tag_stands_for_all_codings() {
        let plain = stored(&[("etag", "W/\"a\"")]);
        assert_eq!(
            coded(&plain, Coding::Brotli).unwrap().headers["etag"],
            "W/\"a\""
        );
    }

    #[test]
    fn what_may_not_be_transformed_or_is_coded_stays_as_it_is() {
        for line in [
            ("cache-control", "No-Transform"),
            ("content-encoding", "gzip"),
            ("content-range", "bytes 0-1/2"),
        ] {
            assert!(
                coded(&stored(&[line]), Coding::Brotli).is_none(),
                "{line:?}"
            );
        }
    }
}
