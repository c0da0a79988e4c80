//! The history of all nodes together.
//!
//! What a node tells of a slot is added once: each is asked for what follows what it told. So this is as large as one
//! node's history, however many they are.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use weir_core::series::{Ring, slot_at};
use weir_proto::node::v1 as pb;

use super::SAMPLES_TOLD_MAX;
use super::describe::Sums;
use super::own::sums;
use crate::telemetry::history::layout::{self, WIDTH};

/// How far clocks of nodes may be apart, and a node behind with its samples.
const APART_MAX: Duration = Duration::from_secs(5);
/// The least slots that these are.
const APART_SLOTS_MIN: u64 = 2;

/// The history of all nodes together. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Merged(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    interval_ms: u64,
    ring: Ring,
    /// Up to which slot each node has told.
    told: BTreeMap<String, u64>,
}

impl Merged {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            interval_ms: 0,
            ring: Ring::new(WIDTH, 1),
            told: BTreeMap::new(),
        })))
    }

    /// Goes on with slots of this interval; with another one than before it begins anew. Keeps at most as many as one
    /// answer tells.
    pub(super) fn go_on(&self, interval_ms: u64, samples_max: usize) {
        let mut inner = self.0.lock();
        let samples_max = samples_max.min(SAMPLES_TOLD_MAX);
        if inner.interval_ms != interval_ms {
            *inner = Inner {
                interval_ms,
                ring: Ring::new(WIDTH, samples_max),
                told: BTreeMap::new(),
            };
        } else if inner.ring.slots_max() != samples_max {
            inner.ring = inner.ring.resized(samples_max);
        }
    }

    /// What to ask a node for.
    pub(super) fn since(&self, node: &str) -> u64 {
        self.0.lock().told.get(node).copied().unwrap_or(0)
    }

    /// Adds what a node tells, by bucket, at a time by this node's clock.
    ///
    /// # Errors
    /// Why that cannot be, in words.
    pub(super) fn add(
        &self,
        node: &str,
        history: &pb::History,
        unix_ms: u64,
    ) -> Result<(), String> {
        let mut inner = self.0.lock();
        let Inner {
            interval_ms,
            ring,
            told,
        } = &mut *inner;
        check(history, *interval_ms, unix_ms)?;
        let from = told.entry(node.to_owned()).or_default();
        layout::merge(ring, history, *from..history.next_slot);
        *from = history.next_slot.max(*from);
        Ok(())
    }

    /// The slots of which all these nodes have told.
    pub(super) fn slots<'a>(&self, nodes: impl Iterator<Item = &'a String>) -> Range<u64> {
        let inner = self.0.lock();
        let told = nodes.filter_map(|node| inner.told.get(node));
        let end = told.min().copied().unwrap_or(0);
        inner.ring.first_slot().min(end)..end
    }

    /// Forgets nodes that are not among these.
    pub(super) fn keep(&self, is_known: impl Fn(&str) -> bool) {
        self.0.lock().told.retain(|node, _| is_known(node));
    }

    /// Sums of the last slots before `end`.
    pub(super) fn sums(&self, end: u64) -> Sums {
        let inner = self.0.lock();
        sums(&inner.ring, inner.interval_ms, end)
    }

    /// Looks at it, and at its interval in milliseconds.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Ring, u64) -> T) -> T {
        let inner = self.0.lock();
        look(&inner.ring, inner.interval_ms)
    }
}

/// Whether slots of a node are those of this one.
fn check(history: &pb::History, interval_ms: u64, unix_ms: u64) -> Result<(), String> {
    if history.interval_ms != interval_ms {
        let theirs = history.interval_ms;
        return Err(format!(
            "it takes a sample every {theirs} ms, this node every {interval_ms} ms"
        ));
    }
    if history.next_slot == 0 {
        return Err("it has no sample yet".to_owned());
    }
    let apart_ms = u64::try_from(APART_MAX.as_millis()).unwrap_or(u64::MAX);
    let apart = APART_SLOTS_MIN.max(slot_at(apart_ms, interval_ms));
    let now = slot_at(unix_ms, interval_ms);
    let ms = |slots: u64| slots.saturating_mul(interval_ms);
    if history.next_slot > now + apart {
        let ahead = ms(history.next_slot - now);
        return Err(format!("its clock is {ahead} ms ahead of this node's"));
    }
    if history.next_slot + apart < now {
        let behind = ms(now - history.next_slot);
        return Err(format!(
            "its samples end {behind} ms ago by this node's clock"
        ));
    }
    Ok(())
}
