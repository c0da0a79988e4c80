//! Bytes of clients as text that cannot leave its place.

use super::VALUE_BYTES_MAX;

/// Where the text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// Within the quotes of a JSON text.
    Json,
    /// Within the quotes of a line of words.
    Quoted,
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends visible ASCII as it is, and everything else as an escape of its byte.
pub(super) fn text(into: &mut Vec<u8>, bytes: &[u8], escape: Escape) {
    let bytes = &bytes[..bytes.len().min(VALUE_BYTES_MAX)];
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\') {
            continue;
        }
        into.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        match (byte, escape) {
            (b'"' | b'\\', _) => into.extend([b'\\', *byte]),
            (_, Escape::Json) => into.extend(b"\\u00"),
            (_, Escape::Quoted) => into.extend(b"\\x"),
        }
        if !matches!(byte, b'"' | b'\\') {
            into.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    into.extend_from_slice(&bytes[from..]);
}
