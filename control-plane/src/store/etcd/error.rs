//! etcd's errors, as a store's.
//!
//! etcd tells some errors apart only by their text.

use std::error::Error as _;

use etcd_client::Error as Client;
use weir_core::error::chain;

use crate::store::{Error, Revision};

/// `tonic::Code` by number: the crate is not named elsewhere here.
mod code {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// An error of a call that names no revision.
pub(super) fn of(failed: Client) -> Error {
    of_revision(failed, None)
}

/// An error of a call that may name a revision.
pub(super) fn of_revision(failed: Client, asked: Option<Revision>) -> Error {
    let Client::GRpcStatus(status) = &failed else {
        return unavailable(&failed);
    };
    let text = status.message();
    let reason = || text.to_owned();
    let asked = asked.unwrap_or_default();
    if text.contains("revision has been compacted") {
        let compacted = None;
        return Error::Compacted { asked, compacted };
    }
    if text.contains("is a future revision") {
        let current = None;
        return Error::Future { asked, current };
    }
    if text.contains("database space exceeded") {
        return Error::Full;
    }
    match i32::from(status.code()) {
        code::NOT_FOUND if text.contains("lease not found") => Error::LeaseNotFound,
        code::INVALID_ARGUMENT | code::RESOURCE_EXHAUSTED => Error::Refused { reason: reason() },
        code::PERMISSION_DENIED | code::UNAUTHENTICATED => Error::Denied { reason: reason() },
        // The client's own deadline, and etcd's: both leave open what became of the request.
        code::CANCELLED | code::DEADLINE_EXCEEDED => Error::Unavailable {
            reason: format!("no answer in time ({text})"),
        },
        _ => unavailable(&failed),
    }
}

/// An error of a keep-alive: the client makes one of its own of a lease that is gone.
pub(super) fn of_keep_alive(failed: Client) -> Error {
    match failed {
        Client::LeaseKeepAliveError(text) if text.contains("not found") => Error::LeaseNotFound,
        failed => of(failed),
    }
}

/// An answer without a part that every answer has.
pub(super) fn incomplete(part: &str) -> Error {
    Error::Refused {
        reason: format!("its answer has no {part}"),
    }
}

fn unavailable(failed: &Client) -> Error {
    // A status shows itself with its causes as the debugger would.
    let reason = match failed {
        Client::GRpcStatus(status) => match status.source() {
            Some(cause) => chain(cause),
            None => status.message().to_owned(),
        },
        failed => chain(failed),
    };
    Error::Unavailable { reason }
}
