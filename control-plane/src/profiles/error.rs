//! Why a profile is not read or written.

use weir_core::calendar::rfc3339;
use weir_core::tuning::{Problem, Scope};

use super::record::Revision;
use crate::problem::one_line;
use crate::{records, store};

/// Somebody else was faster, or the writer saw something that is no more.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct Lost {
    /// Which scope.
    pub scope: Scope,
    /// The revision that the writer saw.
    pub expected: u64,
    /// The newest one; `None` for a scope without a profile.
    pub winner: Option<Box<Revision>>,
}

impl Lost {
    fn sentence(&self) -> String {
        let Self {
            scope, expected, ..
        } = self;
        let Some(winner) = &self.winner else {
            return format!("{scope} has no revision {expected}: it has no profile");
        };
        let at = rfc3339(winner.written_at_unix_ms);
        format!(
            "{scope} is at revision {}, not {expected}: {} wrote it at {at}{}",
            winner.revision,
            winner.author,
            quoted(&winner.message)
        )
    }
}

/// A message behind what it explains.
pub(crate) fn quoted(message: &str) -> String {
    match message {
        "" => String::new(),
        message => format!(" (\"{}\")", message.escape_debug()),
    }
}

/// Why a profile is not read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What is there cannot be read.
    #[error("the profile of {scope} cannot be read")]
    Unreadable {
        /// Whose.
        scope: Scope,
        /// Why.
        #[source]
        source: records::Error,
    },
}

/// Why a profile is not written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PutError {
    /// The request is wrong; all of what is wrong.
    #[error("the profile is refused: {}", one_line(.0))]
    Problems(Vec<Problem>),
    /// Somebody else was faster.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The store cannot be read, or refused the write; nothing was written.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Others wrote all the time, or what this instance knows of the store is out of date; nothing was written.
    #[error("this instance did not catch up with the store in time; nothing was written")]
    Behind,
    /// The answer was lost: it may have been written or not.
    #[error(
        "it may have been written or not; sent again with the same write id it is written once"
    )]
    Uncertain(#[source] store::Error),
}

impl From<store::Error> for PutError {
    fn from(error: store::Error) -> Self {
        Self::Read(ReadError::Store(error))
    }
}
