//! Removes records that are old.

use weir_core::calendar::DAY_MS;

use crate::keys::Keys;
use crate::store::{Compare, Error, List, Op, Store, Txn};

/// Records removed in one transaction.
const BATCH: usize = 100;
/// Transactions of one call.
const BATCHES_MAX: usize = 50;

/// What became of a round of pruning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pruned {
    /// So many were removed, and nothing old is left.
    All(usize),
    /// So many were removed; there are more.
    More(usize),
    /// The guard does not hold: somebody else leads. So many were removed before.
    Fenced(usize),
}

/// Removes records older than `keep_days`, the oldest first, as long as `guard` holds; a bounded number.
///
/// # Errors
/// When the store does not answer; what was removed until then stays removed.
pub async fn prune(
    store: &dyn Store,
    keys: &Keys,
    keep_days: u32,
    now_unix_ms: u64,
    guard: &[Compare],
) -> Result<Pruned, Error> {
    let keep_ms = u64::from(keep_days) * DAY_MS;
    let kept = keys.audit_from(now_unix_ms.saturating_sub(keep_ms));
    let mut removed = 0;
    for _ in 0..BATCHES_MAX {
        let list = List {
            prefix: keys.audit(),
            entries_max: BATCH,
            ..List::default()
        };
        let page = store.list(list).await?;
        let found = page.entries.into_iter().map(|entry| entry.key);
        let old = found.take_while(|key| *key < kept);
        let then: Vec<Op> = old.map(Op::Delete).collect();
        if then.is_empty() {
            return Ok(Pruned::All(removed));
        }
        let batch = then.len();
        let txn = Txn::only_if(guard.to_vec(), then);
        if !store.txn(txn).await?.succeeded {
            return Ok(Pruned::Fenced(removed));
        }
        removed += batch;
    }
    Ok(Pruned::More(removed))
}
