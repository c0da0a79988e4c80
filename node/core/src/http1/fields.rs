//! One field line, shared by heads and trailers.

use super::chars::{has_control, is_space, is_token, trim};
use super::refusal::Refusal;

/// Name and trimmed value of a field line without its line end (RFC 9112 section 5).
pub(super) fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if line.first().copied().is_some_and(is_space) {
        return Err(Refusal::LineFolding);
    }
    if has_control(line) {
        return Err(control_refusal(line));
    }
    let colon = memchr::memchr(b':', line).ok_or(Refusal::MissingColon)?;
    let name = &line[..colon];
    if !is_token(name) {
        return Err(match name.last() {
            Some(last) if is_space(*last) => Refusal::SpaceBeforeColon,
            _ => Refusal::BadFieldName,
        });
    }
    Ok((name, trim(&line[colon + 1..])))
}

/// Which rule a line with a control character breaks. Only asked once one was found.
pub(super) fn control_refusal(line: &[u8]) -> Refusal {
    if line.contains(&b'\r') {
        Refusal::BareCr
    } else {
        Refusal::ControlCharacter
    }
}

/// The value as a body length: digits only, below 2^63 (RFC 9110 section 8.6).
pub(super) fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() {
        return Err(Refusal::BadContentLength);
    }
    let mut length = 0u64;
    for byte in value {
        if !byte.is_ascii_digit() {
            return Err(Refusal::BadContentLength);
        }
        length = length
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(u64::from(byte - b'0')))
            .filter(|length| *length <= i64::MAX.unsigned_abs())
            .ok_or(Refusal::BadContentLength)?;
    }
    Ok(length)
}

/// Whether a comma-separated list has this member, in any letter case.
pub(super) fn list_has(list: &[u8], member: &[u8]) -> bool {
    list.split(|byte| *byte == b',')
        .any(|item| trim(item).eq_ignore_ascii_case(member))
}

/// Refuses trailers that change how the message is framed or routed (RFC 9110 section 6.5.1).
pub(super) fn check_trailer(name: &[u8]) -> Result<(), Refusal> {
    const FORBIDDEN: [&[u8]; 5] = [
        b"content-length",
        b"transfer-encoding",
        b"host",
        b"connection",
        b"upgrade",
    ];
    if FORBIDDEN
        .iter()
        .any(|forbidden| name.eq_ignore_ascii_case(forbidden))
    {
        return Err(Refusal::ForbiddenTrailer);
    }
    Ok(())
}
