//! Makes transactions of what waits.

use std::sync::Arc;

use super::batch::Batch;
use super::entry::Wish;
use super::task::Task;
use crate::store::limits::TXN_OPS_MAX;

impl Task {
    /// Sends what waits, as much as fits; if nothing waits, a part of the audit.
    pub(super) fn send(&mut self) {
        self.next_at = None;
        let mut batch = self.gather();
        if batch.items.is_empty() {
            batch = self.gather_audit();
        }
        if batch.items.is_empty() {
            return;
        }
        let store = Arc::clone(&self.store);
        self.in_flight = Some(Box::pin(async move {
            let outcome = store.txn(batch.txn.clone()).await;
            (batch, outcome)
        }));
    }

    fn gather(&mut self) -> Batch {
        let mut batch = Batch::default();
        while let Some(key) = self.queue.pop_front() {
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            let held = self.leases[entry.bucket];
            if entry.wish == Wish::Hold && held.is_none() {
                self.parked.push(key);
                continue;
            }
            if !batch.has_room(&key, entry) {
                self.queue.push_front(key);
                break;
            }
            batch.add(&key, entry, held);
            entry.is_queued = false;
            if let (Wish::Hold, Some(held)) = (entry.wish, held) {
                entry.sent = Some(held.lease);
            }
        }
        batch
    }

    fn gather_audit(&mut self) -> Batch {
        let mut batch = Batch::default();
        while batch.items.len() < TXN_OPS_MAX
            && let Some(key) = self.unaudited.pop_front()
        {
            let entry = self.entries.get(&key);
            let settled = entry.filter(|entry| !entry.is_queued && entry.wish == Wish::Hold);
            if let Some(entry) = settled.filter(|entry| entry.written.is_some()) {
                batch.add_look(&key, entry);
            }
        }
        batch
    }
}
