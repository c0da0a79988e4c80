//! What starts and stops engines: one trait, whatever runs them.

mod error;
mod types;

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _, pending};

pub use error::Error;
pub use types::{Ended, EngineSpec, LinesLost, Network, Protocol, PublishedPort, Running, State};

/// Starts and stops engines.
///
/// Every call ends within a deadline of its own. Dropping a call's future does not undo it, so a caller that does not
/// know what became of it looks with [`Driver::list`]: what a driver runs is told by labels on what runs.
pub trait Driver: Send + Sync + 'static {
    /// `process` or `docker`.
    fn name(&self) -> &'static str;

    /// Starts an engine, once however often it is called.
    ///
    /// One of that name with the same fence is taken as it is if it runs, and made anew if it ended. One with a lower
    /// fence is removed first, without grace.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the specification is not for this driver; [`Error::Fenced`] when one of that name has a
    /// higher fence, running or ended; [`Error::NameTaken`] when something of that name is not ours; anything else that
    /// keeps it from running. What was begun is removed again as far as it can be, which may take a little longer than
    /// [`EngineSpec::start_timeout`].
    fn start(&self, spec: EngineSpec) -> BoxFuture<'_, Result<Running, Error>>;

    /// Asks the engine of this name, of this fence or a lower one, to end, ends it after `grace`, and removes what is
    /// left of it. Fine when it is not there, or has ended.
    ///
    /// # Errors
    /// [`Error::Fenced`] when one of that name has a higher fence: it is left alone. Else when it may still run.
    fn stop(&self, name: &str, fence: u64, grace: Duration) -> BoxFuture<'_, Result<(), Error>>;

    /// Everything that this driver runs for this owner, and what ended and was not stopped since.
    ///
    /// # Errors
    /// When it cannot be known.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Running>, Error>>;

    /// The last lines that an engine wrote, oldest first; at most `lines_max`.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such engine, and what keeps its lines from being read.
    fn logs(&self, name: &str, lines_max: usize) -> BoxFuture<'_, Result<Vec<String>, Error>>;

    /// Engines that ended, as they end, those that were stopped or ended at once too. Goes on through outages of
    /// whatever runs them; what was missed, and what ended before somebody first waited on this, is found with
    /// [`Driver::list`].
    fn ends(&self) -> BoxStream<'static, Ended>;

    /// Lines of engines that were not kept, as that is seen.
    fn lines_lost(&self) -> BoxStream<'static, LinesLost> {
        pending().boxed()
    }

    /// Whether the name of an engine's image means another image by now. Nothing has a name that is no image.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such engine, and what keeps it from being known.
    fn has_drifted(&self, _name: &str) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(std::future::ready(Ok(false)))
    }
}
