//! Keeps starts apart where they happen: between the gate and the driver a task may be woken late, and an actor that
//! panicked has forgotten when the last one began.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::{Instant, sleep_until};

/// When the last start began, and how far apart they are now. Cheap to clone; outlives the lives of the actor.
#[derive(Clone, Debug, Default)]
pub struct Pacer {
    last: Arc<Mutex<Option<Instant>>>,
    interval_min: Arc<watch::Sender<Duration>>,
}

/// The turn of one start. The next one's comes no earlier than the interval after this was dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(MutexGuard<'a, Option<Instant>>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0 = Some(Instant::now());
    }
}

impl Pacer {
    /// Starts are so far apart from now on, for those that wait also.
    pub(super) fn set_interval(&self, interval_min: Duration) {
        self.interval_min.send_replace(interval_min);
    }

    /// Waits until the interval after the last start. To be dropped when the driver has been asked, and not before: the
    /// thread may have to wait between the two.
    pub(super) async fn turn(&self) -> Turn<'_> {
        let last = self.last.lock().await;
        let mut interval_min = self.interval_min.subscribe();
        while let Some(before) = *last {
            let at = before + *interval_min.borrow_and_update();
            tokio::select! {
                () = sleep_until(at) => break,
                // The sender lives as long as this does.
                _ = interval_min.changed() => {}
            }
        }
        Turn(last)
    }
}
