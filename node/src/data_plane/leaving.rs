//! Whether the clients of one core shall leave: while the node drains, and once it stops.
//!
//! The order comes from another thread; a task of the core passes it on. So requests read a plain cell,
//! and connections, which only wait for it here, share no lock with other cores.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, timeout_at};

use super::stop::Stop;

/// One core's own; changed between two polls of its tasks, never within one.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    since: Cell<Option<Instant>>,
    changes: Cell<u64>,
    changed: Notify,
}

impl Leaving {
    /// Since when clients shall leave, if they shall.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since.get()
    }

    /// Grows with each change. Costs nothing, unlike a look at [`Leaving::changed`].
    pub(super) fn changes(&self) -> u64 {
        self.changes.get()
    }

    /// Ready at the next change.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Passes on what `stop` says, to the end of the core.
    pub(super) async fn follow(&self, mut stop: Stop) {
        loop {
            self.set(stop.is_leaving());
            if !stop.changed().await {
                // Whoever could take it back is gone: the node is ending.
                return self.set(true);
            }
        }
    }

    fn set(&self, leaving: bool) {
        if leaving == self.since.get().is_some() {
            return;
        }
        self.since.set(leaving.then(Instant::now));
        self.changes.set(self.changes.get() + 1);
        self.changed.notify_waiters();
    }

    /// Waits until clients have had `wait` to leave, counted from `quiet_since` at the earliest.
    pub(super) async fn lasts(&self, quiet_since: Instant, wait: Duration) {
        loop {
            let changed = self.changed();
            match self.since() {
                Some(since) => {
                    let until = since.max(quiet_since) + wait;
                    if timeout_at(until, changed).await.is_err() {
                        return;
                    }
                }
                None => changed.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stop::Stopper;
    use super::*;

    const WAIT: Duration = Duration::from_millis(500);

    /// Runs `script` while a task passes the stopper's word on to what it is given.
    async fn with_leaving(script: impl AsyncFnOnce(&Stopper, &Leaving)) {
        let (stopper, stop) = Stopper::new();
        let leaving = Leaving::default();
        tokio::select! {
            biased;
            () = leaving.follow(stop) => panic!("the stopper is there"),
            () = script(&stopper, &leaving) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_is_taken_back_and_a_stop_is_not() {
        with_leaving(async |stopper, leaving| {
            assert_eq!(leaving.since(), None);
            let changed = leaving.changed();
            stopper.drain(true);
            changed.await;
            assert_eq!(leaving.since(), Some(Instant::now()));
            let changed = leaving.changed();
            stopper.drain(false);
            changed.await;
            assert_eq!((leaving.since(), leaving.changes()), (None, 2));
            let changed = leaving.changed();
            stopper.stop(Instant::now() + WAIT);
            changed.await;
            stopper.drain(false);
            tokio::task::yield_now().await;
            assert!(leaving.since().is_some());
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_begins_anew_with_each_order_and_not_before_the_client_was_quiet() {
        with_leaving(async |stopper, leaving| {
            let start = Instant::now();
            let wait = leaving.lasts(start, WAIT);
            let orders = async {
                stopper.drain(true);
                tokio::time::sleep(WAIT / 2).await;
                stopper.drain(false);
                tokio::time::sleep(WAIT * 2).await;
                stopper.drain(true);
            };
            tokio::join!(wait, orders);
            assert_eq!(start.elapsed(), WAIT / 2 + WAIT * 3);
            let later = Instant::now() + WAIT;
            leaving.lasts(later, WAIT).await;
            assert_eq!(Instant::now(), later + WAIT);
        })
        .await;
    }
}
