//! What a proxy must know of gRPC over HTTP/2.

use std::borrow::Cow;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};

/// The gRPC status codes a proxy speaks of, with their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum GrpcStatus {
    /// The caller gave up.
    Cancelled = 1,
    /// Nothing better is known.
    Unknown = 2,
    /// The deadline passed first.
    DeadlineExceeded = 4,
    /// The caller may not do this.
    PermissionDenied = 7,
    /// A quota or queue is exhausted.
    ResourceExhausted = 8,
    /// There is no such service or method.
    Unimplemented = 12,
    /// An invariant is broken.
    Internal = 13,
    /// Try again later.
    Unavailable = 14,
    /// The caller is not known.
    Unauthenticated = 16,
}

impl GrpcStatus {
    /// The value of the `grpc-status` header.
    pub fn header_value(self) -> HeaderValue {
        HeaderValue::from(self as u16)
    }
}

/// What an HTTP status without `grpc-status` means ("HTTP to gRPC Status Code Mapping").
pub fn grpc_status_of(status: StatusCode) -> GrpcStatus {
    match status.as_u16() {
        400 => GrpcStatus::Internal,
        401 => GrpcStatus::Unauthenticated,
        403 => GrpcStatus::PermissionDenied,
        404 => GrpcStatus::Unimplemented,
        429 | 502 | 503 | 504 => GrpcStatus::Unavailable,
        _ => GrpcStatus::Unknown,
    }
}

/// Whether the message is gRPC: its content type is `application/grpc`, possibly with `+suffix` or
/// parameters. gRPC-Web is not.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    value
        .as_bytes()
        .split_at_checked(TYPE.len())
        .is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(TYPE) && matches!(rest.first(), None | Some(b'+' | b';'))
        })
}

/// Reads `grpc-timeout`: one to eight digits and a unit of `H`, `M`, `S`, `m`, `u` or `n`. `None`
/// if it is malformed.
pub fn parse_timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits
        .iter()
        .fold(0, |amount, digit| amount * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Encodes a `grpc-message`: everything but printable ASCII, and `%` itself. Borrowed if there is
/// nothing to encode.
pub fn percent_encode_message(message: &str) -> Cow<'_, str> {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'%';
    if message.bytes().all(is_plain) {
        return Cow::Borrowed(message);
    }
    let mut encoded = String::with_capacity(message.len() + 16);
    for byte in message.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(HEX[usize::from(byte >> 4)]);
            encoded.push(HEX[usize::from(byte & 15)]);
        }
    }
    Cow::Owned(encoded)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn timeout(text: &'static str) -> Option<Duration> {
        parse_timeout(&HeaderValue::from_static(text))
    }

    #[test]
    fn timeouts_come_in_six_units() {
        assert_eq!(timeout("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(timeout("3M"), Some(Duration::from_secs(180)));
        assert_eq!(timeout("4S"), Some(Duration::from_secs(4)));
        assert_eq!(timeout("5m"), Some(Duration::from_millis(5)));
        assert_eq!(timeout("6u"), Some(Duration::from_micros(6)));
        assert_eq!(timeout("99999999n"), Some(Duration::from_nanos(99_999_999)));
    }

    #[test]
    fn malformed_timeouts_are_no_timeouts() {
        for text in ["", "S", "5", "5s", "-5S", "1 S", "123456789S", "5SS", "+5S"] {
            assert_eq!(timeout(text), None, "{text}");
        }
    }

    #[test]
    fn grpc_web_is_not_grpc() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
            ("text", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            assert_eq!(is_grpc(&headers), expected, "{content_type}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn http_statuses_map_as_the_specification_says() {
        for (status, expected) in [
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (429, 14),
            (503, 14),
            (500, 2),
            (418, 2),
        ] {
            let found = grpc_status_of(StatusCode::from_u16(status).unwrap());
            assert_eq!(found as u8, expected, "{status}");
        }
    }

    #[test]
    fn messages_are_encoded_only_where_needed() {
        assert!(matches!(
            percent_encode_message("plain text"),
            Cow::Borrowed(_)
        ));
        assert_eq!(percent_encode_message("50% é\n"), "50%25 %C3%A9%0A");
    }
}
