//! What happens on this node, for whoever wants to know: typed events in a bounded ring.
//!
//! Any part records through its clone of [`Events`] and never waits: an event goes into a bounded queue, and whoever
//! records or reads next puts what is there into the ring. What does not fit is counted as missed. What happens
//! thousands of times a second is counted where it happens and recorded with its number.

pub mod backends;
mod cursor;
mod describe;
mod follow;
mod kind;
pub mod redis;
mod ring;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, Notify, mpsc};

pub use self::cursor::{BadCursor, BadKind, Cursor, Wanted};
pub use self::describe::{Asked, BadRequest};
pub use self::kind::{Kind, Limit, Severity};
use self::ring::Ring;
pub use self::ring::{Attribute, DEBUG_KEPT_MAX, Event, KEPT_MAX, Page, TOGETHER_MS};
use crate::ports::clock::WallClock;

/// Events on their way to the ring; when full, one is lost and counted.
const WAITING_MAX: usize = 4_096;
/// Longest value of an attribute, in bytes; what is longer is cut.
const VALUE_BYTES_MAX: usize = 500;

/// Takes events and gives them to whoever reads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: String,
    epoch: String,
    clock: WallClock,
    queue: mpsc::Sender<Event>,
    lost: AtomicU64,
    kept: Mutex<Kept>,
    news: Notify,
    by_kind: Vec<AtomicU64>,
    by_limit: Vec<AtomicU64>,
}

#[derive(Debug)]
struct Kept {
    queue: mpsc::Receiver<Event>,
    ring: Ring,
}

impl Events {
    /// No events yet, of a process that `epoch` tells from others of this node.
    pub fn new(node: &str, epoch: String, clock: WallClock) -> Self {
        let (sender, queue) = mpsc::channel(WAITING_MAX);
        let counters = |count| {
            std::iter::repeat_with(AtomicU64::default)
                .take(count)
                .collect()
        };
        Self(Arc::new(Inner {
            node: node.to_owned(),
            epoch,
            clock,
            queue: sender,
            lost: AtomicU64::new(0),
            kept: Mutex::new(Kept {
                queue,
                ring: Ring::new(),
            }),
            news: Notify::new(),
            by_kind: counters(Kind::ALL.len()),
            by_limit: counters(Limit::ALL.len()),
        }))
    }

    /// The node that the events are of.
    pub fn node(&self) -> &str {
        &self.0.node
    }

    /// Of this process: sequences of others do not compare.
    pub fn epoch(&self) -> &str {
        &self.0.epoch
    }

    /// Something happened once. Never waits.
    pub fn record(
        &self,
        kind: Kind,
        subject: &str,
        attributes: impl IntoIterator<Item = Attribute>,
    ) {
        self.record_as(kind.severity(), kind, subject, attributes, 1);
    }

    /// Something happened once that may be of that kind and nothing be wrong. Never waits.
    pub fn record_routine(
        &self,
        kind: Kind,
        subject: &str,
        attributes: impl IntoIterator<Item = Attribute>,
    ) {
        let severity = kind.severity().min(Severity::Info);
        self.record_as(severity, kind, subject, attributes, 1);
    }

    /// Something happened so many times; nothing is recorded for 0. Never waits.
    pub fn record_many(
        &self,
        kind: Kind,
        subject: &str,
        attributes: impl IntoIterator<Item = Attribute>,
        count: u64,
    ) {
        if count > 0 {
            self.record_as(kind.severity(), kind, subject, attributes, count);
        }
    }

    fn record_as(
        &self,
        severity: Severity,
        kind: Kind,
        subject: &str,
        attributes: impl IntoIterator<Item = Attribute>,
        count: u64,
    ) {
        let is_told = |(_, value): &Attribute| !value.is_empty();
        let attributes: Vec<Attribute> = attributes.into_iter().filter(is_told).map(cut).collect();
        debug_assert!(
            attributes
                .iter()
                .all(|(name, _)| kind.attributes().contains(name)),
            "{kind} has no such attribute: {attributes:?}"
        );
        let inner = &*self.0;
        inner.by_kind[kind as usize].fetch_add(count, Ordering::Relaxed);
        let event = Event {
            seq: 0,
            at_unix_ms: inner.clock.unix_ms_now(),
            kind,
            severity,
            subject: subject.to_owned(),
            attributes,
            count,
        };
        if inner.queue.try_send(event).is_err() {
            inner.lost.fetch_add(1, Ordering::Relaxed);
        }
        // Whoever holds it now finds the event, or the next one does.
        if let Ok(mut kept) = inner.kept.try_lock() {
            inner.put(&mut kept);
        }
        inner.news.notify_waiters();
    }

    /// The time that an event gets now, in ms since 1970.
    pub fn unix_ms_now(&self) -> u64 {
        self.0.clock.unix_ms_now()
    }

    /// A start of this service ran into a limit; `job` is empty when there is none yet.
    pub fn limited(&self, limit: Limit, service: &str, job: &str, message: String) {
        self.0.by_limit[limit as usize].fetch_add(1, Ordering::Relaxed);
        let attributes = [
            ("limit", limit.as_str().to_owned()),
            ("job", job.to_owned()),
            ("message", message),
        ];
        self.record(Kind::ProvisionLimited, service, attributes);
    }

    /// How often each kind happened since the process began.
    pub fn counts(&self) -> impl Iterator<Item = (Kind, u64)> {
        let counts = self
            .0
            .by_kind
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        Kind::ALL.iter().copied().zip(counts)
    }

    /// How often each limit was hit since the process began.
    pub fn limits(&self) -> impl Iterator<Item = (Limit, u64)> {
        let counts = self
            .0
            .by_limit
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        Limit::ALL.iter().copied().zip(counts)
    }

    /// What happened since then, and what of it is wanted; the oldest first, at most so many.
    pub async fn read(&self, since: Option<&Cursor>, wanted: &Wanted, events_max: usize) -> Page {
        let mut kept = self.0.kept.lock().await;
        self.0.put(&mut kept);
        // Of another process everything is new.
        let since = since.filter(|since| since.epoch == self.0.epoch);
        kept.ring.read(
            since.map(|since| since.seq),
            |kind| wanted.has(kind),
            events_max,
        )
    }

    /// Where somebody is who has read up to there.
    pub fn cursor(&self, last_seq: u64) -> Cursor {
        Cursor {
            epoch: self.0.epoch.clone(),
            seq: last_seq,
        }
    }
}

impl Inner {
    /// Puts into the ring what is on its way there.
    fn put(&self, kept: &mut Kept) {
        while let Ok(event) = kept.queue.try_recv() {
            kept.ring.take(event);
        }
        kept.ring.lose(self.lost.swap(0, Ordering::Relaxed));
        kept.ring.close(self.clock.unix_ms_now());
    }
}

fn cut((name, mut value): Attribute) -> Attribute {
    let mut end = value.len().min(VALUE_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.truncate(end);
    (name, value)
}

#[cfg(test)]
mod tests;
