//! What one write does to the tables.
//!
//! Each write either does all it says or nothing: it is refused before its first change. An error of redb
//! ends the whole batch, and nothing of it is kept.

use std::time::Duration;

use bytes::Bytes;
use redb::{ReadableTable, Table, WriteTransaction};

use super::read::{Outcome, StorageResult};
use super::tables::{
    HISTORY, KEYS, LEASED, LEASES, META, META_COMPACTED, META_LEASE, META_REVISION, Stored,
    StoredEvent, entry, stored,
};
use crate::store::{
    Entry, Error, Lease, LeaseId, Op, OpResult, Revision, Txn, TxnOutcome, check_known,
};

/// The tables while a batch is written.
pub(super) struct Batch<'txn> {
    keys: Table<'txn, &'static [u8], Stored<'static>>,
    history: Table<'txn, (u64, u32), StoredEvent<'static>>,
    leases: Table<'txn, u64, u64>,
    leased: Table<'txn, (u64, &'static [u8]), ()>,
    meta: Table<'txn, &'static str, u64>,
    revision: u64,
    compacted: u64,
}

/// One revision while it is made.
struct Change {
    revision: u64,
    events: u32,
}

impl<'txn> Batch<'txn> {
    /// Opens every table.
    pub(super) fn open(write: &'txn WriteTransaction) -> StorageResult<Self> {
        let meta = write.open_table(META)?;
        let counter =
            |name| -> StorageResult<u64> { Ok(meta.get(name)?.map_or(0, |value| value.value())) };
        let (revision, compacted) = (counter(META_REVISION)?, counter(META_COMPACTED)?);
        Ok(Self {
            keys: write.open_table(KEYS)?,
            history: write.open_table(HISTORY)?,
            leases: write.open_table(LEASES)?,
            leased: write.open_table(LEASED)?,
            meta,
            revision,
            compacted,
        })
    }

    /// Forgets all but the last `revisions_max` revisions, notes the counters and returns the revision.
    pub(super) fn finish(mut self, revisions_max: u64) -> StorageResult<Revision> {
        let oldest = self.revision.saturating_sub(revisions_max);
        self.forget_before(oldest)?;
        self.meta.insert(META_REVISION, self.revision)?;
        self.meta.insert(META_COMPACTED, self.compacted)?;
        Ok(Revision(self.revision))
    }

    /// Compares and does one of the two lists.
    pub(super) fn txn(&mut self, txn: &Txn) -> Outcome<TxnOutcome> {
        let mut succeeded = true;
        for compare in &txn.when {
            succeeded &= compare.holds(self.get(compare.key())?.as_ref());
        }
        let ops = if succeeded { &txn.then } else { &txn.or_else };
        for op in ops {
            if let Op::Put {
                lease: Some(lease), ..
            } = op
                && self.leases.get(lease.0)?.is_none()
            {
                return Ok(Err(Error::LeaseNotFound));
            }
        }
        let mut change = self.begin();
        let mut results = Vec::with_capacity(ops.len());
        for op in ops {
            results.push(self.op(op, &mut change)?);
        }
        self.end(&change);
        Ok(Ok(TxnOutcome {
            succeeded,
            revision: Revision(self.revision),
            results,
        }))
    }

    /// Notes a new lease.
    pub(super) fn grant(&mut self, ttl: Duration) -> Outcome<Lease> {
        let whole_secs = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let last = self.meta.get(META_LEASE)?.map_or(0, |value| value.value());
        let id = last + 1;
        self.meta.insert(META_LEASE, id)?;
        self.leases.insert(id, whole_secs)?;
        Ok(Ok(Lease {
            id: LeaseId(id),
            ttl: Duration::from_secs(whole_secs),
        }))
    }

    /// Ends a lease and deletes its keys.
    pub(super) fn revoke(&mut self, lease: LeaseId) -> Outcome<()> {
        if self.leases.remove(lease.0)?.is_none() {
            return Ok(Err(Error::LeaseNotFound));
        }
        let mut keys = Vec::new();
        for row in self
            .leased
            .range((lease.0, &[][..])..(lease.0 + 1, &[][..]))?
        {
            keys.push(Bytes::copy_from_slice(row?.0.value().1));
        }
        let mut change = self.begin();
        for key in keys {
            self.delete(&key, &mut change)?;
        }
        self.end(&change);
        Ok(Ok(()))
    }

    /// Forgets what was before a revision.
    pub(super) fn compact(&mut self, at: Revision) -> Outcome<()> {
        if at.0 <= self.compacted {
            return Ok(Err(Error::Compacted {
                asked: at,
                compacted: Some(Revision(self.compacted)),
            }));
        }
        if let Err(error) = check_known(at, self.revision, self.compacted) {
            return Ok(Err(error));
        }
        self.forget_before(at.0)?;
        Ok(Ok(()))
    }

    /// Forgets what was before a revision, if it is still known.
    pub(super) fn forget_before(&mut self, oldest: u64) -> StorageResult<()> {
        if oldest > self.compacted {
            self.history.retain_in(..(oldest, 0), |_, _| false)?;
            self.compacted = oldest;
        }
        Ok(())
    }

    fn begin(&self) -> Change {
        Change {
            revision: self.revision + 1,
            events: 0,
        }
    }

    fn end(&mut self, change: &Change) {
        if change.events > 0 {
            self.revision = change.revision;
        }
    }

    fn get(&self, key: &[u8]) -> StorageResult<Option<Entry>> {
        Ok(self.keys.get(key)?.map(|found| entry(key, found.value())))
    }

    fn op(&mut self, op: &Op, change: &mut Change) -> StorageResult<OpResult> {
        Ok(match op {
            Op::Put { key, value, lease } => {
                self.put(key, value, *lease, change)?;
                OpResult::Put
            }
            Op::Delete(key) => OpResult::Deleted(self.delete(key, change)?),
            Op::Get(key) => OpResult::Got(self.get(key)?),
        })
    }

    fn put(
        &mut self,
        key: &Bytes,
        value: &Bytes,
        lease: Option<LeaseId>,
        change: &mut Change,
    ) -> StorageResult<()> {
        let previous = self.get(key)?;
        let revision = Revision(change.revision);
        let now = Entry {
            key: key.clone(),
            value: value.clone(),
            create_revision: previous.as_ref().map_or(revision, |p| p.create_revision),
            mod_revision: revision,
            version: previous.as_ref().map_or(0, |p| p.version) + 1,
            lease,
        };
        self.detach(previous.as_ref())?;
        if let Some(lease) = lease {
            self.leased.insert((lease.0, &key[..]), ())?;
        }
        self.keys.insert(&key[..], stored(&now))?;
        self.note(key, Some(&now), previous.as_ref(), change)
    }

    fn delete(&mut self, key: &Bytes, change: &mut Change) -> StorageResult<bool> {
        let previous = self.get(key)?;
        if previous.is_none() {
            return Ok(false);
        }
        self.detach(previous.as_ref())?;
        self.keys.remove(&key[..])?;
        self.note(key, None, previous.as_ref(), change)?;
        Ok(true)
    }

    fn detach(&mut self, previous: Option<&Entry>) -> StorageResult<()> {
        if let Some(Entry {
            key,
            lease: Some(lease),
            ..
        }) = previous
        {
            self.leased.remove((lease.0, &key[..]))?;
        }
        Ok(())
    }

    fn note(
        &mut self,
        key: &[u8],
        now: Option<&Entry>,
        previous: Option<&Entry>,
        change: &mut Change,
    ) -> StorageResult<()> {
        let at = (change.revision, change.events);
        self.history
            .insert(at, (key, now.map(stored), previous.map(stored)))?;
        change.events += 1;
        Ok(())
    }
}
