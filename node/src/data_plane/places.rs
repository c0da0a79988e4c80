//! How many clients a node takes: what is configured, and what its file descriptors allow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::{Resource, getrlimit};
use tokio::sync::Notify;

/// File descriptors kept from clients, for the node's own listeners, gRPC, HTTP API and logs.
const DESCRIPTORS_RESERVED: u64 = 64;
/// One for the client, and one for the backend that answers it.
const DESCRIPTORS_EACH: usize = 2;

/// The client connections of all cores, counted against limits that may change.
#[derive(Debug)]
pub(super) struct Places {
    descriptors_max: usize,
    taken: AtomicUsize,
    /// Of those, connections that never need a backend.
    alone: AtomicUsize,
    freed: Notify,
}

/// One client connection's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    is_alone: AtomicBool,
}

fn descriptors_for_clients() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let free = limit.saturating_sub(DESCRIPTORS_RESERVED);
    usize::try_from(free).unwrap_or(usize::MAX)
}

/// Client connections for which the process has file descriptors, if each needs a backend.
pub fn connections_ceiling() -> usize {
    (descriptors_for_clients() / DESCRIPTORS_EACH).max(1)
}

impl Places {
    /// As many as the process's file descriptors allow.
    pub(super) fn within_descriptors() -> Self {
        Self::new(descriptors_for_clients())
    }

    fn new(descriptors_max: usize) -> Self {
        Self {
            descriptors_max: descriptors_max.max(DESCRIPTORS_EACH),
            taken: AtomicUsize::new(0),
            alone: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    /// A place among `at_most`, if there is one.
    pub(super) fn take(self: &Arc<Self>, at_most: usize) -> Option<Place> {
        let alone = self.alone.load(Ordering::Relaxed);
        let by_descriptors = self.descriptors_max.saturating_add(alone) / DESCRIPTORS_EACH;
        let one_more = |taken: usize| (taken < at_most.min(by_descriptors)).then_some(taken + 1);
        let taken = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.is_ok().then(|| Place {
            places: Arc::clone(self),
            is_alone: AtomicBool::new(false),
        })
    }

    /// Resolves after a place was given back.
    pub(super) fn freed(&self) -> impl Future<Output = ()> {
        self.freed.notified()
    }
}

impl Place {
    /// Leaves the descriptor that a backend would have taken to other clients.
    pub(super) fn needs_no_backend(&self) {
        if !self.is_alone.swap(true, Ordering::Relaxed) {
            self.places.alone.fetch_add(1, Ordering::Relaxed);
            self.places.freed.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if *self.is_alone.get_mut() {
            self.places.alone.fetch_sub(1, Ordering::Relaxed);
        }
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(places: &Arc<Places>, count: usize) -> Vec<Place> {
        std::iter::from_fn(|| places.take(1_000))
            .take(count)
            .collect()
    }

    #[test]
    fn who_needs_no_backend_takes_one_descriptor_and_not_two() {
        let places = Arc::new(Places::new(10));
        let taken = take(&places, 100);
        assert_eq!(taken.len(), 5);
        taken.iter().for_each(Place::needs_no_backend);
        taken[0].needs_no_backend();
        let more = take(&places, 100);
        assert_eq!(more.len(), 2);
        more.iter().for_each(Place::needs_no_backend);
        assert_eq!(take(&places, 100).len(), 1);
    }

    #[test]
    fn a_place_is_given_back_as_it_was_taken() {
        let places = Arc::new(Places::new(10));
        let taken = take(&places, 5);
        taken[0].needs_no_backend();
        drop(taken);
        assert_eq!(take(&places, 100).len(), 5);
        assert!(places.take(0).is_none());
    }
}
