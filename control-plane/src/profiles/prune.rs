//! Forgets old revisions, and scopes that hold nothing.

use std::time::Duration;

use bytes::Bytes;

use super::ProfileStore;
use super::error::ReadError;
use super::get::read;
use super::record::Head;
use crate::keys::Key;
use crate::store::limits::TXN_OPS_MAX;
use crate::store::{self, Compare, Entry, List, Op, Txn};

/// Most revisions of one scope that are kept.
pub const REVISIONS_KEPT_MAX: u64 = 500;
/// The newest revisions of a scope are kept however old they are.
pub const REVISIONS_KEPT_MIN: u64 = 50;
/// Older revisions than this are not kept, but for the newest.
pub const REVISION_AGE_MAX: Duration = Duration::from_secs(90 * 86_400);
/// A scope that has held nothing for this long is forgotten with its history.
pub const SCOPE_IDLE_MAX: Duration = REVISION_AGE_MAX;

/// Small, because values come with the keys.
const PAGE_ENTRIES: usize = 32;

/// What was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneOutcome {
    /// How many revisions.
    pub revisions: u64,
    /// How many scopes.
    pub scopes: u64,
    /// The guard did not hold any more, so it ended early.
    pub was_stopped: bool,
}

/// The guard no longer holds, or the scope was written meanwhile.
struct Stopped;

impl ProfileStore {
    /// Forgets what is too old or too much. Every deletion compares `guard`: only a leader prunes.
    ///
    /// # Errors
    /// When the store does not answer; what was forgotten stays so.
    pub async fn prune(
        &self,
        guard: Option<&Compare>,
        now_unix_ms: u64,
    ) -> Result<PruneOutcome, ReadError> {
        let mut outcome = PruneOutcome::default();
        let view = self.view();
        for head in view.heads() {
            let is_idle = is_idle(head, now_unix_ms);
            let pruned = self.prune_scope(head, guard, now_unix_ms, is_idle).await?;
            let Ok(pruned) = pruned else {
                outcome.was_stopped = true;
                break;
            };
            outcome.revisions += pruned;
            if is_idle && self.forget(head, guard).await?.is_ok() {
                outcome.scopes += 1;
            }
        }
        Ok(outcome)
    }

    /// Deletes old revisions from the oldest on; of an idle scope, all.
    async fn prune_scope(
        &self,
        head: &Head,
        guard: Option<&Compare>,
        now_unix_ms: u64,
        is_idle: bool,
    ) -> Result<Result<u64, Stopped>, ReadError> {
        let scope = &head.revision.scope;
        let is_old = |entry: &Entry| is_idle || self.is_old(entry, head, now_unix_ms);
        let mut pruned = 0;
        loop {
            let list = List {
                prefix: self.keys.profile_revisions(scope),
                after: None,
                at: None,
                entries_max: PAGE_ENTRIES,
            };
            let page = self.store.list(list).await?;
            let old = page.entries.iter().take_while(|entry| is_old(entry));
            let old: Vec<Bytes> = old.map(|entry| entry.key.clone()).collect();
            let (found, is_done) = (old.len(), old.len() < page.entries.len() || !page.more);
            if found > 0 {
                // An idle scope that is written again keeps what it then has.
                let unchanged = is_idle.then(|| self.is_still(head));
                let guards = guard.cloned().into_iter().chain(unchanged).collect();
                if !self.delete(old, guards).await? {
                    return Ok(Err(Stopped));
                }
                pruned += found as u64;
            }
            if is_done {
                return Ok(Ok(pruned));
            }
        }
    }

    /// Whether a revision may go. One that cannot be read goes only for its number.
    fn is_old(&self, entry: &Entry, head: &Head, now_unix_ms: u64) -> bool {
        let Some(Key::ProfileRevision { revision, .. }) = self.keys.parse(&entry.key) else {
            return false;
        };
        let behind = head.revision.revision.saturating_sub(revision);
        let is_aged = || {
            let read = read(entry, &head.revision.scope);
            read.is_ok_and(|r| age(r.written_at_unix_ms, now_unix_ms) > REVISION_AGE_MAX)
        };
        behind >= REVISIONS_KEPT_MAX || (behind >= REVISIONS_KEPT_MIN && is_aged())
    }

    async fn forget(
        &self,
        head: &Head,
        guard: Option<&Compare>,
    ) -> Result<Result<(), Stopped>, ReadError> {
        let guards = guard.cloned().into_iter().chain([self.is_still(head)]);
        let key = self.keys.profile_head(&head.revision.scope);
        let done = self.delete(vec![key], guards.collect()).await?;
        Ok(if done { Ok(()) } else { Err(Stopped) })
    }

    fn is_still(&self, head: &Head) -> Compare {
        let key = self.keys.profile_head(&head.revision.scope);
        Compare::ModRevision(key, store::Revision(head.mod_revision))
    }

    async fn delete(&self, keys: Vec<Bytes>, when: Vec<Compare>) -> Result<bool, store::Error> {
        const { assert!(PAGE_ENTRIES <= TXN_OPS_MAX) };
        let then = keys.into_iter().map(Op::Delete).collect();
        Ok(self.store.txn(Txn::only_if(when, then)).await?.succeeded)
    }
}

fn is_idle(head: &Head, now_unix_ms: u64) -> bool {
    let revision = &head.revision;
    let idle_since = revision.written_at_unix_ms.max(revision.until_unix_ms);
    let holds_nothing = revision.settings.is_empty() || revision.has_ended(now_unix_ms);
    holds_nothing && age(idle_since, now_unix_ms) > SCOPE_IDLE_MAX
}

fn age(then_unix_ms: u64, now_unix_ms: u64) -> Duration {
    Duration::from_millis(now_unix_ms.saturating_sub(then_unix_ms))
}
