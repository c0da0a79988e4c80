//! Whether a response may be stored (RFC 9111 section 3), and what is kept of it.

use thiserror::Error;

use super::policy::Policy;
use super::stored::{Exchange, Stored};

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum NotStored {
    /// Neither GET nor HEAD.
    #[error("method")]
    Method,
    /// HEAD brings no body to store.
    #[error("head")]
    Head,
    /// A status that is not stored.
    #[error("status")]
    Status,
    /// Part of a representation.
    #[error("partial")]
    Partial,
    /// `no-store` in the response.
    #[error("no-store")]
    NoStore,
    /// `no-store` in the request.
    #[error("request-no-store")]
    RequestNoStore,
    /// `private` in the response.
    #[error("private")]
    Private,
    /// `Authorization` in the request and no leave to share in the response (RFC 9111 section 3.5).
    #[error("authorization")]
    Authorization,
    /// `Set-Cookie` in the response.
    #[error("set-cookie")]
    SetCookie,
    /// `Cookie` in the request and nothing in the response that says it is for everybody.
    #[error("cookie")]
    Cookie,
    /// `Vary: *`.
    #[error("vary-star")]
    VaryStar,
    /// More names, or longer values, in `Vary` than are kept.
    #[error("vary-limit")]
    VaryLimit,
    /// Neither an explicit lifetime nor a heuristic one.
    #[error("no-lifetime")]
    NoLifetime,
    /// Stale when it came, without validator or leave to be served stale.
    #[error("never-usable")]
    NeverUsable,
    /// The body is longer than what is stored.
    #[error("too-large")]
    TooLarge,
    /// A range was asked, or the request had a body.
    #[error("request")]
    Request,
}

/// What is to be kept of the response.
///
/// # Errors
/// [`NotStored`], the first reason of those that hold.
pub fn store(exchange: &Exchange<'_>, policy: &Policy) -> Result<Stored, NotStored> {
    let _ = (exchange, policy);
    Err(NotStored::NoLifetime)
}
