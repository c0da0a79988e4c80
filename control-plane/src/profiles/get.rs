//! Reads profiles and their history from the store.

use weir_core::tuning::Scope;

use super::ProfileStore;
use super::error::ReadError;
use super::record::Revision;
use crate::store::{Entry, Op, OpResult, Txn};

/// Most revisions of one history.
pub const HISTORY_ENTRIES_MAX: usize = 200;
/// A history ends before the revision with which its records would take more than this.
pub const HISTORY_BYTES_MAX: usize = 2 * 1024 * 1024;
const GETS_AT_ONCE: usize = 16;

impl ProfileStore {
    /// The newest revision of a scope; [`Revision::none`] if it has no profile.
    ///
    /// # Errors
    /// When the store does not answer or the record cannot be read.
    pub async fn newest(&self, scope: &Scope) -> Result<Revision, ReadError> {
        let found = self.store.get(self.keys.profile_head(scope), None).await?;
        let read = found.map(|entry| read(&entry, scope));
        read.unwrap_or_else(|| Ok(Revision::none(scope.clone())))
    }

    /// One revision of a scope; `None` if it never was or is no longer kept.
    ///
    /// # Errors
    /// When the store does not answer or the record cannot be read.
    pub async fn revision(
        &self,
        scope: &Scope,
        revision: u64,
    ) -> Result<Option<Revision>, ReadError> {
        let key = self.keys.profile_revision(scope, revision);
        let found = self.store.get(key, None).await?;
        found.map(|entry| read(&entry, scope)).transpose()
    }

    /// The newest revisions of a scope, the newest first: at most `entries_max`, [`HISTORY_ENTRIES_MAX`] and what
    /// fits [`HISTORY_BYTES_MAX`]. A revision that cannot be read is left out.
    ///
    /// # Errors
    /// When the store does not answer or the newest revision cannot be read.
    pub async fn history(
        &self,
        scope: &Scope,
        entries_max: usize,
    ) -> Result<Vec<Revision>, ReadError> {
        let mut left = entries_max.min(HISTORY_ENTRIES_MAX);
        let mut next = self.newest(scope).await?.revision;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while left > 0 && next > 0 {
            let step = left
                .min(GETS_AT_ONCE)
                .min(usize::try_from(next).unwrap_or(usize::MAX));
            let entries = self.entries(scope, next, step).await?;
            let (asked, got) = (step, entries.len());
            for entry in entries {
                bytes += entry.value.len();
                if bytes > HISTORY_BYTES_MAX && !found.is_empty() {
                    return Ok(found);
                }
                found.extend(read(&entry, scope).ok());
            }
            if got < asked {
                break;
            }
            left -= step;
            next -= step as u64;
        }
        Ok(found)
    }

    /// So many revisions' records from this one down, as far as they are kept.
    async fn entries(
        &self,
        scope: &Scope,
        newest: u64,
        count: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        let revisions = (1..=newest).rev().take(count);
        let txn = Txn {
            then: revisions
                .map(|revision| Op::Get(self.keys.profile_revision(scope, revision)))
                .collect(),
            ..Txn::default()
        };
        let results = self.store.txn(txn).await?.results.into_iter();
        let entries = results.map_while(|result| match result {
            OpResult::Got(entry) => entry,
            OpResult::Put | OpResult::Deleted(_) => None,
        });
        Ok(entries.collect())
    }
}

/// Reads what was found at a key of this scope.
pub(super) fn read(entry: &Entry, scope: &Scope) -> Result<Revision, ReadError> {
    Revision::read(&entry.key, &entry.value, scope).map_err(|source| ReadError::Unreadable {
        scope: scope.clone(),
        source,
    })
}
