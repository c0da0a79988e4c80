//! Who still wants what is fetched.
//!
//! A fetch goes on when its clients have left, because others will want the same. How many do so is bounded: whoever
//! asks and leaves at once does not make a node fetch without end. What the node itself refreshes has places of its
//! own, which nobody who leaves can take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Fetches that go on for nobody, on one node.
pub const UNWANTED_MAX: usize = 256;

/// Refreshes of what is kept that nobody waits for, on one node.
pub const REFRESHES_MAX: usize = 256;

/// How many want one fetch.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    count: AtomicUsize,
    lost: Notify,
}

impl Interest {
    /// One more who wants it.
    pub(crate) fn one(self: &Arc<Self>) -> Interested {
        self.count.fetch_add(1, Ordering::Relaxed);
        Interested(Arc::clone(self))
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Waits until nobody wants it.
    pub(crate) async fn lost(&self) {
        while !self.is_lost() {
            self.lost.notified().await;
        }
    }
}

/// One who wants what is fetched, until dropped.
#[derive(Debug)]
pub struct Interested(Arc<Interest>);

impl Drop for Interested {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.lost.notify_one();
        }
    }
}

/// Places for so many fetches that nobody waits for.
#[derive(Debug)]
pub(crate) struct Places {
    taken: AtomicUsize,
    most: usize,
}

/// The place of a fetch that goes on for nobody, or of a refresh, until dropped.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Places {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            most,
        })
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn take(self: &Arc<Self>) -> Option<Place> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        (before < self.most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
