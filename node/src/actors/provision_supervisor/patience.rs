//! How long an attempt may take: at the soft limit it is asked to end, at the hard one it is cut.
//!
//! Asked, it stops waiting wherever it waits, stops the engine that it has begun, gives back what it holds and fails,
//! to be tried again. A driver that was told to start an engine is not interrupted: it may not know afterwards what it
//! has left. The hard limit interrupts that, too. An engine that is ready is no longer asked: it is about to serve.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::runner::Failed;

/// When an attempt is asked to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Soft {
    at: Instant,
    limit: Duration,
}

impl Soft {
    /// So long after it began.
    pub(super) fn after(began: Instant, limit: Duration) -> Self {
        let at = began + limit;
        Self { at, limit }
    }

    /// Waits for something until the attempt is asked to end: then that is its outcome.
    pub(super) async fn unless_asked<T>(
        self,
        wait: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, Failed> {
        let waited = timeout_at(self.at, wait).await;
        waited.unwrap_or(Err(Failed::Asked(self.limit)))
    }

    /// Waits for the turn to start. One that has not come by then is given to others.
    pub(super) async fn turn<T>(
        self,
        turn: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, Failed> {
        match timeout_at(self.at, turn).await {
            Ok(turn) if Instant::now() < self.at => turn,
            Ok(Err(failed)) => Err(failed),
            Ok(Ok(_)) | Err(_) => Err(Failed::TooLate(self.limit)),
        }
    }
}
