//! The guard itself: which bytes of a connection may reach the parser.

use thiserror::Error;

use super::chunked::{ChunkReader, Progress, TrailerReader};
use super::head::{Head, HeadReader};
use super::limits::Limits;
use super::refusal::Refusal;

/// The client broke a rule. What came before is sound and may still be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{refusal} after {pass} sound bytes")]
pub struct Refused {
    /// Bytes from the start of the offered ones that may be handed to the parser. They end inside
    /// a message only if the rule was broken by a chunked body; then the rest must never follow.
    pub pass: usize,
    /// The rule that was broken.
    pub refusal: Refusal,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Head(HeadReader),
    Sized(u64),
    Chunks(ChunkReader),
    Trailers(TrailerReader),
    Tunnel,
    Refused { refusal: Refusal, in_message: bool },
}

/// Follows the framing of one client connection and holds back what is not known to be sound.
///
/// A head is passed only when it is whole and obeys every rule; body bytes pass as they come. The
/// guard keeps positions, never bytes: whatever [`feed`](Self::feed) does not pass stays with the
/// caller and starts the next feed.
///
/// ```
/// use weir_core::http1::{Limits, RequestGuard};
///
/// let mut guard = RequestGuard::new(Limits::default());
/// let mut unread = b"GET / HTTP/1.1\r\nHost: a".to_vec();
/// assert_eq!(guard.feed(&unread), Ok(0));
/// unread.extend_from_slice(b"\r\n\r\n");
/// assert_eq!(guard.feed(&unread), Ok(unread.len()));
/// assert_eq!(guard.heads(), 1);
/// ```
///
/// After a head that [expects an upgrade](Head::expects_upgrade) and its body, everything passes
/// unseen: the bytes may no longer be HTTP. A caller that declines the upgrade must therefore
/// answer with `Connection: close` and never parse another request from this connection.
#[derive(Clone, Debug)]
pub struct RequestGuard {
    limits: Limits,
    place: Place,
    last: Head,
    heads: u64,
}

impl RequestGuard {
    /// A guard for a fresh connection. `request_line_bytes_max` is capped to `head_bytes_max`.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: limits.consistent(),
            place: Place::Head(HeadReader::default()),
            last: Head::default(),
            heads: 0,
        }
    }

    /// Judges the bytes that were not passed before, followed by the ones that have arrived since.
    ///
    /// Returns how many bytes from the start may be handed to the parser. However the stream is
    /// split into feeds, the same bytes pass and the verdict is the same. Each byte of a head is
    /// searched once.
    ///
    /// # Errors
    /// [`Refused`] once the client broke a rule; every later feed is refused as well.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        if let Place::Refused { refusal, .. } = self.place {
            return Err(Refused { pass: 0, refusal });
        }
        let mut pass = 0;
        while pass < bytes.len() {
            match self.advance(&bytes[pass..]) {
                Ok(0) => break,
                Ok(taken) => pass += taken,
                Err(refused) => {
                    self.place = Place::Refused {
                        refusal: refused.refusal,
                        in_message: !self.is_between_requests(),
                    };
                    return Err(Refused {
                        pass: pass + refused.pass,
                        ..refused
                    });
                }
            }
        }
        Ok(pass)
    }

    /// The latest head that passed whole, with how its body is framed.
    pub fn last_head(&self) -> &Head {
        &self.last
    }

    /// Number of heads that have passed.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the guard has gone transparent, because an upgrade was asked for.
    pub fn is_tunnel(&self) -> bool {
        matches!(self.place, Place::Tunnel)
    }

    /// Whether no message is under way: the connection may be closed without cutting one off.
    ///
    /// Bytes of a head that was held back do not count as a message; the caller knows of them. After
    /// a refusal it tells where the rule was broken.
    pub fn is_between_requests(&self) -> bool {
        match self.place {
            Place::Head(_) => true,
            Place::Refused { in_message, .. } => !in_message,
            _ => false,
        }
    }

    /// Takes what it can of one part of a message; zero when more bytes are needed.
    fn advance(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let at_start = |refusal| Refused { pass: 0, refusal };
        match &mut self.place {
            Place::Head(reader) => {
                let complete = reader.read(bytes, &self.limits).map_err(at_start)?;
                Ok(complete.map_or(0, |(head, length)| {
                    self.enter_body(head);
                    length
                }))
            }
            Place::Sized(left) => {
                let taken =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= taken as u64;
                if *left == 0 {
                    self.end_message();
                }
                Ok(taken)
            }
            Place::Chunks(reader) => match reader.read(bytes, &self.limits) {
                Progress::More => Ok(bytes.len()),
                Progress::LastChunk(taken) => {
                    self.place = Place::Trailers(TrailerReader::default());
                    Ok(taken)
                }
                Progress::Refused(pass, refusal) => Err(Refused { pass, refusal }),
            },
            Place::Trailers(reader) => {
                let complete = reader.read(bytes, &self.limits).map_err(at_start)?;
                if complete.is_some() {
                    self.end_message();
                }
                Ok(complete.unwrap_or(0))
            }
            Place::Tunnel => Ok(bytes.len()),
            Place::Refused { refusal, .. } => Err(at_start(*refusal)),
        }
    }

    fn enter_body(&mut self, head: Head) {
        self.heads += 1;
        self.last = head;
        match head.content_length {
            _ if head.is_chunked => self.place = Place::Chunks(ChunkReader::new()),
            Some(length @ 1..) => self.place = Place::Sized(length),
            _ => self.end_message(),
        }
    }

    fn end_message(&mut self) {
        self.place = if self.last.expects_upgrade {
            Place::Tunnel
        } else {
            Place::Head(HeadReader::default())
        };
    }
}
