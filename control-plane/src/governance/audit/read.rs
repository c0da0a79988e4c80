//! The newest records first, from a store that lists the oldest first.
//!
//! The reader goes back in windows of time. A window that holds too few records is followed by one twice as
//! long, one that holds too many is tried again an eighth as long: so neither a year of silence nor a burst
//! makes it read much more than it was asked for.

use bytes::Bytes;
use weir_core::calendar::LAST_UNIX_MS;
use weir_core::error::chain;
use weir_proto::control::records::v1 as records;
use weir_proto::control::v1::AuditRecord;

use crate::keys::Keys;
use crate::records::decode;
use crate::store::{Entry, Error, List, Revision, Store, limits};

/// Most records of one list.
pub const ENTRIES_MAX: usize = 1000;
/// As many as are listed when nobody says how many.
pub const ENTRIES_DEFAULT: usize = 50;

/// A list is cut before it is too large for a gRPC message, which is 4 MiB.
const ANSWER_BYTES_MAX: usize = 3 * 1024 * 1024;
const ENTRY_OVERHEAD_BYTES: usize = 16;

const WINDOW_FIRST_MS: u64 = 60_000;

/// The newest records, the newest first: at most `entries_max`, itself at most [`ENTRIES_MAX`], and fewer if they
/// are too large for one answer.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    store: &dyn Store,
    keys: &Keys,
    entries_max: usize,
    now_unix_ms: u64,
) -> Result<Vec<AuditRecord>, Error> {
    let entries_max = entries_max.clamp(1, ENTRIES_MAX);
    let oldest = store.list(page(keys, None, None, 1)).await?;
    let Some(first) = oldest.entries.first() else {
        return Ok(Vec::new());
    };
    let mut reader = Reader {
        store,
        keys,
        at: oldest.revision,
        first: first.key.clone(),
        newest_first: Vec::new(),
    };
    let until_ms = reader.begin(now_unix_ms).await?;
    reader.go_back(entries_max, until_ms).await?;
    let mut bytes_left = ANSWER_BYTES_MAX;
    let newest = reader.newest_first.iter().take(entries_max);
    let that_fit = newest.take_while(|entry| {
        bytes_left = bytes_left.saturating_sub(entry.value.len() + ENTRY_OVERHEAD_BYTES);
        bytes_left > 0
    });
    Ok(that_fit.map(to_record).collect())
}

struct Reader<'a> {
    store: &'a dyn Store,
    keys: &'a Keys,
    at: Revision,
    /// The key of the oldest record.
    first: Bytes,
    newest_first: Vec<Entry>,
}

impl Reader<'_> {
    /// Reads what is after a time, or the newest part of it if that is much: clocks differ, and records may be
    /// ahead of this one. Returns the time from which on all is read.
    async fn begin(&mut self, now_unix_ms: u64) -> Result<u64, Error> {
        let mut from_ms = now_unix_ms;
        let mut step_ms = WINDOW_FIRST_MS;
        loop {
            let from = self.keys.audit_from(from_ms);
            let (found, is_whole) = self.window(from, None, 1).await?;
            if is_whole || from_ms >= LAST_UNIX_MS {
                self.newest_first.extend(found.into_iter().rev());
                return Ok(from_ms);
            }
            from_ms = from_ms.saturating_add(step_ms).min(LAST_UNIX_MS);
            step_ms = step_ms.saturating_mul(2);
        }
    }

    async fn go_back(&mut self, entries_max: usize, mut until_ms: u64) -> Result<(), Error> {
        let mut window_ms = WINDOW_FIRST_MS;
        let mut until = self.keys.audit_from(until_ms);
        while self.newest_first.len() < entries_max && self.first < until {
            let from_ms = until_ms.saturating_sub(window_ms);
            let from = self.keys.audit_from(from_ms);
            let wanted = entries_max - self.newest_first.len();
            let (found, is_whole) = self.window(from.clone(), Some(&until), wanted).await?;
            if !is_whole && window_ms > 1 {
                window_ms = (window_ms / 8).max(1);
                continue;
            }
            self.newest_first.extend(found.into_iter().rev());
            window_ms = window_ms.saturating_mul(2);
            (until_ms, until) = (from_ms, from);
        }
        Ok(())
    }

    /// The records between two keys, oldest first, and whether these are all. Gives up where there are many times
    /// as many as are wanted.
    async fn window(
        &self,
        from: Bytes,
        until: Option<&Bytes>,
        wanted: usize,
    ) -> Result<(Vec<Entry>, bool), Error> {
        let mut found = Vec::new();
        let mut after = from;
        for _ in 0..2 + 2 * wanted.div_ceil(limits::PAGE_ENTRIES_MAX) {
            let list = page(
                self.keys,
                Some(after),
                Some(self.at),
                limits::PAGE_ENTRIES_MAX,
            );
            let page = self.store.list(list).await?;
            let (before, read) = (found.len(), page.entries.len());
            let inside = |entry: &Entry| until.is_none_or(|until| entry.key < *until);
            found.extend(page.entries.into_iter().take_while(inside));
            let goes_on = page.more && found.len() == before + read;
            match found.last() {
                Some(last) if goes_on => after = last.key.clone(),
                _ => return Ok((found, true)),
            }
        }
        Ok((found, false))
    }
}

fn page(keys: &Keys, after: Option<Bytes>, at: Option<Revision>, entries_max: usize) -> List {
    List {
        prefix: keys.audit(),
        after,
        at,
        entries_max,
    }
}

/// A record that cannot be read is shown as that, and not left out.
fn to_record(entry: &Entry) -> AuditRecord {
    let decoded = decode::<records::Audit>(&entry.key, &entry.value);
    let why = match decoded {
        Ok(records::Audit {
            record: Some(record),
        }) => return record,
        Ok(_) => "empty".to_owned(),
        Err(error) => chain(&error),
    };
    AuditRecord {
        action: "unreadable".to_owned(),
        target: entry.key.escape_ascii().to_string(),
        detail: why,
        ..AuditRecord::default()
    }
}
