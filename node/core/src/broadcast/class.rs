//! How urgent a message is, what may be lost of it, and what it holds.

use std::sync::Arc;

use super::Position;
use crate::cache::UnixMs;

/// What a message is worth to a subscriber who does not keep up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Goes at once, before messages of other topics. A connection that cannot take it is cut.
    Critical,
    /// Every message counts: who falls behind catches up from history, and is told what is gone from there.
    #[default]
    Stream,
    /// The newest message of each key counts. Offsets tell how many were replaced.
    Latest,
    /// Counts now or never: not kept, not numbered, and the first to be dropped.
    Ephemeral,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Critical, Self::Stream, Self::Latest, Self::Ephemeral];

    /// Whether messages have offsets and are kept.
    pub const fn is_numbered(self) -> bool {
        !matches!(self, Self::Ephemeral)
    }

    /// As people and scripts read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Stream => "stream",
            Self::Latest => "latest",
            Self::Ephemeral => "ephemeral",
        }
    }
}

/// What the bytes of a message are, as its publisher says; it decides how they look in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Content {
    /// Any bytes; base64 in JSON.
    #[default]
    Binary,
    /// UTF-8; a string in JSON.
    Text,
    /// One JSON value; itself in JSON.
    Json,
}

/// What the rules look at of a message.
pub trait Facts {
    /// Its class.
    fn class(&self) -> Class;
    /// Where it is in its topic; the offset is 0 for a message that is not numbered.
    fn position(&self) -> Position;
    /// The offset that it follows: less than its own by more than one where newer messages have replaced others on the
    /// way here.
    fn after(&self) -> u64;
    /// What a newer message replaces it by, if its class is [`Class::Latest`].
    fn key(&self) -> &str;
    /// What it takes, in bytes.
    fn bytes(&self) -> usize;
    /// When it was published.
    fn published_at(&self) -> UnixMs;
}

impl<T: Facts> Facts for Arc<T> {
    fn class(&self) -> Class {
        T::class(self)
    }

    fn position(&self) -> Position {
        T::position(self)
    }

    fn after(&self) -> u64 {
        T::after(self)
    }

    fn key(&self) -> &str {
        T::key(self)
    }

    fn bytes(&self) -> usize {
        T::bytes(self)
    }

    fn published_at(&self) -> UnixMs {
        T::published_at(self)
    }
}
