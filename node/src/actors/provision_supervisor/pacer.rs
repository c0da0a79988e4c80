//! Keeps starts apart where they happen: between the gate and the driver a task may be woken late, and an actor that
//! panicked has forgotten when the last one began.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// When the last start began. Cheap to clone; outlives the lives of the actor.
#[derive(Clone, Debug, Default)]
pub struct Pacer(Arc<Mutex<Option<Instant>>>);

impl Pacer {
    /// Waits until `interval_min` after the last start. What is started has to begin before anything else is awaited.
    pub(super) async fn turn(&self, interval_min: Duration) {
        let mut last = self.0.lock().await;
        if let Some(last) = *last {
            sleep_until(last + interval_min).await;
        }
        *last = Some(Instant::now());
    }
}
