//! The request line (RFC 9112 section 3).

use crate::proxy::Authority;

use super::chars::is_token;
use super::refusal::Refusal;

/// Checks a request line without its line end; true for HTTP/1.1, false for HTTP/1.0.
pub(super) fn check_request_line(line: &[u8]) -> Result<bool, Refusal> {
    let first = memchr::memchr(b' ', line).ok_or(Refusal::BadRequestLine)?;
    let last = memchr::memrchr(b' ', line).ok_or(Refusal::BadRequestLine)?;
    if first == last {
        return Err(Refusal::BadRequestLine);
    }
    let (method, target) = (&line[..first], &line[first + 1..last]);
    if !is_token(method) {
        return Err(Refusal::BadMethod);
    }
    let is_http11 = http11(&line[last + 1..])?;
    if method == b"CONNECT" {
        return Err(Refusal::ConnectMethod);
    }
    check_target(method, target)?;
    Ok(is_http11)
}

fn http11(version: &[u8]) -> Result<bool, Refusal> {
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Refusal::UnsupportedVersion)
        }
        _ => Err(Refusal::BadRequestLine),
    }
}

/// A fragment is refused because parsers differ in whether it ends the path.
fn check_target(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    let illegal = target.iter().fold(false, |found, byte| {
        found | !byte.is_ascii_graphic() | (*byte == b'#')
    });
    let valid = match target {
        _ if illegal => false,
        [b'/', ..] => true,
        b"*" => method == b"OPTIONS",
        absolute => is_absolute(absolute),
    };
    if valid {
        Ok(())
    } else {
        Err(Refusal::BadTarget)
    }
}

fn is_absolute(target: &[u8]) -> bool {
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start
            .eq_ignore_ascii_case(scheme.as_bytes())
            .then_some(rest)
    });
    let Some(rest) = rest else { return false };
    let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    Authority::parse_bytes(&rest[..end]).is_ok()
}
