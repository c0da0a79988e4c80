//! How a node stops: nothing new, what runs may finish, and a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tokio::time::Instant;

/// Told once to everyone who listens.
#[derive(Clone, Debug)]
pub struct Stop {
    deadline: watch::Receiver<Option<Instant>>,
    requested: Arc<AtomicBool>,
}

/// Says it.
#[derive(Debug)]
pub struct Stopper {
    deadline: watch::Sender<Option<Instant>>,
    requested: Arc<AtomicBool>,
}

impl Stopper {
    /// A stopper and what listens to it.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(None);
        let requested = Arc::new(AtomicBool::new(false));
        let stop = Stop {
            deadline: receiver,
            requested: Arc::clone(&requested),
        };
        (
            Self {
                deadline: sender,
                requested,
            },
            stop,
        )
    }

    /// Stop now; whatever still runs at `deadline` is cut.
    pub fn stop(&self, deadline: Instant) {
        self.requested.store(true, Ordering::Release);
        self.deadline.send_replace(Some(deadline));
    }
}

impl Stop {
    /// True once the node was told to stop. Costs one load; [`Stop::requested`] wakes who waits.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    /// Waits until the node stops; the answer is the deadline.
    pub async fn requested(&mut self) -> Instant {
        match self.deadline.wait_for(Option::is_some).await {
            Ok(deadline) => deadline.unwrap_or_else(Instant::now),
            // Whoever could say it is gone: the node is ending.
            Err(_) => Instant::now(),
        }
    }
}
