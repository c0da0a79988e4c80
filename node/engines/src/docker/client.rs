//! One call to Docker: its deadline, and what became of it.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bollard::errors::Error as ApiError;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::driver::Error;

/// The client library's own deadline is a whole number of seconds and covers heads only; ours is always shorter.
const LIBRARY_TIMEOUT_S: u64 = 24 * 60 * 60;

/// How to reach Docker. Every call opens a connection of its own, so an engine that was away is simply there again.
pub(super) struct Client {
    socket: PathBuf,
    negotiated: Mutex<Option<bollard::Docker>>,
}

/// Why a call gave nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// Docker answered with this status.
    Said { status: u16, message: String },
    /// Docker did not answer.
    Silent(Error),
}

impl Failure {
    /// For callers to whom no status means anything special.
    pub(super) fn refused(self, operation: &'static str) -> Error {
        match self {
            Self::Said { message, .. } => Error::Refused { operation, message },
            Self::Silent(error) => error,
        }
    }
}

impl Client {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            negotiated: Mutex::new(None),
        }
    }

    /// Asks, and gives up after `limit`, whatever Docker does.
    pub(super) async fn call<T, Asked>(
        &self,
        operation: &'static str,
        limit: Duration,
        ask: impl FnOnce(bollard::Docker) -> Asked,
    ) -> Result<T, Failure>
    where
        Asked: Future<Output = Result<T, ApiError>>,
    {
        let asked = async { ask(self.negotiated().await?).await };
        let failure = match timeout(limit, asked).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => self.failure(operation, error),
            Err(_) => Failure::Silent(Error::Late { operation, limit }),
        };
        if let Failure::Silent(_) = failure {
            // Whoever answers next may be another version.
            *self.negotiated.lock().await = None;
        }
        Err(failure)
    }

    /// For what has no single answer.
    pub(super) async fn connected(&self, limit: Duration) -> Result<bollard::Docker, Error> {
        const OPERATION: &str = "connecting";
        let docker = self.call(OPERATION, limit, async |docker| Ok(docker)).await;
        docker.map_err(|failure| failure.refused(OPERATION))
    }

    /// A client that speaks a version of the API that Docker knows: old engines know no new one, and new engines
    /// refuse old ones.
    async fn negotiated(&self) -> Result<bollard::Docker, ApiError> {
        let mut negotiated = self.negotiated.lock().await;
        if let Some(docker) = &*negotiated {
            return Ok(docker.clone());
        }
        let docker = bollard::Docker::connect_with_unix(
            &self.socket.to_string_lossy(),
            LIBRARY_TIMEOUT_S,
            bollard::API_DEFAULT_VERSION,
        )?;
        let docker = docker.negotiate_version().await?;
        *negotiated = Some(docker.clone());
        Ok(docker)
    }

    fn failure(&self, operation: &'static str, error: ApiError) -> Failure {
        match error {
            ApiError::DockerResponseServerError {
                status_code: status,
                message,
            } => Failure::Said { status, message },
            ApiError::DockerStreamError { error: message } => {
                Failure::Silent(Error::Refused { operation, message })
            }
            ApiError::JsonDataError { message, .. } => Failure::Silent(Error::Refused {
                operation,
                message: format!("an answer that cannot be read: {message}"),
            }),
            other => Failure::Silent(Error::Unreachable {
                what: format!("Docker at {}", self.socket.display()),
                source: io_error(other),
            }),
        }
    }
}

/// The system's error within another one, so that its kind is kept.
fn io_error(error: ApiError) -> io::Error {
    if matches!(error, ApiError::SocketNotFoundError(_)) {
        return io::ErrorKind::NotFound.into();
    }
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(at) = cause {
        if let Some(io) = at.downcast_ref::<io::Error>() {
            return io::Error::new(io.kind(), io.to_string());
        }
        cause = at.source();
    }
    io::Error::other(error.to_string())
}
