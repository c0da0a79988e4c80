//! What nodes ask: the origin and Redis, as models.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::history::Recorder;
use super::serving::Serving;
use super::{KEYS, Of};

/// All that is not a node; all hosts share one thread.
#[derive(Clone, Default)]
pub(crate) struct World(Rc<State>);

#[derive(Default)]
struct State {
    versions: Cell<[u64; KEYS]>,
    redis: RefCell<BTreeMap<Vec<u8>, Bytes>>,
    without_origin: RefCell<BTreeSet<&'static str>>,
    without_redis: RefCell<BTreeSet<&'static str>>,
    living: RefCell<BTreeMap<&'static str, Rc<Serving>>>,
}

/// What nodes ask beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// The origin.
    Origin,
    /// Redis.
    Redis,
}

impl World {
    /// What the origin has of each key.
    pub(super) fn versions(&self) -> [u64; KEYS] {
        self.0.versions.get()
    }

    /// The origin has something else of some keys.
    pub(super) fn changes(&self, of: Of) {
        let mut versions = self.versions();
        for (key, version) in versions.iter_mut().enumerate() {
            *version += u64::from(of.concerns(key));
        }
        self.0.versions.set(versions);
    }

    /// Whether a node reaches it.
    pub(super) fn has(&self, node: &'static str, upstream: Upstream) -> bool {
        !self.without(upstream).borrow().contains(node)
    }

    /// A node reaches it from now on, or not.
    pub(super) fn set(&self, node: &'static str, upstream: Upstream, has: bool) {
        let mut without = self.without(upstream).borrow_mut();
        match has {
            true => without.remove(node),
            false => without.insert(node),
        };
    }

    fn without(&self, upstream: Upstream) -> &RefCell<BTreeSet<&'static str>> {
        match upstream {
            Upstream::Origin => &self.0.without_origin,
            Upstream::Redis => &self.0.without_redis,
        }
    }

    /// What Redis has.
    pub(super) fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.redis.borrow().get(key).cloned()
    }

    /// Redis takes what it is given, in whatever order it comes.
    pub(super) fn put(&self, key: Vec<u8>, value: Bytes) {
        self.0.redis.borrow_mut().insert(key, value);
    }

    /// A node serves.
    pub(super) fn begins(&self, node: &'static str, serving: Rc<Serving>) {
        self.0.living.borrow_mut().insert(node, serving);
    }

    /// A node crashed.
    pub(super) fn crashed(&self, node: &'static str) {
        self.0.living.borrow_mut().remove(node);
    }

    /// Records what every node that serves says of what is in force there.
    pub(crate) fn look(&self, recorder: &Recorder) {
        for (node, serving) in self.0.living.borrow().iter() {
            recorder.ends(node, serving.in_force());
        }
    }
}

/// The way to something and back, each.
pub(super) fn latency(random: &mut fastrand::Rng, ms_max: u64) -> Duration {
    Duration::from_millis(random.u64(1..=ms_max))
}
