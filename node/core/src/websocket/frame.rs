//! Frames of a server: whole, and without a mask (RFC 6455, sections 5.1 and 5.2).

use super::{CloseCode, Opcode, REASON_BYTES_MAX};

/// Bytes of the longest control frame's payload.
pub const CONTROL_BYTES_MAX: usize = 125;

const FINAL: u8 = 0x80;

/// A whole frame.
pub fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 10);
    out.push(FINAL | opcode as u8);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..=125), _) => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

/// A close frame; a reason that is too long ends where it has to, between two characters.
pub fn close_frame(code: CloseCode, reason: &str) -> Vec<u8> {
    let mut payload = code.0.to_be_bytes().to_vec();
    let ends = reason.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|end| *end <= REASON_BYTES_MAX).last();
    payload.extend_from_slice(&reason.as_bytes()[..end.unwrap_or_default()]);
    frame(Opcode::Close, &payload)
}

/// A ping without a payload.
pub fn ping_frame() -> Vec<u8> {
    frame(Opcode::Ping, b"")
}

/// The answer to a ping with this payload.
pub fn pong_frame(payload: &[u8]) -> Vec<u8> {
    let end = payload.len().min(CONTROL_BYTES_MAX);
    frame(Opcode::Pong, &payload[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_shortest_header_that_does() {
        for (bytes, head) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let made = frame(Opcode::Binary, &vec![7; bytes]);
            assert_eq!(&made[..head.len()], head, "{bytes}");
            assert_eq!(made.len(), head.len() + bytes);
        }
    }

    #[test]
    fn a_reason_fits_and_stays_text() {
        let made = close_frame(CloseCode(4000), &"ä".repeat(100));
        assert_eq!((made[0], made[1]), (0x88, 2 + 122));
        assert!(std::str::from_utf8(&made[4..]).is_ok());
        assert_eq!(close_frame(CloseCode::NORMAL, ""), b"\x88\x02\x03\xe8");
    }
}
