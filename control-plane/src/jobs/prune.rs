//! Forgets jobs that ended long ago, and what is more than may be kept.

use bytes::Bytes;

use super::error::Error;
use super::local::Jobs;
use super::moves::{Open, Tally};
use crate::keys::JobKeys;
use crate::store::limits::TXN_OPS_MAX;
use crate::store::{Compare, Entry, List, Op, Txn};

/// Small, because values come with the keys.
const PAGE_ENTRIES: usize = 100;
/// Pages of one call for each kind.
const PAGES_MAX: usize = 50;

/// What a round forgot of one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Ended jobs.
    pub done: u64,
    /// Dead jobs.
    pub dead: u64,
}

impl Jobs {
    /// Forgets ended jobs that are old, and of ended and dead ones the oldest that are too many. Every deletion
    /// compares `guard`: only a leader prunes.
    ///
    /// # Errors
    /// When the store does not answer; what was forgotten stays so.
    pub async fn prune(&self, queue: &str, guard: Option<&Compare>) -> Result<Pruned, Error> {
        let keys = self.keys.jobs(queue)?;
        let age_ms = u64::try_from(self.options.done_age_max.as_millis()).unwrap_or(u64::MAX);
        let old_until = self.now_unix_ms().saturating_sub(age_ms);
        Ok(Pruned {
            done: self
                .forget(&keys, keys.all_done(), Some(old_until), guard)
                .await?,
            dead: self.forget(&keys, keys.all_dead(), None, guard).await?,
        })
    }

    /// From the oldest id on, until a page holds nothing to forget.
    async fn forget(
        &self,
        keys: &JobKeys,
        prefix: Bytes,
        old_until_unix_ms: Option<u64>,
        guard: Option<&Compare>,
    ) -> Result<u64, Error> {
        const { assert!(PAGE_ENTRIES < TXN_OPS_MAX) };
        let is_done = old_until_unix_ms.is_some();
        let mut forgotten = 0;
        for _ in 0..PAGES_MAX {
            let tally = self.store.get(keys.tally(), None).await?;
            let tally = Tally::of(tally.as_ref())?;
            let excess = match is_done {
                true => tally.counts.done.saturating_sub(self.options.done_max),
                false => tally.counts.dead.saturating_sub(self.options.dead_max),
            };
            if excess == 0 && !is_done {
                break;
            }
            let page = self.store.list(List {
                prefix: prefix.clone(),
                entries_max: PAGE_ENTRIES,
                ..List::default()
            });
            let goes = going(&page.await?.entries, excess, old_until_unix_ms);
            let count = i64::try_from(goes.len()).unwrap_or(i64::MAX);
            if count == 0 {
                break;
            }
            let mut when: Vec<Compare> = guard.cloned().into_iter().collect();
            when.push(tally.is_seen(keys));
            let (dead, done) = if is_done { (0, -count) } else { (-count, 0) };
            let mut then: Vec<Op> = goes.into_iter().map(Op::Delete).collect();
            then.push(tally.changed(keys, 0, dead, done));
            if self.store.txn(Txn::only_if(when, then)).await?.succeeded {
                forgotten += count.unsigned_abs();
            } else if let Some(guard) = guard
                && !guard.holds(self.store.get(guard.key().clone(), None).await?.as_ref())
            {
                break;
            }
        }
        Ok(forgotten)
    }
}

/// The keys of a page that go: the first ones that are too many, and those that ended before a time. What cannot be
/// read goes with those that are too many only.
fn going(entries: &[Entry], excess: u64, old_until_unix_ms: Option<u64>) -> Vec<Bytes> {
    let excess = usize::try_from(excess).unwrap_or(usize::MAX);
    let is_old = |entry: &Entry| {
        let ended_at = Open::of(entry).map(|open| open.job.ended_at_unix_ms);
        ended_at.is_ok_and(|at| old_until_unix_ms.is_some_and(|until| at < until))
    };
    let goes = entries.iter().enumerate();
    let goes = goes.filter(|(at, entry)| *at < excess || is_old(entry));
    goes.map(|(_, entry)| entry.key.clone()).collect()
}
