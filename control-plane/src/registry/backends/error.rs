//! Why a backend did not get what it asked for.

use std::time::Duration;

use weir_core::tuning::Problem;

use crate::keys::InvalidName;
use crate::leases::{ENTRIES_MAX, Refused};
use crate::problem::one_line;
use crate::quota::Exceeded;
use crate::store;

/// Why a backend did not get what it asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What it says of itself is wrong.
    #[error("the backend is refused: {}", one_line(.0))]
    Invalid(Vec<Problem>),
    /// This instance hears as many as it may.
    #[error("this instance hears {0} backends, which is the most")]
    Full(usize),
    /// There are as many as there may be.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// It is not registered (any more): it should register again.
    #[error("the backend is not registered")]
    NotRegistered,
    /// Another token registered it, and its lease lives.
    #[error(
        "backend `{name}` is registered by {holder}: another token has it once it left or fell silent"
    )]
    Taken {
        /// `service/backend`.
        name: String,
        /// Who has it.
        holder: String,
    },
    /// Another registration has its name; a newer process, most likely.
    #[error("another registration has the name of this backend")]
    WrongRegistration,
    /// The key is fought over, or the store is too slow: it should try again.
    #[error("it could not be written within {0:?}")]
    NotWritten(Duration),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The instance ends.
    #[error("the control plane is stopping")]
    Stopped,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full(ENTRIES_MAX),
            Refused::Stopped => Self::Stopped,
            Refused::TooLarge { .. } => Self::Store(store::Error::Refused {
                reason: refused.to_string(),
            }),
        }
    }
}

impl From<InvalidName> for Error {
    fn from(name: InvalidName) -> Self {
        Self::Invalid(vec![name.into()])
    }
}
