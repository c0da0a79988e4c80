//! How a node lets its clients go: until it is told otherwise, or for good and by a deadline.

use tokio::sync::watch;
use tokio::time::Instant;

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    draining: bool,
    stop_by: Option<Instant>,
}

/// Told to everyone who listens.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Told>);

/// Says it.
#[derive(Debug)]
pub struct Stopper(watch::Sender<Told>);

impl Stopper {
    /// A stopper and what listens to it.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(Told::default());
        (Self(sender), Stop(receiver))
    }

    /// Clients shall leave after what runs, or no longer. A stop stays a stop.
    pub fn drain(&self, draining: bool) {
        self.0.send_modify(|told| told.draining = draining);
    }

    /// Stop now; whatever still runs at `deadline` is cut.
    pub fn stop(&self, deadline: Instant) {
        self.0.send_modify(|told| told.stop_by = Some(deadline));
    }
}

impl Stop {
    /// Waits until the node stops; the answer is the deadline.
    pub async fn requested(&mut self) -> Instant {
        match self.0.wait_for(|told| told.stop_by.is_some()).await {
            Ok(told) => told.stop_by.unwrap_or_else(Instant::now),
            // Whoever could say it is gone: the node is ending.
            Err(_) => Instant::now(),
        }
    }

    /// Whether clients shall leave: the node drains or stops.
    pub(crate) fn is_leaving(&mut self) -> bool {
        let told = self.0.borrow_and_update();
        told.draining || told.stop_by.is_some()
    }

    /// The same for whoever only looks once: what is new stays new.
    pub(crate) fn leaves(&self) -> bool {
        let told = self.0.borrow();
        told.draining || told.stop_by.is_some()
    }

    /// When the node ends, if it stops.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.borrow().stop_by
    }

    /// Waits for something new since the last look; false when nobody is left who could say it.
    pub(crate) async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}
