//! The only place where errors of the domains become gRPC statuses.

use tonic::Status;

use crate::governance::tokens;
use crate::store;

/// What a store that did not do it means to a caller.
pub(super) fn of_store(error: &store::Error) -> Status {
    let message = error.to_string();
    match error {
        store::Error::Invalid(_) => Status::invalid_argument(message),
        store::Error::Busy { .. } | store::Error::Full => Status::resource_exhausted(message),
        store::Error::Late { .. } => Status::deadline_exceeded(message),
        store::Error::Unavailable { .. } | store::Error::Silent { .. } => {
            Status::unavailable(message)
        }
        store::Error::Compacted { .. }
        | store::Error::Future { .. }
        | store::Error::LeaseNotFound => Status::aborted(message),
        store::Error::Denied { .. } | store::Error::Refused { .. } => Status::internal(message),
    }
}

/// What a refused change of tokens means to a caller.
pub(super) fn of_tokens(error: &tokens::Error) -> Status {
    let message = error.to_string();
    match error {
        tokens::Error::Invalid(_) => Status::invalid_argument(message),
        tokens::Error::Taken(_) => Status::already_exists(message),
        tokens::Error::Unknown { .. } => Status::not_found(message),
        tokens::Error::Full => Status::resource_exhausted(message),
        tokens::Error::Contended => Status::aborted(message),
        tokens::Error::Randomness => Status::internal(message),
        tokens::Error::Store(error) => of_store(error),
    }
}
