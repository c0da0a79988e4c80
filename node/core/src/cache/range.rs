//! Parts of a stored whole (RFC 9110 section 14).

use std::ops::Range;

use http::header::{CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::stored::Stored;
use super::validators::Validators;

/// Ranges of one request beyond which the whole is sent.
pub const RANGES_MAX: usize = 8;

/// Which part of a stored body answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it, with its own status.
    Whole,
    /// 206 with these bytes.
    Single(Range<u64>),
    /// 206 with `multipart/byteranges`, in the order they were asked; two or more.
    Multiple(Vec<Range<u64>>),
    /// 416 with `Content-Range: bytes */length`.
    Unsatisfiable,
}

/// Which part of a stored body of `body_bytes` answers a request. Conditions other than `If-Range` come first
/// (RFC 9110 section 13.2.2).
///
/// The whole answers if the request is no GET, the response no 200, `If-Range` does not hold, the ranges are not
/// well-formed, more than [`RANGES_MAX`] or together longer than the body (RFC 9110 section 14.2).
pub fn select(method: &Method, request: &HeaderMap, stored: &Stored, body_bytes: u64) -> Part {
    match stored.status {
        StatusCode::OK => {
            let validators = stored.validators(stored.responded_at);
            select_by(method, request, &validators, body_bytes)
        }
        _ => Part::Whole,
    }
}

/// The same for what would answer with 200 and has these validators.
pub fn select_by(
    method: &Method,
    request: &HeaderMap,
    validators: &Validators<'_>,
    body_bytes: u64,
) -> Part {
    let may = *method == Method::GET && body_bytes > 0;
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None, true) = (lines.next(), lines.next(), may) else {
        return Part::Whole;
    };
    if !validators.allow_part(request) {
        return Part::Whole;
    }
    let Some(asked) = parse(line.as_bytes(), body_bytes) else {
        return Part::Whole;
    };
    let mut ranges: Vec<Range<u64>> = asked.into_iter().flatten().collect();
    let total = ranges.iter().fold(0_u64, |sum, range| {
        sum.saturating_add(range.end - range.start)
    });
    match ranges.len() {
        0 => Part::Unsatisfiable,
        1 => Part::Single(ranges.remove(0)),
        _ if total > body_bytes => Part::Whole,
        _ => Part::Multiple(ranges),
    }
}

/// The ranges that are asked, `None` where one lies outside of the body; nothing if they are not well-formed or too
/// many.
fn parse(line: &[u8], body_bytes: u64) -> Option<Vec<Option<Range<u64>>>> {
    let text = std::str::from_utf8(line).ok()?.trim();
    let (unit, set) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut ranges = Vec::new();
    for spec in set
        .split(',')
        .map(str::trim)
        .filter(|spec| !spec.is_empty())
    {
        if ranges.len() == RANGES_MAX {
            return None;
        }
        ranges.push(range(spec, body_bytes)?);
    }
    (!ranges.is_empty()).then_some(ranges)
}

/// One range; `Some(None)` if it lies outside of the body, `None` if it is not well-formed.
fn range(spec: &str, body_bytes: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = spec.split_once('-')?;
    let range = match (first, last) {
        ("", suffix) => body_bytes.saturating_sub(number(suffix)?)..body_bytes,
        (first, "") => number(first)?..body_bytes,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(body_bytes)
        }
    };
    Some((range.start < range.end).then_some(range))
}

/// Digits as a number, at most what 64 bits hold.
fn number(text: &str) -> Option<u64> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// `Content-Range` of these bytes of a body of `body_bytes`.
pub fn content_range(range: &Range<u64>, body_bytes: u64) -> String {
    format!(
        "bytes {}-{}/{body_bytes}",
        range.start,
        range.end.saturating_sub(1)
    )
}

/// `Content-Range` of a 416.
pub fn content_range_unsatisfiable(body_bytes: u64) -> String {
    format!("bytes */{body_bytes}")
}

/// What stands around the parts of a `multipart/byteranges` body (RFC 9110 section 14.6).
#[derive(Clone, Debug)]
pub struct Multipart<'a> {
    boundary: &'a str,
    content_type: Option<&'a HeaderValue>,
    body_bytes: u64,
}

impl<'a> Multipart<'a> {
    /// Parts of a stored body of `body_bytes`. The boundary, 1 to 70 letters and digits, may not occur in the body:
    /// draw it.
    pub fn new(stored: &'a Stored, boundary: &'a str, body_bytes: u64) -> Self {
        Self::of_type(stored.headers.get(CONTENT_TYPE), boundary, body_bytes)
    }

    /// The same of a body of that type.
    pub fn of_type(
        content_type: Option<&'a HeaderValue>,
        boundary: &'a str,
        body_bytes: u64,
    ) -> Self {
        Self {
            boundary,
            content_type,
            body_bytes,
        }
    }

    /// `Content-Type` of the response.
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// What stands before the bytes of a part.
    pub fn head(&self, range: &Range<u64>) -> Vec<u8> {
        let mut out = format!("\r\n--{}\r\n", self.boundary).into_bytes();
        if let Some(content_type) = self.content_type {
            out.extend_from_slice(b"Content-Type: ");
            out.extend_from_slice(content_type.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        let content_range = content_range(range, self.body_bytes);
        out.extend_from_slice(format!("Content-Range: {content_range}\r\n\r\n").as_bytes());
        out
    }

    /// What stands after the last part.
    pub fn end(&self) -> Vec<u8> {
        format!("\r\n--{}--\r\n", self.boundary).into_bytes()
    }

    /// `Content-Length` of the response with these parts.
    pub fn content_length(&self, ranges: &[Range<u64>]) -> u64 {
        let parts: u64 = ranges
            .iter()
            .map(|range| self.head(range).len() as u64 + (range.end - range.start))
            .sum();
        parts + self.end().len() as u64
    }
}
