//! Frames of a client, however their bytes come (RFC 6455, section 5).

use thiserror::Error;

use super::frame::CONTROL_BYTES_MAX;
use super::{Close, CloseCode, Opcode, deflate, mask};

/// Two bytes, a length of up to eight, a mask of four.
const HEAD_BYTES_MAX: usize = 14;
/// Of the first byte of a message's first frame: it is compressed (RFC 7692, section 6).
const DEFLATED: u8 = 0x40;

/// What a client did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// A bit that means nothing without an extension.
    #[error("a reserved bit is set that no extension gives a meaning")]
    ReservedBits,
    /// An opcode that means nothing.
    #[error("opcode {0} means nothing")]
    Opcode(u8),
    /// Frames of clients are masked.
    #[error("a frame of a client has to be masked")]
    NotMasked,
    /// A length in more bytes than it needs, or with its first bit set.
    #[error("the length of a frame is not written in the fewest bytes")]
    Length,
    /// A control frame in parts.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A control frame that is too long.
    #[error("a control frame has more than 125 bytes")]
    LongControl,
    /// More of a message that did not begin.
    #[error("a continuation of nothing")]
    NothingToContinue,
    /// Another message within one that did not end.
    #[error("a message begins before the one before has ended")]
    NotContinued,
    /// A message that is too long.
    #[error("a message has {bytes} bytes or more, more than {max}")]
    TooBig {
        /// That it has at least.
        bytes: u64,
        /// That it may have.
        max: usize,
    },
    /// A compressed message that is none.
    #[error("a compressed message cannot be read")]
    Deflate,
    /// Text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Utf8,
    /// One byte where a code has two.
    #[error("a close frame holds half a code")]
    HalfCloseCode,
    /// A code that may not be sent.
    #[error("close code {0} may not be sent")]
    CloseCode(u16),
    /// A reason that is not UTF-8.
    #[error("the reason of a close frame is not UTF-8")]
    CloseReason,
}

impl Violation {
    /// With which code the connection is closed.
    pub const fn code(self) -> CloseCode {
        match self {
            Self::TooBig { .. } => CloseCode::TOO_BIG,
            Self::Utf8 | Self::CloseReason | Self::Deflate => CloseCode::INVALID_DATA,
            _ => CloseCode::PROTOCOL,
        }
    }
}

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message of text.
    Text(String),
    /// A whole message of bytes.
    Binary(Vec<u8>),
    /// It wants a pong with the same payload.
    Ping(Vec<u8>),
    /// A sign of life.
    Pong,
    /// The last that it sends; what follows is ignored.
    Close(Option<Close>),
}

/// The payload of a frame of which more is to come.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    is_final: bool,
    bytes: u64,
    seen: u64,
    key: [u8; 4],
}

/// Makes messages of bytes. It holds what has come of a message, and nothing while none is under way.
#[derive(Debug)]
pub struct Decoder {
    message_bytes_max: usize,
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: u8,
    frame: Option<Frame>,
    /// Which message is under way.
    kind: Option<Opcode>,
    message: Vec<u8>,
    /// Bytes of a text that are whole characters.
    sound: usize,
    control: Vec<u8>,
    is_closed: bool,
    /// Messages may be compressed, and whether the one under way is.
    deflates: bool,
    is_deflated: bool,
}

impl Decoder {
    /// Takes messages of up to so many bytes.
    pub const fn new(message_bytes_max: usize) -> Self {
        Self {
            message_bytes_max,
            head: [0; HEAD_BYTES_MAX],
            head_bytes: 0,
            frame: None,
            kind: None,
            message: Vec::new(),
            sound: 0,
            control: Vec::new(),
            is_closed: false,
            deflates: false,
            is_deflated: false,
        }
    }

    /// Takes compressed messages too (RFC 7692), if that was agreed on. What such a message holds is bounded as its
    /// bytes are.
    #[must_use]
    pub const fn deflated(mut self, deflates: bool) -> Self {
        self.deflates = deflates;
        self
    }

    /// Other bounds, for frames that begin from now on.
    pub const fn set_message_bytes_max(&mut self, max: usize) {
        self.message_bytes_max = max;
    }

    /// Takes bytes up to the end of the first thing that they hold; how many it took, and what it is.
    ///
    /// # Errors
    ///
    /// What is wrong; the connection cannot go on.
    pub fn decode(&mut self, input: &[u8]) -> Result<(usize, Option<Event>), Violation> {
        if self.is_closed {
            return Ok((input.len(), None));
        }
        let mut at = 0;
        loop {
            let frame = match self.frame {
                Some(frame) => frame,
                None => {
                    let Some(byte) = input.get(at) else {
                        return Ok((at, None));
                    };
                    at += 1;
                    match self.take_head(*byte)? {
                        None => continue,
                        Some(frame) => frame,
                    }
                }
            };
            let left = usize::try_from(frame.bytes - frame.seen).unwrap_or(usize::MAX);
            let end = at.saturating_add(left).min(input.len());
            let part = input.get(at..end).unwrap_or_default();
            at = end;
            let seen = frame.seen + part.len() as u64;
            self.take_payload(frame, part)?;
            if seen < frame.bytes {
                self.frame = Some(Frame { seen, ..frame });
                return Ok((at, None));
            }
            self.frame = None;
            if let Some(event) = self.finish(frame)? {
                return Ok((at, Some(event)));
            }
        }
    }

    /// Takes one more byte of a head, which is judged as far as it goes.
    fn take_head(&mut self, byte: u8) -> Result<Option<Frame>, Violation> {
        let have = usize::from(self.head_bytes);
        if let Some(place) = self.head.get_mut(have) {
            *place = byte;
        }
        self.head_bytes += 1;
        match have {
            0 => self.judge_first(byte).map(|()| None),
            1 => self.judge_second(byte).map(|()| None),
            _ => {
                let length_bytes = match self.head[1] & 0x7f {
                    126 => 2,
                    127 => 8,
                    _ => 0,
                };
                if have + 1 == 2 + length_bytes {
                    self.length(length_bytes)?;
                }
                if have + 1 < 2 + length_bytes + 4 {
                    return Ok(None);
                }
                self.begin(length_bytes).map(Some)
            }
        }
    }

    fn judge_first(&self, byte: u8) -> Result<(), Violation> {
        let opcode = Opcode::of(byte & 0x0f);
        let begins = matches!(opcode, Some(Opcode::Text | Opcode::Binary));
        let meant = if self.deflates && begins { DEFLATED } else { 0 };
        if byte & 0x70 & !meant != 0 {
            return Err(Violation::ReservedBits);
        }
        let opcode = opcode.ok_or(Violation::Opcode(byte & 0x0f))?;
        let is_final = byte & 0x80 != 0;
        match opcode {
            _ if opcode.is_control() && !is_final => Err(Violation::FragmentedControl),
            _ if opcode.is_control() => Ok(()),
            Opcode::Continuation if self.kind.is_none() => Err(Violation::NothingToContinue),
            Opcode::Text | Opcode::Binary if self.kind.is_some() => Err(Violation::NotContinued),
            _ => Ok(()),
        }
    }

    fn judge_second(&self, byte: u8) -> Result<(), Violation> {
        if byte & 0x80 == 0 {
            return Err(Violation::NotMasked);
        }
        let is_control = self.head[0] & 0x08 != 0;
        match byte & 0x7f {
            126.. if is_control => Err(Violation::LongControl),
            126.. => Ok(()),
            short => self.judge_length(u64::from(short)),
        }
    }

    /// The payload's length, once its bytes are there.
    fn length(&self, length_bytes: usize) -> Result<u64, Violation> {
        let written = self.head.get(2..2 + length_bytes).unwrap_or_default();
        let long = written
            .iter()
            .fold(0_u64, |long, byte| (long << 8) | u64::from(*byte));
        let least = match length_bytes {
            0 => return Ok(u64::from(self.head[1] & 0x7f)),
            2 => 126,
            _ => 65_536,
        };
        if long < least || long >> 63 != 0 {
            return Err(Violation::Length);
        }
        self.judge_length(long).map(|()| long)
    }

    fn judge_length(&self, bytes: u64) -> Result<(), Violation> {
        if self.head[0] & 0x08 != 0 {
            return Ok(());
        }
        let max = self.message_bytes_max;
        let bytes = bytes.saturating_add(self.message.len() as u64);
        match bytes > max as u64 {
            true => Err(Violation::TooBig { bytes, max }),
            false => Ok(()),
        }
    }

    fn begin(&mut self, length_bytes: usize) -> Result<Frame, Violation> {
        let bytes = self.length(length_bytes)?;
        let opcode = Opcode::of(self.head[0] & 0x0f).unwrap_or(Opcode::Close);
        let key = self.head.get(2 + length_bytes..6 + length_bytes);
        let key = key.and_then(|key| key.try_into().ok()).unwrap_or_default();
        self.head_bytes = 0;
        if matches!(opcode, Opcode::Text | Opcode::Binary) {
            self.kind = Some(opcode);
            self.is_deflated = self.head[0] & DEFLATED != 0;
        }
        Ok(Frame {
            opcode,
            is_final: self.head[0] & 0x80 != 0,
            bytes,
            seen: 0,
            key,
        })
    }

    fn take_payload(&mut self, frame: Frame, part: &[u8]) -> Result<(), Violation> {
        let to = match frame.opcode.is_control() {
            true => &mut self.control,
            false => &mut self.message,
        };
        let before = to.len();
        to.extend_from_slice(part);
        mask::apply(
            to.get_mut(before..).unwrap_or_default(),
            frame.key,
            frame.seen,
        );
        debug_assert!(self.control.len() <= CONTROL_BYTES_MAX);
        if !frame.opcode.is_control() && self.kind == Some(Opcode::Text) && !self.is_deflated {
            self.judge_text()?;
        }
        Ok(())
    }

    /// Judges what came of a text. Of a character in parts its parts are judged.
    fn judge_text(&mut self) -> Result<(), Violation> {
        let fresh = self.message.get(self.sound..).unwrap_or_default();
        match std::str::from_utf8(fresh) {
            Ok(_) => self.sound = self.message.len(),
            Err(error) if error.error_len().is_none() => self.sound += error.valid_up_to(),
            Err(_) => return Err(Violation::Utf8),
        }
        Ok(())
    }

    fn finish(&mut self, frame: Frame) -> Result<Option<Event>, Violation> {
        if frame.opcode.is_control() {
            let payload = std::mem::take(&mut self.control);
            return Ok(Some(match frame.opcode {
                Opcode::Ping => Event::Ping(payload),
                Opcode::Pong => Event::Pong,
                _ => {
                    self.is_closed = true;
                    Event::Close(Close::read(&payload)?)
                }
            }));
        }
        if !frame.is_final {
            return Ok(None);
        }
        let mut message = std::mem::take(&mut self.message);
        self.sound = 0;
        if std::mem::take(&mut self.is_deflated) {
            message = deflate::inflate(&message, self.message_bytes_max)?;
        }
        Ok(Some(match self.kind.take() {
            Some(Opcode::Text) => {
                Event::Text(String::from_utf8(message).map_err(|_| Violation::Utf8)?)
            }
            _ => Event::Binary(message),
        }))
    }
}
