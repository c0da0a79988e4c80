//! What follows from the answer to a transaction.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::time::Instant;

use super::batch::{Batch, Done, Item};
use super::entry::{Guard, Next, Written};
use super::task::Task;
use super::{GATHER_WINDOW, Settlement};
use crate::store::limits::TXN_OPS_MAX;
use crate::store::{Entry as Found, Error, OpResult, Revision, TxnOutcome};

/// Transactions refused in a row, each after another look, before a wait.
const CONFLICTS_MAX: u32 = 8;

impl Task {
    pub(super) fn settle(&mut self, batch: Batch, outcome: Result<TxnOutcome, Error>) {
        match outcome {
            Ok(outcome) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(waiting = self.queue.len(), "the store takes writes again");
                }
                if outcome.succeeded {
                    self.conflicts = 0;
                    self.backoff.reset();
                    for item in &batch.items {
                        self.succeed(item, outcome.revision);
                    }
                } else {
                    self.conflicts += 1;
                    self.conflict(&batch, outcome.results);
                }
                self.next_at = self.next_send();
            }
            Err(error) => {
                if error == Error::LeaseNotFound {
                    self.buckets.doubt(batch.buckets);
                }
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(%error, "the store does not take what is asserted");
                }
                self.requeue(&batch);
                self.next_at = Some(Instant::now() + self.backoff.next_wait());
            }
        }
    }

    /// At once if a batch is full or must be tried again, else after the window.
    fn next_send(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if self.conflicts >= CONFLICTS_MAX {
            return Some(now + self.backoff.next_wait());
        }
        let is_hurried = self.conflicts > 0 || self.queue.len() >= TXN_OPS_MAX;
        match (self.queue.is_empty(), self.unaudited.is_empty()) {
            (true, true) => None,
            (false, _) if !is_hurried => Some(now + GATHER_WINDOW),
            _ => Some(now),
        }
    }

    fn succeed(&mut self, item: &Item, at: Revision) {
        let Some(entry) = self.entries.get_mut(&item.key) else {
            return;
        };
        entry.written = match item.done {
            Done::Held(held) => Some(Written { at, held }),
            Done::Left | Done::Put => None,
            Done::Looked => return,
        };
        let is_newest = entry.serial == item.serial;
        if is_newest || entry.is_update {
            entry.guard = Guard::Ours;
        }
        if !is_newest {
            return;
        }
        let Done::Held(held) = item.done else {
            let settlement = match item.done {
                Done::Put => Settlement::Written(at),
                _ => Settlement::Withdrawn,
            };
            return self.end(&item.key, settlement);
        };
        entry.settle(at);
        if self.leases[entry.bucket] != Some(held) {
            self.enqueue(&item.key);
        }
    }

    /// Looks at what a refused transaction found, key by key.
    fn conflict(&mut self, batch: &Batch, results: Vec<OpResult>) {
        let found: BTreeMap<&Bytes, Option<Found>> = batch
            .looked_at
            .iter()
            .zip(results)
            .filter_map(|(key, result)| match result {
                OpResult::Got(found) => Some((key, found)),
                OpResult::Put | OpResult::Deleted(_) => None,
            })
            .collect();
        for item in &batch.items {
            let Some(entry) = self.entries.get_mut(&item.key) else {
                continue;
            };
            if entry.serial != item.serial {
                continue;
            }
            let is_at = |fence: &Bytes| found.get(fence).is_some_and(Option::is_some);
            if entry.fence().is_some_and(is_at) {
                self.proceed(&item.key, Next::End(Settlement::Taken));
                continue;
            }
            let Some(found) = found.get(&item.key) else {
                self.enqueue(&item.key);
                continue;
            };
            let held = self.leases[entry.bucket];
            let next = entry.decide(found.as_ref(), held.map(|held| held.lease));
            self.proceed(&item.key, next);
        }
    }

    fn proceed(&mut self, key: &Bytes, next: Next) {
        match next {
            Next::Nothing(at) => {
                let Some(entry) = self.entries.get_mut(key) else {
                    return;
                };
                entry.written = self.leases[entry.bucket].map(|held| Written { at, held });
                entry.guard = Guard::Ours;
                entry.settle(at);
            }
            Next::Write(guard) => {
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.guard = guard;
                }
                self.enqueue(key);
            }
            Next::End(settlement) => {
                tracing::debug!(key = %key.escape_ascii(), ?settlement, "no longer asserted");
                self.end(key, settlement);
            }
        }
    }

    /// Has everything of a transaction that failed sent again, before what came since.
    fn requeue(&mut self, batch: &Batch) {
        for item in batch.items.iter().rev() {
            if item.done == Done::Looked {
                self.unaudited.push_front(item.key.clone());
            } else if let Some(entry) = self.entries.get_mut(&item.key)
                && !entry.is_queued
            {
                entry.is_queued = true;
                self.queue.push_front(item.key.clone());
            }
        }
    }
}
