//! `permessage-deflate` (RFC 7692), each message for itself: what is made of one is the same for everybody, and nothing
//! is kept between two.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use http::header::{HeaderMap, SEC_WEBSOCKET_EXTENSIONS};

use super::Violation;
use super::handshake::list;

const NAME: &str = "permessage-deflate";
/// What is left out at the end of a message (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Bytes that are made at a time.
const STEP_BYTES: usize = 4 << 10;

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The value of `Sec-WebSocket-Extensions` that says so.
    pub told: &'static str,
    /// The client reads what [`Deflater`] makes. Else it wants a window so small that it gets everything as it is,
    /// which is allowed (section 6), and its own messages may be compressed all the same.
    pub reads_all: bool,
}

/// The answers, by the bits of the server's window; the first for whoever does not name it.
const TOLD: [&str; 9] = [
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=13",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=14",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15",
];
const BITS: [&str; 8] = ["8", "9", "10", "11", "12", "13", "14", "15"];

/// How the first offer is answered that can be taken; one with a window as large as the server's before others.
pub(super) fn answer(headers: &HeaderMap) -> Option<Agreed> {
    let mut small = None;
    for agreed in list(headers, &SEC_WEBSOCKET_EXTENSIONS).filter_map(answer_one) {
        if agreed.reads_all {
            return Some(agreed);
        }
        small = small.or(Some(agreed));
    }
    small
}

/// An offer that asks for what is not known is passed over (section 7.1).
fn answer_one(offer: &str) -> Option<Agreed> {
    let mut parts = offer.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let mut seen = Vec::new();
    let mut window = 0;
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim().trim_matches('"'))),
            None => (part, None),
        };
        match (name, value) {
            _ if seen.contains(&name) => return None,
            ("server_no_context_takeover" | "client_no_context_takeover", None) => {}
            ("client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(bits)) if BITS.contains(&bits) => {}
            ("server_max_window_bits", Some(bits)) => {
                window = 1 + BITS.iter().position(|known| *known == bits)?;
            }
            _ => return None,
        }
        seen.push(name);
    }
    Some(Agreed {
        told: TOLD.get(window)?,
        reads_all: window == 0 || window == BITS.len(),
    })
}

/// Compresses messages, one after the other. It takes some hundred KiB, so a thread has one.
#[derive(Debug)]
pub struct Deflater(Compress);

impl Default for Deflater {
    fn default() -> Self {
        Self(Compress::new(Compression::default(), false))
    }
}

impl Deflater {
    /// The payload of a frame whose first reserved bit is set; `None` if it would be no shorter.
    pub fn deflate(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.0.reset();
        let mut out = Vec::with_capacity(message.len().checked_add(TAIL.len())?);
        let made = self.0.compress_vec(message, &mut out, FlushCompress::Sync);
        let is_whole = made.is_ok() && self.0.total_in() == message.len() as u64;
        // Without room behind it, it may not have ended.
        if !is_whole || out.len() == out.capacity() || !out.ends_with(&TAIL) {
            return None;
        }
        out.truncate(out.len() - TAIL.len());
        (out.len() < message.len()).then_some(out)
    }
}

/// What a compressed message holds, which is at most `max` bytes: no more is ever made of it.
///
/// # Errors
///
/// When it is none, or holds more.
pub(super) fn inflate(message: &[u8], max: usize) -> Result<Vec<u8>, Violation> {
    let mut inflater = Decompress::new(false);
    let mut out = Vec::new();
    for mut rest in [message, &TAIL] {
        loop {
            if out.len() > max {
                let bytes = out.len() as u64;
                return Err(Violation::TooBig { bytes, max });
            }
            let room = (max + 1 - out.len()).min(STEP_BYTES.max(out.len()));
            out.reserve_exact(room);
            let before = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress_vec(rest, &mut out, FlushDecompress::Sync);
            let status = status.map_err(|_| Violation::Deflate)?;
            let taken = inflater.total_in() - before.0;
            rest = rest
                .get(usize::try_from(taken).unwrap_or(usize::MAX)..)
                .unwrap_or_default();
            let is_stuck = taken == 0 && inflater.total_out() == before.1;
            if status == Status::StreamEnd {
                // A client may end its stream with each message (section 7.2.3.4).
                inflater.reset(false);
            }
            if rest.is_empty() && out.len() < out.capacity() {
                break;
            }
            if is_stuck {
                return Err(Violation::Deflate);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(offers: &[&'static str]) -> Option<Agreed> {
        let mut headers = HeaderMap::new();
        for offer in offers {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, offer.parse().unwrap());
        }
        answer(&headers)
    }

    #[test]
    fn the_first_offer_that_can_be_taken_is_and_no_other() {
        const PLAIN: &str =
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=\"10\" ; server_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate; client_no_context_takeover",
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        ] {
            let agreed = Agreed {
                told: PLAIN,
                reads_all: true,
            };
            assert_eq!(answered(&[offer]), Some(agreed), "{offer}");
        }
        for (offers, bits, reads_all) in [
            (
                ["foo", "permessage-deflate; server_max_window_bits=15"],
                "=15",
                true,
            ),
            // What `Deflater` makes looks farther back than that.
            (
                ["foo", "permessage-deflate; server_max_window_bits=9"],
                "=9",
                false,
            ),
            (
                [
                    "permessage-deflate; server_max_window_bits=8",
                    "permessage-deflate; server_max_window_bits=14",
                ],
                "=8",
                false,
            ),
        ] {
            let agreed = answered(&offers).unwrap();
            assert!(
                agreed
                    .told
                    .ends_with(&format!("; server_max_window_bits{bits}"))
            );
            assert_eq!(agreed.reads_all, reads_all, "{offers:?}");
        }
        for offer in [
            "",
            "permessage-bzip2",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=08",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; mystery",
        ] {
            assert_eq!(answered(&[offer]), None, "{offer}");
        }
    }

    #[test]
    fn what_was_made_short_is_whole_again_and_each_message_stands_for_itself() {
        let mut deflater = Deflater::default();
        for message in ["", "a", &"ab".repeat(40), &"{\"n\":1}".repeat(20_000)] {
            let message = message.as_bytes();
            let made = [deflater.deflate(message), deflater.deflate(message)];
            assert_eq!(made[0], made[1]);
            let [Some(made), _] = made else {
                assert!(message.len() < 10, "{}", message.len());
                continue;
            };
            assert!(made.len() < message.len());
            assert_eq!(inflate(&made, message.len()).unwrap(), message);
        }
        let noise: Vec<_> = {
            let mut random = fastrand::Rng::with_seed(1);
            (0..10_000).map(|_| random.u8(..)).collect()
        };
        assert_eq!(deflater.deflate(&noise), None);
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        for hello in [
            // Sections 7.2.3.1, 7.2.3.3, 7.2.3.4 and 7.2.3.5.
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[
                0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
            ],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[
                0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
            ],
        ] {
            assert_eq!(inflate(hello, 5).unwrap(), b"Hello", "{hello:x?}");
        }
    }

    #[test]
    fn no_more_is_made_of_a_message_than_it_may_hold() {
        let mut deflater = Deflater::default();
        let bomb = deflater.deflate(&vec![0; 64 << 20]).unwrap();
        assert!(bomb.len() < 1 << 20);
        let max = 64 << 10;
        let refused = inflate(&bomb, max);
        assert!(matches!(refused, Err(Violation::TooBig { bytes, .. }) if bytes == max as u64 + 1));
        assert_eq!(inflate(&[0xff; 20], max), Err(Violation::Deflate));
        let exact = deflater.deflate(&vec![7; max]).unwrap();
        assert_eq!(inflate(&exact, max).unwrap().len(), max);
        assert!(inflate(&exact, max - 1).is_err());
    }
}
