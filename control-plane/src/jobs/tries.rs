//! One change, tried until it is made, refused, or its time is over.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::error::Error;
use crate::store;

/// No try begins later than this after the first.
const LIMIT: Duration = Duration::from_secs(5);
/// After a try whose answer was lost.
const PAUSE: Duration = Duration::from_millis(100);

/// The tries of one change. Each reads first, and finds out by itself whether one before it was made.
#[derive(Debug)]
pub(super) struct Tries {
    until: Instant,
    lost: Option<store::Error>,
}

impl Tries {
    /// None yet.
    pub(super) fn begin() -> Self {
        Self {
            until: Instant::now() + LIMIT,
            lost: None,
        }
    }

    /// What follows from the outcome of a try: it is the result, or another try is needed (`None`), or there is none.
    pub(super) async fn after<T>(
        &mut self,
        outcome: Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        match outcome {
            Ok(Some(done)) => return Ok(Some(done)),
            Ok(None) => {}
            Err(Error::Uncertain(error)) => self.lost = Some(error),
            Err(Error::Store(error)) if error.is_ambiguous() && self.lost.is_some() => {
                self.lost = Some(error);
            }
            Err(error) => return Err(error),
        }
        if Instant::now() >= self.until {
            let lost = self.lost.take().map(Error::Uncertain);
            return Err(lost.unwrap_or(Error::Contended));
        }
        if self.lost.is_some() {
            sleep(PAUSE).await;
        }
        Ok(None)
    }
}
