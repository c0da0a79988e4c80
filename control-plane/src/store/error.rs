//! Why a store did not do what it was asked.

use std::time::Duration;

use super::limits::Invalid;
use super::types::Revision;

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request breaks a limit; it was not sent.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The revision asked for is no longer kept.
    #[error("revision {asked} was compacted{}", oldest(*.compacted))]
    Compacted {
        /// What was asked for.
        asked: Revision,
        /// The oldest revision still kept, where the store says it.
        compacted: Option<Revision>,
    },
    /// The revision asked for does not exist yet: this store was put back to an older state, or it lags.
    #[error("revision {asked} is in the future{}", newest(*.current))]
    Future {
        /// What was asked for.
        asked: Revision,
        /// The newest revision, where the store says it.
        current: Option<Revision>,
    },
    /// A lease named in the request expired, was revoked or never was; nothing was written.
    #[error("a lease named in the request does not exist")]
    LeaseNotFound,
    /// As many writes wait as may wait; nothing was written.
    #[error("the store is busy: {waiting} writes wait")]
    Busy {
        /// How many wait.
        waiting: usize,
    },
    /// The store has no space left; it can be read.
    #[error("the store has no space left")]
    Full,
    /// These credentials may not do this.
    #[error("the store denies it: {reason}")]
    Denied {
        /// What the store says.
        reason: String,
    },
    /// The store refuses the request for a reason that the limits do not know.
    #[error("the store refuses it: {reason}")]
    Refused {
        /// What the store says.
        reason: String,
    },
    /// No answer in time. A write may have been made.
    #[error("{operation} took longer than {limit:?}")]
    Late {
        /// What was asked for.
        operation: &'static str,
        /// How long it might take.
        limit: Duration,
    },
    /// The store cannot be reached or failed. A write may have been made.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// What is known about it.
        reason: String,
    },
    /// A watch heard nothing, though it asked for a sign of life.
    #[error("the watch was silent for {silent:?}")]
    Silent {
        /// For how long.
        silent: Duration,
    },
}

impl Error {
    /// Whether a write that ended so may have been made all the same.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Late { .. } | Self::Unavailable { .. })
    }
}

fn oldest(compacted: Option<Revision>) -> String {
    compacted.map_or_else(String::new, |revision| {
        format!("; the oldest kept is {revision}")
    })
}

fn newest(current: Option<Revision>) -> String {
    current.map_or_else(String::new, |revision| {
        format!("; the newest is {revision}")
    })
}
