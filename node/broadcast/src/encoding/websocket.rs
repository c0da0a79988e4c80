//! Headers of WebSocket frames (RFC 6455, section 5.2).

use std::cell::RefCell;

use weir_core::websocket::Deflater;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Text = 1,
    Binary = 2,
}

const FINAL: u8 = 0x80;
/// The payload is compressed (RFC 7692, section 6).
const DEFLATED: u8 = 0x40;

thread_local! {
    static DEFLATER: RefCell<Deflater> = RefCell::default();
}

/// The header of an unfragmented, unmasked frame: 2, 4 or 10 bytes.
pub(crate) fn header(opcode: Opcode, payload_bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(10);
    out.push(FINAL | opcode as u8);
    match (u8::try_from(payload_bytes), u16::try_from(payload_bytes)) {
        (Ok(short @ ..=125), _) => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
    out
}

/// The whole frame with this payload compressed; `None` if it would be no shorter.
pub(crate) fn deflated(opcode: Opcode, payload: &[u8]) -> Option<Vec<u8>> {
    let short = DEFLATER.with_borrow_mut(|deflater| deflater.deflate(payload))?;
    let mut frame = header(opcode, short.len());
    if let Some(first) = frame.first_mut() {
        *first |= DEFLATED;
    }
    frame.extend_from_slice(&short);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_as_short_as_its_payload_allows() {
        for (bytes, expected) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            assert_eq!(header(Opcode::Text, bytes), expected, "{bytes}");
        }
        assert_eq!(header(Opcode::Binary, 1), [0x82, 1]);
    }
}
