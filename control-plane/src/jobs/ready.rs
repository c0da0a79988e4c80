//! Which jobs come next.

use bytes::Bytes;
use weir_proto::control::records::v1 as records;

use super::error::Error;
use super::local::{Jobs, decode};
use super::rules::was_told_wrong;
use super::types::Want;
use crate::keys::JobKeys;
use crate::store::limits::PAGE_ENTRIES_MAX;
use crate::store::{Entry, List, Revision};

/// Of the first so many that are ready, those of the first one's priority are chosen from by chance.
const CANDIDATES_MAX: usize = 8;
/// Mostly enough to find them.
const FIRST_PAGE_ENTRIES: usize = 32;
/// More pages than a full queue has.
const PAGES_MAX: usize = 200;
/// A job that is ready, by its key.
pub(super) struct Candidate {
    pub(super) key: Bytes,
    pub(super) seen: Revision,
    pub(super) job_id: String,
    priority: u32,
}

impl Jobs {
    /// The first jobs that are ready, of one priority.
    pub(super) async fn candidates(
        &self,
        keys: &JobKeys,
        want: &Want,
        now: u64,
    ) -> Result<Vec<Candidate>, Error> {
        let mut found: Vec<Candidate> = Vec::new();
        let mut list = List {
            prefix: keys.all_ready(),
            entries_max: FIRST_PAGE_ENTRIES,
            ..List::default()
        };
        for _ in 0..PAGES_MAX {
            let page = self.store.list(list.clone()).await?;
            list.entries_max = PAGE_ENTRIES_MAX;
            list.after = page.entries.last().map(|entry| entry.key.clone());
            // The others of this priority wait even longer. Those on this page are looked at for a wrong clock's.
            let mut next_priority = None;
            for entry in &page.entries {
                let Some(ready) = keys.parse_ready(&entry.key) else {
                    continue;
                };
                let not_before = ready.not_before_unix_ms;
                if not_before > now && !is_long_due(entry, now, not_before) {
                    next_priority = Some(ready.priority);
                    continue;
                }
                let is_next = found.first().is_none_or(|c| c.priority == ready.priority);
                if !is_next || found.len() == CANDIDATES_MAX {
                    return Ok(found);
                }
                if is_wanted(want, entry) {
                    found.push(Candidate {
                        key: entry.key.clone(),
                        seen: entry.mod_revision,
                        job_id: ready.job_id.to_owned(),
                        priority: ready.priority,
                    });
                }
            }
            if let Some(waits) = next_priority {
                list.after = list.after.max(Some(keys.after_priority(waits)));
            }
            if !page.more {
                break;
            }
        }
        Ok(found)
    }
}

/// Whether its time was told by a clock that was far ahead.
fn is_long_due(entry: &Entry, now: u64, not_before: u64) -> bool {
    let ready: Option<records::JobReady> = decode(entry).ok();
    let wait_ms = ready.and_then(|ready| ready.wait_ms);
    wait_ms.is_some_and(|wait_ms| was_told_wrong(now, not_before, wait_ms))
}

/// What cannot be read is nobody's, and holds up no other.
fn is_wanted(want: &Want, entry: &Entry) -> bool {
    let ready: Option<records::JobReady> = decode(entry).ok();
    let all = want.services.is_empty();
    ready.is_some_and(|ready| all || want.services.contains(&ready.service))
}
