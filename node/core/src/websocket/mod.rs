//! WebSocket as a server speaks it (RFC 6455): bytes in, messages out, and what is wrong with them.
//!
//! ```text
//! handshake   whether a request may become one, and what is answered
//! decoder     frames of a client, however their bytes come
//! mask        the key that a client lays over its bytes
//! close       codes and reasons
//! frame       what a server sends
//! deflate     messages that are compressed, if both sides want that
//! ```
//!
//! Nothing is kept before it is known to be within bounds, and whatever breaks a rule is refused with the first byte
//! that shows it. One extension is spoken, `permessage-deflate`; where it was not agreed on no reserved bit may be set.

mod close;
mod decoder;
mod deflate;
mod frame;
mod handshake;
mod mask;

pub use close::{Close, CloseCode, REASON_BYTES_MAX};
pub use decoder::{Decoder, Event, Violation};
pub use deflate::{Agreed, Deflater};
pub use frame::{CONTROL_BYTES_MAX, close_frame, frame, ping_frame, pong_frame};
pub use handshake::{BadHandshake, Handshake, VERSION, accept_key, handshake};

/// What a frame holds (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message that began before.
    Continuation = 0,
    /// UTF-8.
    Text = 1,
    /// Any bytes.
    Binary = 2,
    /// The last frame of a side.
    Close = 8,
    /// A question for a sign of life.
    Ping = 9,
    /// Its answer.
    Pong = 10,
}

impl Opcode {
    const fn of(nibble: u8) -> Option<Self> {
        Some(match nibble {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    const fn is_control(self) -> bool {
        self as u8 >= 8
    }
}
