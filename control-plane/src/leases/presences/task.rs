//! The owner at work.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use weir_core::backoff::Backoff;

use super::batch::Batch;
use super::entry::{Entry, Guard, Wish};
use super::{AUDIT_EVERY, Change, Command, ENTRIES_MAX, GATHER_WINDOW, Refused, Settlement};
use crate::leases::{Buckets, Leases};
use crate::store::{Error, Revision, Store, TxnOutcome};
use crate::wait::{answer, sleep_until};

const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

pub(super) type Answer = (Batch, Result<TxnOutcome, Error>);

pub(super) struct Task {
    pub(super) store: Arc<dyn Store>,
    pub(super) buckets: Arc<Buckets>,
    pub(super) leases: Leases,
    pub(super) entries: BTreeMap<Bytes, Entry>,
    /// Each key at most once.
    pub(super) queue: VecDeque<Bytes>,
    /// Keys whose bucket has no lease yet.
    pub(super) parked: Vec<Bytes>,
    /// Keys that the audit has not looked at yet.
    pub(super) unaudited: VecDeque<Bytes>,
    pub(super) in_flight: Option<BoxFuture<'static, Answer>>,
    /// When the next transaction is sent.
    pub(super) next_at: Option<Instant>,
    pub(super) audit_at: Instant,
    pub(super) conflicts: u32,
    pub(super) is_failing: bool,
    pub(super) backoff: Backoff,
    pub(super) random: fastrand::Rng,
    pub(super) serial: u64,
}

impl Task {
    pub(super) fn new(store: Arc<dyn Store>, buckets: Arc<Buckets>, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            store,
            leases: buckets.leases().borrow().clone(),
            buckets,
            entries: BTreeMap::new(),
            queue: VecDeque::new(),
            parked: Vec::new(),
            unaudited: VecDeque::new(),
            in_flight: None,
            next_at: None,
            audit_at: Instant::now() + audit_in(&mut random),
            conflicts: 0,
            is_failing: false,
            backoff: Backoff::new(RETRY_MIN..=RETRY_MAX, random.fork()),
            random,
            serial: 0,
        }
    }

    /// Runs until the handle is dropped.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>, audit: Arc<Notify>) {
        let mut leases = self.buckets.leases();
        loop {
            tokio::select! {
                biased;
                (batch, outcome) = answer(&mut self.in_flight) => self.settle(batch, outcome),
                () = sleep_until(self.next_at), if self.in_flight.is_none() => self.send(),
                Ok(()) = leases.changed() => {
                    let leases = leases.borrow_and_update().clone();
                    self.change_leases(leases);
                }
                () = tokio::time::sleep_until(self.audit_at) => self.audit(),
                () = audit.notified() => self.audit(),
                command = commands.recv() => match command {
                    Some(Command::Change(change)) => self.take_in(change),
                    Some(Command::Look { key, at }) => self.look(key, at),
                    None => return,
                },
            }
        }
    }

    fn take_in(&mut self, change: Change) {
        let known = self.entries.get(&change.key);
        if known.is_none() && self.entries.len() >= ENTRIES_MAX {
            let _ = change.accepted.send(Err(Refused::Full));
            return;
        }
        let _ = change.accepted.send(Ok(()));
        let is_asserted = known.is_some_and(|entry| entry.wish == Wish::Hold);
        let is_update = change.wish == Wish::Hold && change.guard == Guard::Ours;
        if is_update && !is_asserted {
            change.tenure.end();
            let _ = change.waiter.send(Settlement::Taken);
            return;
        }
        let bucket = self.buckets.bucket_of(&change.key);
        if change.wish == Wish::Hold {
            self.buckets.want(bucket);
        }
        self.serial += 1;
        let entry = self
            .entries
            .entry(change.key.clone())
            .or_insert_with(|| Entry::new(bucket));
        // An update of what is not written yet goes with it.
        if !is_update {
            entry.guard = change.guard;
            entry.fence = change.fence;
        }
        entry.is_update = is_update;
        entry.wish = change.wish;
        entry.value = change.value;
        entry.serial = self.serial;
        entry.waiter = Some(change.waiter);
        std::mem::replace(&mut entry.tenure, change.tenure).end();
        self.enqueue(&change.key);
    }

    /// Has one key compared, unless that change was our own.
    fn look(&mut self, key: Bytes, at: Revision) {
        let entry = self.entries.get(&key);
        let is_news = entry
            .and_then(|entry| entry.written)
            .is_some_and(|written| written.at < at);
        if is_news && self.unaudited.len() <= ENTRIES_MAX {
            self.unaudited.push_back(key);
            self.hurry();
        }
    }

    /// Has the key written, after the others that wait.
    pub(super) fn enqueue(&mut self, key: &Bytes) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        if !entry.is_queued {
            entry.is_queued = true;
            self.queue.push_back(key.clone());
        }
        self.hurry();
    }

    /// Has something sent soon.
    fn hurry(&mut self) {
        if self.next_at.is_none() {
            self.next_at = Some(Instant::now() + GATHER_WINDOW);
        }
    }

    /// Forgets a key.
    pub(super) fn end(&mut self, key: &Bytes, settlement: Settlement) {
        let Some(entry) = self.entries.remove(key) else {
            return;
        };
        entry.tenure.end();
        if let Some(waiter) = entry.waiter {
            let _ = waiter.send(settlement);
        }
    }

    fn audit(&mut self) {
        self.audit_at = Instant::now() + audit_in(&mut self.random);
        self.unaudited = self.entries.keys().cloned().collect();
        self.hurry();
    }

    /// Puts again what is under a lease that is no longer held.
    fn change_leases(&mut self, leases: Leases) {
        self.leases = leases;
        self.queue.extend(self.parked.drain(..));
        let mut lost = Vec::new();
        for (key, entry) in &mut self.entries {
            let generation = self.leases[entry.bucket].map(|held| held.generation);
            let is_lost = entry
                .written
                .is_some_and(|written| Some(written.held.generation) != generation);
            if is_lost && entry.wish == Wish::Hold && entry.guard == Guard::Ours {
                // The lease took it along, most likely.
                entry.guard = Guard::Seen(Revision(0));
                lost.push(key.clone());
            }
        }
        for key in &lost {
            self.enqueue(key);
        }
        if !self.queue.is_empty() {
            self.hurry();
        }
    }
}

fn audit_in(random: &mut fastrand::Rng) -> Duration {
    AUDIT_EVERY.mul_f64(0.8 + 0.4 * random.f64())
}
