//! Keeps starts apart where they happen: between the gate and the driver a task may be woken late, and an actor that
//! panicked has forgotten when the last one began.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep_until};

/// When the last start began. Cheap to clone; outlives the lives of the actor.
#[derive(Clone, Debug, Default)]
pub struct Pacer(Arc<Mutex<Option<Instant>>>);

/// The turn of one start. The next one's comes no earlier than the interval after this was dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(MutexGuard<'a, Option<Instant>>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0 = Some(Instant::now());
    }
}

impl Pacer {
    /// Waits until `interval_min` after the last start. To be dropped when the driver has been asked, and not before:
    /// the thread may have to wait between the two.
    pub(super) async fn turn(&self, interval_min: Duration) -> Turn<'_> {
        let last = self.0.lock().await;
        if let Some(last) = *last {
            sleep_until(last + interval_min).await;
        }
        Turn(last)
    }
}
