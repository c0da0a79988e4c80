//! What goes wrong between here and Redis.

use redis::{ErrorKind, RedisError, ServerError};

use super::settings::RedisUrl;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// No answer in time.
    Late,
    /// No connection.
    Lost,
    /// These credentials may not do this.
    Denied,
    /// Redis does not do it.
    Refused,
    /// The answer makes no sense.
    Garbled,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// Of what kind.
    pub kind: FailureKind,
    text: String,
}

/// Codes of Redis that speak of who asks.
const DENIALS: [&str; 4] = ["NOAUTH", "WRONGPASS", "NOPERM", "DENIED"];

impl Failure {
    /// One of that kind, in words without secrets.
    pub fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text }
    }

    pub(super) fn garbled(command: &str) -> Self {
        Self::new(
            FailureKind::Garbled,
            format!("the answer to {command} makes no sense"),
        )
    }

    /// What the client tells.
    pub(super) fn of_client(error: &RedisError, url: &RedisUrl) -> Self {
        let kind = match error.kind() {
            ErrorKind::AuthenticationFailed => {
                return Self::new(FailureKind::Denied, "it refuses the user or the password");
            }
            _ if error.code().is_some_and(is_denial) => FailureKind::Denied,
            _ if error.is_timeout() => FailureKind::Late,
            ErrorKind::Io => FailureKind::Lost,
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => FailureKind::Garbled,
            _ => FailureKind::Refused,
        };
        Self::new(kind, url.redact(&error.to_string()))
    }

    /// What Redis answers instead of a result.
    pub(super) fn of_server(error: &ServerError, url: &RedisUrl) -> Self {
        if error.code() == "NOAUTH" {
            return Self::new(FailureKind::Denied, "it wants a password");
        }
        let kind = match is_denial(error.code()) {
            true => FailureKind::Denied,
            false => FailureKind::Refused,
        };
        let details = error.details().unwrap_or_default();
        Self::new(kind, url.redact(&format!("{} {details}", error.code())))
    }
}

fn is_denial(code: &str) -> bool {
    DENIALS.contains(&code)
}
