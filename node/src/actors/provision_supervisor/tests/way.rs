//! The way of a node to the outside, which a test can cut anywhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::pending;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Of each point of a way that is cut somewhere.
const LATENCY: Duration = Duration::from_secs(1);

/// The way from one life of a node to the outside. Everything that changes something passes two points of it: on the
/// way there and on the way back.
#[derive(Clone, Debug)]
pub(super) struct Way(Arc<Points>);

#[derive(Debug)]
struct Points {
    passed: AtomicU64,
    latency: Duration,
    cut_at: u64,
    cut: watch::Sender<bool>,
    outage: Option<Outage>,
}

/// A time in which nobody reaches the store.
#[derive(Debug)]
struct Outage {
    from: u64,
    lasts: Duration,
    began: OnceLock<Instant>,
}

impl Way {
    pub(super) fn open() -> Self {
        Self::new(u64::MAX, Duration::ZERO)
    }

    /// All passes, and takes its time.
    pub(super) fn slow() -> Self {
        Self::new(u64::MAX, LATENCY)
    }

    /// Nothing passes from the point of this number on, and what passes before takes its time: so what a node takes one
    /// after the other ends one after the other.
    pub(super) fn cut_at(point: u64) -> Self {
        Self::new(point, LATENCY)
    }

    /// All passes in its time, but for what is asked of the store from the point of this number on, for so long. What
    /// was asked before and is answered then was done, and nobody hears of it.
    pub(super) fn without_store(from: u64, lasts: Duration) -> Self {
        let outage = Outage {
            from,
            lasts,
            began: OnceLock::new(),
        };
        Self::with(u64::MAX, LATENCY, Some(outage))
    }

    fn new(cut_at: u64, latency: Duration) -> Self {
        Self::with(cut_at, latency, None)
    }

    fn with(cut_at: u64, latency: Duration, outage: Option<Outage>) -> Self {
        Self(Arc::new(Points {
            outage,
            passed: AtomicU64::new(0),
            latency,
            cut_at,
            cut: watch::Sender::new(false),
        }))
    }

    pub(super) fn is_cut(&self) -> bool {
        *self.0.cut.borrow()
    }

    /// Since when nobody reaches the store, whether or not that is over.
    pub(super) fn store_left_at(&self) -> Option<Instant> {
        let outage = self.0.outage.as_ref()?;
        outage.began.get().copied()
    }

    pub(super) fn store_is_away(&self) -> bool {
        let lasts = self.0.outage.as_ref().map(|outage| outage.lasts);
        let until = self
            .store_left_at()
            .zip(lasts)
            .map(|(at, lasts)| at + lasts);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// A call that changes something.
    pub(super) async fn pass<T>(&self, call: impl Future<Output = T>) -> T {
        self.point().await;
        let answer = call.await;
        self.point().await;
        answer
    }

    /// A call of which there are many.
    pub(super) async fn pass_unless_cut<T>(&self, call: impl Future<Output = T>) -> T {
        match self.is_cut() {
            true => pending().await,
            false => call.await,
        }
    }

    pub(super) async fn point(&self) {
        let number = self.0.passed.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(outage) = self
            .0
            .outage
            .as_ref()
            .filter(|outage| outage.from == number)
        {
            outage.began.get_or_init(Instant::now);
        }
        if number == self.0.cut_at {
            self.0.cut.send_replace(true);
        }
        self.pass_unless_cut(sleep(self.0.latency)).await;
    }
}
