//! How a node stops: nothing new, what runs may finish, and a deadline.

use tokio::sync::watch;
use tokio::time::Instant;

/// Told once to everyone who listens.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Option<Instant>>);

/// Says it.
#[derive(Debug)]
pub struct Stopper(watch::Sender<Option<Instant>>);

impl Stopper {
    /// A stopper and what listens to it.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), Stop(receiver))
    }

    /// Stop now; whatever still runs at `deadline` is cut.
    pub fn stop(&self, deadline: Instant) {
        self.0.send_replace(Some(deadline));
    }
}

impl Stop {
    /// Waits until the node stops; the answer is the deadline.
    pub async fn requested(&mut self) -> Instant {
        match self.0.wait_for(Option::is_some).await {
            Ok(deadline) => deadline.unwrap_or_else(Instant::now),
            // Whoever could say it is gone: the node is ending.
            Err(_) => Instant::now(),
        }
    }
}
