//! What happens to values, for those who watch.
//!
//! A watcher reads the log at its own pace and costs nothing but its place: whoever is too slow finds that what comes
//! next is not kept any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;
use weir_core::aside::{Change, ChangeLog, LogLimits, Missed, Scope, What};
use weir_core::cache::UnixMs;

use super::ends::{EndLimits, Ending, Ends};
use super::value::{tags_of, version_of};
use crate::entry::Entry;

/// Watchers of one node.
const WATCHERS_MAX: usize = 256;
/// Why the end of a value is not told.
pub const TOO_MANY_ENDS: &str = "too many values end while they are watched";

/// There are as many watchers as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{WATCHERS_MAX} watch on this node already")]
pub struct TooManyWatchers;

/// What happened to values of this node.
#[derive(Debug)]
pub struct Changes {
    epoch: u64,
    log: Mutex<ChangeLog>,
    last: watch::Sender<u64>,
    watchers: Arc<AtomicUsize>,
    ends: Mutex<Ends>,
}

/// A place among the watchers.
#[derive(Debug)]
pub struct Watcher(Arc<AtomicUsize>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Changes {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            log: Mutex::new(ChangeLog::new(LogLimits::default())),
            last: watch::Sender::new(0),
            watchers: Arc::default(),
            ends: Mutex::new(Ends::new(EndLimits::default())),
        }
    }

    /// Within which numbers of changes compare: a process.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A place to watch from.
    ///
    /// # Errors
    /// [`TooManyWatchers`].
    pub fn watcher(&self) -> Result<Watcher, TooManyWatchers> {
        let before = self.watchers.fetch_add(1, Ordering::Relaxed);
        let watcher = Watcher(Arc::clone(&self.watchers));
        (before < WATCHERS_MAX)
            .then_some(watcher)
            .ok_or(TooManyWatchers)
    }

    /// The number of the newest change; wakes with each.
    pub fn last(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// Changes after that one, at most so many.
    ///
    /// # Errors
    /// [`Missed`].
    pub fn after(&self, seq: u64, most: usize) -> Result<Vec<Arc<Change>>, Missed> {
        self.log.lock().after(seq, most)
    }

    /// This node has purged values.
    pub fn purged(&self, namespace: &str, scope: Scope) {
        self.add(
            namespace,
            What::Purged(scope),
            "",
            String::new(),
            Vec::new(),
        );
    }

    /// From now on the end of a value is told.
    pub fn watch_end(&self, entry: &Entry) {
        let is_told = self.ends.lock().add(entry);
        if !is_told {
            let why = What::Gap(TOO_MANY_ENDS);
            self.add("", why, "", String::new(), Vec::new());
        }
    }

    /// Whether the ends of some values will not be told, of which whoever watched has been told.
    pub fn misses_ends(&self) -> bool {
        self.ends.lock().misses()
    }

    pub(super) fn of_value(&self, entry: &Entry, what: What) {
        let resource = &entry.resource;
        if self.watchers.load(Ordering::Relaxed) > 0 {
            self.watch_end(entry);
        }
        let namespace = resource.key.namespace();
        self.add(
            namespace,
            what,
            resource.path(),
            version_of(entry).to_owned(),
            tags_of(entry),
        );
    }

    /// Values whose end was waited for and has come, unless they live longer by now.
    pub(super) fn ended(&self, now: UnixMs) -> Vec<Ending> {
        let mut ends = self.ends.lock();
        if self.watchers.load(Ordering::Relaxed) == 0 {
            ends.clear();
        }
        ends.come(now)
    }

    pub(super) fn expired(&self, ended: Ending) {
        let (namespace, key) = (ended.resource.key.namespace(), ended.resource.path());
        self.add(namespace, What::Expired, key, ended.version, ended.tags);
    }

    fn add(&self, namespace: &str, what: What, key: &str, version: String, tags: Vec<String>) {
        let change = Change {
            seq: 0,
            namespace: namespace.into(),
            what,
            key: key.into(),
            version,
            tags: tags.into(),
        };
        let mut log = self.log.lock();
        let last = log.add(change);
        // Within the lock: numbers are told in their order.
        self.last.send_replace(last);
    }
}
