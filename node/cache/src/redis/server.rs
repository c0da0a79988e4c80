//! Which Redis answers.

use redis::{Cmd, Value};
use tokio::time::Instant;

use super::failure::{Failure, FailureKind};
use super::link::Lane;

/// One run of a Redis server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// `None` where it is not told.
    run_id: Option<String>,
}

impl Server {
    /// Whether it holds everything that the other one was told.
    pub(super) fn is_surely(&self, other: &Self) -> bool {
        self.run_id.is_some() && self.run_id == other.run_id
    }
}

/// A section of what Redis tells of itself.
async fn info(lane: &Lane, section: &str, deadline: Instant) -> Result<String, Failure> {
    let mut command = Cmd::new();
    command.arg("INFO").arg(section);
    match lane.ask(&command, deadline).await? {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Value::VerbatimString { text, .. } => Ok(text),
        _ => Err(Failure::garbled("INFO")),
    }
}

/// The bytes of memory that Redis uses, by whomever; `None` where that is not told.
pub(super) async fn used_bytes(lane: &Lane, deadline: Instant) -> Result<Option<u64>, Failure> {
    let text = info(lane, "memory", deadline).await?;
    let used = text
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    Ok(used.and_then(|used| used.trim().parse().ok()))
}

/// Asks who answers.
pub(super) async fn identify(lane: &Lane, deadline: Instant) -> Result<Server, Failure> {
    let text = match info(lane, "server", deadline).await {
        Ok(text) => text,
        // Users of caches are often not allowed to ask this; who may do nothing at all is told by the next command.
        Err(failure) if matches!(failure.kind, FailureKind::Refused | FailureKind::Denied) => {
            String::new()
        }
        Err(failure) => return Err(failure),
    };
    let run_id = text
        .lines()
        .find_map(|line| line.strip_prefix("run_id:"))
        .map(|id| id.trim().to_owned());
    Ok(Server { run_id })
}
