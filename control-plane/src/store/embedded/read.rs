//! Reads of the present and the past.
//!
//! The file holds the present and the events that led to it. A read of the past takes the present and
//! undoes the events since: cheap for the near past, and bounded by what compaction keeps.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use redb::{Database, ReadTransaction, ReadableDatabase};

use super::tables::{
    HISTORY, KEYS, META, META_COMPACTED, META_REVISION, Stored, StoredEvent, entry, event,
};
use crate::store::{Entry, Error, Event, List, Page, Revision, StoreId, check_known};

/// A page ends after this many bytes of values, though more entries were asked for.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// A look into the history ends after this many events, at the end of their revision.
const EVENTS_AT_ONCE_MAX: usize = 1000;

/// The outer error is the disk's and ends everything; the inner is the caller's.
pub(super) type Outcome<T> = StorageResult<Result<T, Error>>;
pub(super) type StorageResult<T> = Result<T, redb::Error>;

/// One revision's events.
pub(super) type Changed = (Revision, Vec<Event>);

/// A part of the history: what happened, and the revision up to which it was read.
pub(super) struct Part {
    pub(super) changes: Vec<Changed>,
    pub(super) read_to: u64,
}

/// The newest revision.
pub(super) fn revision(database: &Database) -> Outcome<Revision> {
    let read = database.begin_read()?;
    let (revision, _) = counters(&read)?;
    Ok(Ok(Revision(revision)))
}

/// The entry at a key.
pub(super) fn get(
    database: &Database,
    key: &Bytes,
    at: Option<Revision>,
) -> Outcome<Option<Entry>> {
    let read = database.begin_read()?;
    let (revision, compacted) = counters(&read)?;
    if let Some(at) = at {
        if let Err(error) = check_known(at, revision, compacted) {
            return Ok(Err(error));
        }
        if let Some(then) = undo(&read, key, at)?.remove(key) {
            return Ok(Ok(then));
        }
    }
    let keys = read.open_table(KEYS)?;
    let found = keys.get(&key[..])?;
    Ok(Ok(found.map(|found| entry(key, found.value()))))
}

/// One page of the entries below a prefix.
pub(super) fn list(database: &Database, list: &List, id: StoreId) -> Outcome<Page> {
    let read = database.begin_read()?;
    let (revision, compacted) = counters(&read)?;
    let mut past = BTreeMap::new();
    if let Some(at) = list.at {
        if let Err(error) = check_known(at, revision, compacted) {
            return Ok(Err(error));
        }
        past = undo(&read, &list.prefix, at)?;
    }
    let (entries, more) = merge(&read, list, past)?;
    Ok(Ok(Page {
        entries,
        more,
        revision: Revision(revision),
        store: id,
    }))
}

/// What happened below a prefix from a revision on.
pub(super) fn history(database: &Database, prefix: &[u8], from: u64) -> Outcome<Part> {
    let read = database.begin_read()?;
    let (revision, compacted) = counters(&read)?;
    if from < compacted {
        return Ok(Err(Error::Compacted {
            asked: Revision(from),
            compacted: Some(Revision(compacted)),
        }));
    }
    let table = read.open_table(HISTORY)?;
    let mut changes: Vec<Changed> = Vec::new();
    let mut read_to = from.saturating_sub(1);
    for (seen, row) in table.range((from, 0)..)?.enumerate() {
        let (at, happened) = row?;
        let (at, _) = at.value();
        if at != read_to && seen >= EVENTS_AT_ONCE_MAX {
            return Ok(Ok(Part { changes, read_to }));
        }
        read_to = at;
        let happened: StoredEvent<'_> = happened.value();
        if !happened.0.starts_with(prefix) {
            continue;
        }
        match changes.last_mut() {
            Some((last, events)) if last.0 == at => events.push(event(happened)),
            _ => changes.push((Revision(at), vec![event(happened)])),
        }
    }
    let read_to = read_to.max(revision);
    Ok(Ok(Part { changes, read_to }))
}

fn counters(read: &ReadTransaction) -> StorageResult<(u64, u64)> {
    let meta = read.open_table(META)?;
    let counter =
        |name| -> StorageResult<u64> { Ok(meta.get(name)?.map_or(0, |value| value.value())) };
    Ok((counter(META_REVISION)?, counter(META_COMPACTED)?))
}

/// What was there at a revision, for each key below a prefix that changed since.
fn undo(
    read: &ReadTransaction,
    prefix: &[u8],
    at: Revision,
) -> StorageResult<BTreeMap<Bytes, Option<Entry>>> {
    let mut past = BTreeMap::new();
    for row in read.open_table(HISTORY)?.range((at.0 + 1, 0)..)? {
        let (_, happened) = row?;
        let (key, _, previous): StoredEvent<'_> = happened.value();
        if key.starts_with(prefix) {
            // The first change since tells what was there before all of them.
            past.entry(Bytes::copy_from_slice(key))
                .or_insert_with(|| previous.map(|previous| entry(key, previous)));
        }
    }
    Ok(past)
}

/// The present below the prefix, with the past in place of what changed since.
fn merge(
    read: &ReadTransaction,
    list: &List,
    mut past: BTreeMap<Bytes, Option<Entry>>,
) -> StorageResult<(Vec<Entry>, bool)> {
    let after = list
        .after
        .as_deref()
        .filter(|after| *after >= &list.prefix[..]);
    let start = after.map_or(Bound::Included(&list.prefix[..]), Bound::Excluded);
    if let Some(after) = after {
        past.retain(|key, _| **key > *after);
    }
    let keys = read.open_table(KEYS)?;
    let mut present = keys.range::<&[u8]>((start, Bound::Unbounded))?;
    let (mut entries, mut page_bytes) = (Vec::new(), 0);
    let mut next = below(&list.prefix, present.next())?;
    loop {
        let is_past = match (&next, past.first_key_value()) {
            (None, None) => return Ok((entries, false)),
            (Some(now), Some((then, _))) => *then <= now.key,
            (now, _) => now.is_none(),
        };
        let chosen = if is_past {
            let then = past.pop_first();
            if next.as_ref().map(|now| &now.key) == then.as_ref().map(|(key, _)| key) {
                next = below(&list.prefix, present.next())?;
            }
            then.and_then(|(_, entry)| entry)
        } else {
            std::mem::replace(&mut next, below(&list.prefix, present.next())?)
        };
        let Some(chosen) = chosen else { continue };
        if entries.len() == list.entries_max || page_bytes >= PAGE_BYTES_MAX {
            return Ok((entries, true));
        }
        page_bytes += chosen.value.len();
        entries.push(chosen);
    }
}

type Row<'a> = (
    redb::AccessGuard<'a, &'static [u8]>,
    redb::AccessGuard<'a, Stored<'static>>,
);

/// The row, if it is still below the prefix.
fn below(
    prefix: &[u8],
    row: Option<Result<Row<'_>, redb::StorageError>>,
) -> StorageResult<Option<Entry>> {
    let row = row.transpose()?;
    let row = row.filter(|(key, _)| key.value().starts_with(prefix));
    Ok(row.map(|(key, found)| entry(key.value(), found.value())))
}
