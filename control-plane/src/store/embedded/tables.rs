//! What lies in the file.

use bytes::Bytes;
use redb::TableDefinition;

use crate::store::{Entry, Event, EventKind, LeaseId, Revision};

/// The layout below; a file of another one is refused.
pub(super) const FORMAT: u64 = 1;

/// create revision, mod revision, version, lease (0 is none), value.
pub(super) type Stored<'a> = (u64, u64, u64, u64, &'a [u8]);
/// key, what is there now, what was there before.
pub(super) type StoredEvent<'a> = (&'a [u8], Option<Stored<'a>>, Option<Stored<'a>>);

/// The present: key to what is there.
pub(super) const KEYS: TableDefinition<&[u8], Stored<'static>> = TableDefinition::new("keys");
/// The past: revision and place in it to what happened. Undone backwards it gives any state since compaction.
pub(super) const HISTORY: TableDefinition<(u64, u32), StoredEvent<'static>> =
    TableDefinition::new("history");
/// Lease to its time to live in seconds.
pub(super) const LEASES: TableDefinition<u64, u64> = TableDefinition::new("leases");
/// Which keys hang on a lease.
pub(super) const LEASED: TableDefinition<(u64, &[u8]), ()> = TableDefinition::new("leased");
/// The counters below.
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

pub(super) const META_FORMAT: &str = "format";
pub(super) const META_ID: &str = "id";
pub(super) const META_REVISION: &str = "revision";
pub(super) const META_COMPACTED: &str = "compacted";
pub(super) const META_LEASE: &str = "lease";

/// An entry as it lies in the file.
pub(super) fn stored(entry: &Entry) -> Stored<'_> {
    (
        entry.create_revision.0,
        entry.mod_revision.0,
        entry.version,
        entry.lease.map_or(0, |lease| lease.0),
        &entry.value,
    )
}

/// An entry out of the file.
pub(super) fn entry(key: &[u8], (create, modified, version, lease, value): Stored<'_>) -> Entry {
    Entry {
        key: Bytes::copy_from_slice(key),
        value: Bytes::copy_from_slice(value),
        create_revision: Revision(create),
        mod_revision: Revision(modified),
        version,
        lease: (lease != 0).then_some(LeaseId(lease)),
    }
}

/// An event out of the file.
pub(super) fn event((key, now, previous): StoredEvent<'_>) -> Event {
    Event {
        key: Bytes::copy_from_slice(key),
        kind: now.map_or(EventKind::Deleted, |now| EventKind::Put(entry(key, now))),
        previous: previous.map(|previous| entry(key, previous)),
    }
}
