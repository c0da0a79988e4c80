//! Containers that Weir did not start but depends on: that of a VPN, whose network engines join.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::driver::Error;

/// Looks at containers of others and restarts them.
pub trait Containers: Send + Sync + 'static {
    /// What has this name now; `None` when nothing has.
    ///
    /// # Errors
    /// When it cannot be known.
    fn look(&self, name: &str) -> BoxFuture<'_, Result<Option<Container>, Error>>;

    /// Restarts it: asks it to end, ends it after `grace`, starts it. It keeps its id, and loses its network for that
    /// time: whatever joined its network has to be made anew.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none; what keeps it from running.
    fn restart(&self, name: &str, grace: Duration) -> BoxFuture<'_, Result<(), Error>>;
}

/// A container as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Another one when it was made anew, even under the same name.
    pub id: String,
    /// When it started last, milliseconds since 1970; 0 when it never did.
    pub started_unix_ms: u64,
    /// Whether it runs.
    pub running: bool,
    /// What its own health check says.
    pub health: Health,
}

/// What a container's own health check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It has no check.
    None,
    /// Not checked yet, or failing within its start period.
    Starting,
    /// The last check passed.
    Healthy,
    /// As many checks failed as it allows.
    Unhealthy,
}
