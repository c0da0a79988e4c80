//! What there is, and what a write makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch as published;
use tokio::time::Instant;

use super::past::Past;
use crate::store::lease_clock::LeaseClock;
use crate::store::{
    Entry, Error, Event, EventKind, Lease, LeaseId, Op, OpResult, Revision, Txn, TxnOutcome,
};

/// Leases that end at once.
const EXPIRED_AT_ONCE_MAX: usize = 128;

/// Keys, leases, and what happened.
pub(super) struct State {
    pub(super) keys: BTreeMap<Bytes, Entry>,
    pub(super) past: Past,
    leases: LeaseClock,
    leased: BTreeSet<(LeaseId, Bytes)>,
    last_lease: u64,
    newest: published::Sender<Revision>,
}

impl State {
    /// Nothing, and who hears of each new revision.
    pub(super) fn new(history_revisions_max: u64) -> (Self, published::Receiver<Revision>) {
        let (newest, readers) = published::channel(Revision(1));
        let state = Self {
            keys: BTreeMap::new(),
            past: Past::new(history_revisions_max),
            leases: LeaseClock::default(),
            leased: BTreeSet::new(),
            last_lease: 0,
            newest,
        };
        (state, readers)
    }

    pub(super) fn revision(&self) -> Revision {
        *self.newest.borrow()
    }

    /// Keys and values of the present.
    pub(super) fn held_bytes(&self) -> u64 {
        let bytes = |(key, entry): (&Bytes, &Entry)| key.len() + entry.value.len();
        self.keys.iter().map(bytes).sum::<usize>() as u64
    }

    /// Compares and does one of the two lists.
    pub(super) fn txn(&mut self, txn: &Txn) -> Result<TxnOutcome, Error> {
        let holds = |compare: &crate::store::Compare| compare.holds(self.keys.get(compare.key()));
        let succeeded = txn.when.iter().all(holds);
        let ops = if succeeded { &txn.then } else { &txn.or_else };
        for op in ops {
            if let Op::Put {
                lease: Some(lease), ..
            } = op
                && !self.leases.has(*lease)
            {
                return Err(Error::LeaseNotFound);
            }
        }
        let mut events = Vec::new();
        let results = ops.iter().map(|op| self.op(op, &mut events)).collect();
        self.commit(events);
        Ok(TxnOutcome {
            succeeded,
            revision: self.revision(),
            results,
        })
    }

    /// A new lease.
    pub(super) fn grant(&mut self, ttl: Duration, now: Instant) -> Lease {
        self.last_lease += 1;
        let id = LeaseId(self.last_lease);
        let whole_secs = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let ttl = Duration::from_secs(whole_secs);
        self.leases.start(id, ttl, now);
        Lease { id, ttl }
    }

    /// Lets a lease live its whole time again.
    pub(super) fn keep_alive(&mut self, lease: LeaseId, now: Instant) -> Result<(), Error> {
        let renewed = self.leases.renew(lease, now);
        renewed.then_some(()).ok_or(Error::LeaseNotFound)
    }

    /// Ends a lease and deletes its keys.
    pub(super) fn revoke(&mut self, lease: LeaseId) -> Result<(), Error> {
        if !self.leases.has(lease) {
            return Err(Error::LeaseNotFound);
        }
        self.leases.stop(lease);
        let of_lease = (lease, Bytes::new())..(LeaseId(lease.0 + 1), Bytes::new());
        let keys: Vec<Bytes> = self
            .leased
            .range(of_lease)
            .map(|(_, key)| key.clone())
            .collect();
        let mut events = Vec::new();
        for key in keys {
            self.delete(&key, &mut events);
        }
        self.commit(events);
        Ok(())
    }

    /// Ends the leases whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        for lease in self.leases.over(now, EXPIRED_AT_ONCE_MAX) {
            let _ = self.revoke(lease);
        }
    }

    /// When the next lease ends.
    pub(super) fn next_lease_end(&self) -> Option<Instant> {
        self.leases.next_end()
    }

    /// Forgets what was before a revision.
    pub(super) fn compact(&mut self, at: Revision) -> Result<(), Error> {
        let revision = self.revision();
        self.past.compact(at, revision)
    }

    fn commit(&mut self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let revision = self.revision().next();
        self.past.add(revision, events);
        self.newest.send_replace(revision);
    }

    fn op(&mut self, op: &Op, events: &mut Vec<Event>) -> OpResult {
        match op {
            Op::Put { key, value, lease } => {
                self.put(key, value, *lease, events);
                OpResult::Put
            }
            Op::Delete(key) => OpResult::Deleted(self.delete(key, events)),
            Op::Get(key) => OpResult::Got(self.keys.get(key).cloned()),
        }
    }

    fn put(&mut self, key: &Bytes, value: &Bytes, lease: Option<LeaseId>, events: &mut Vec<Event>) {
        let revision = self.revision().next();
        let previous = self.take(key);
        let entry = Entry {
            key: key.clone(),
            value: value.clone(),
            create_revision: previous.as_ref().map_or(revision, |p| p.create_revision),
            mod_revision: revision,
            version: previous.as_ref().map_or(0, |p| p.version) + 1,
            lease,
        };
        if let Some(lease) = lease {
            self.leased.insert((lease, key.clone()));
        }
        self.keys.insert(key.clone(), entry.clone());
        events.push(Event {
            key: key.clone(),
            kind: EventKind::Put(entry),
            previous,
        });
    }

    fn delete(&mut self, key: &Bytes, events: &mut Vec<Event>) -> bool {
        let previous = self.take(key);
        let was_there = previous.is_some();
        if was_there {
            events.push(Event {
                key: key.clone(),
                kind: EventKind::Deleted,
                previous,
            });
        }
        was_there
    }

    fn take(&mut self, key: &Bytes) -> Option<Entry> {
        let entry = self.keys.remove(key)?;
        if let Some(lease) = entry.lease {
            self.leased.remove(&(lease, key.clone()));
        }
        Some(entry)
    }
}
