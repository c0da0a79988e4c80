//! Why a control server told nothing.

use std::io;
use std::time::Duration;

use weir_core::port_cache::Failure;

/// Why a control server cannot be asked at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidServer {
    /// It is no address. What was given is not shown: it may hold a password.
    #[error("the control server's address {0}; expected host:port or http://host:port")]
    Address(&'static str),
    /// It cannot be sent in a header.
    #[error("the {0} for the control server is empty or holds characters that no header can carry")]
    Credential(&'static str),
    /// RFC 7617, section 2.
    #[error(
        "the user for the control server holds a colon, which basic authentication cannot carry"
    )]
    User,
}

/// Why a control server told nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing listens there.
    #[error("no connection to the control server {server}: {source}")]
    Connect {
        /// Its address.
        server: String,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or what came over it was no HTTP.
    #[error("the control server {server} gave no answer: {source}")]
    Broken {
        /// Its address.
        server: String,
        /// Why.
        source: hyper::Error,
    },
    /// The deadline passed.
    #[error("the control server {server} did not answer within {limit:?}")]
    Late {
        /// Its address.
        server: String,
        /// The deadline.
        limit: Duration,
    },
    /// It denies the routes: the credential is missing, wrong, or its role does not name them.
    #[error(
        "the control server {server} denies access; its role must allow `GET /v1/portforward`, \
         `GET /v1/publicip/ip` and `GET,PUT /v1/vpn/status`"
    )]
    AuthRequired {
        /// Its address.
        server: String,
    },
    /// It has no such route.
    #[error("the control server {server} knows no way to {what}")]
    Unsupported {
        /// Its address.
        server: String,
        /// What was wanted.
        what: &'static str,
    },
    /// It failed.
    #[error("the control server {server} answered {path} with status {status}")]
    Status {
        /// Its address.
        server: String,
        /// What was asked.
        path: String,
        /// The status.
        status: u16,
    },
    /// It said too much.
    #[error("the control server's answer to {path} has more than {limit} bytes")]
    TooLarge {
        /// What was asked.
        path: String,
        /// The bound.
        limit: usize,
    },
    /// It said something else than was asked.
    #[error("the control server's answer to {path} is not understood: {source}")]
    Malformed {
        /// What was asked.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
    /// It sends the question somewhere where it is not asked.
    #[error("the control server sends {path} elsewhere: {why}")]
    Redirect {
        /// What was asked.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The tunnel was stopped and did not start again.
    #[error("the tunnel was stopped and could not be started again: {0}")]
    LeftStopped(#[source] Box<Error>),
}

impl Error {
    /// What it means for what is known of the port.
    pub const fn failure(&self) -> Failure {
        match self {
            Self::AuthRequired { .. } => Failure::AuthRequired,
            Self::Unsupported { .. } => Failure::Unsupported,
            _ => Failure::Unreachable,
        }
    }
}
