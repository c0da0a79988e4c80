//! What the leader does for all: what is old goes. Every transaction carries the leader's fence.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::WallClock;
use crate::election::{Fence, Standing};
use crate::governance::audit;
use crate::keys::{Key, Keys};
use crate::profiles::{ProfileStore, ReadError};
use crate::store::{Compare, Error, Op, Store, Txn};
use crate::view::View;

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(60);
/// How long audit records are kept.
const AUDIT_KEPT_DAYS: u32 = 90;
/// How long what a node said last is kept after it left.
const STATUS_KEPT: Duration = Duration::from_secs(7 * 86_400);
/// Statuses that one round forgets.
const STATUSES_MAX: usize = 100;

/// Does the duties whenever this instance leads.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    keys: Keys,
    clock: WallClock,
    view: View,
    mut standing: watch::Receiver<Standing>,
) {
    let profiles = ProfileStore::new(Arc::clone(&store), keys.clone(), view.profiles.clone());
    loop {
        let fence = standing.borrow_and_update().is_self.clone();
        if let Some(fence) = fence {
            let now = clock.unix_ms_now();
            if let Err(error) = round(&store, &keys, &view, &profiles, &fence, now).await {
                tracing::warn!(%error, "a round of the leader's duties ended early");
            }
        }
        tokio::select! {
            biased;
            changed = standing.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn round(
    store: &Arc<dyn Store>,
    keys: &Keys,
    view: &View,
    profiles: &ProfileStore,
    fence: &Fence,
    now_unix_ms: u64,
) -> Result<(), ReadError> {
    forget_statuses(&**store, keys, view, fence, now_unix_ms).await?;
    profiles.prune(Some(&fence.guard()), now_unix_ms).await?;
    let guard = [fence.guard()];
    audit::prune(&**store, keys, AUDIT_KEPT_DAYS, now_unix_ms, &guard).await?;
    Ok(())
}

/// Forgets what nodes said that have been away for long. Their orders stay until somebody forgets the node.
async fn forget_statuses(
    store: &dyn Store,
    keys: &Keys,
    view: &View,
    fence: &Fence,
    now_unix_ms: u64,
) -> Result<(), Error> {
    let kept_ms = u64::try_from(STATUS_KEPT.as_millis()).unwrap_or(u64::MAX);
    let old: Vec<String> = {
        let nodes = view.nodes.borrow();
        let is_old = |at_unix_ms: u64| now_unix_ms.saturating_sub(at_unix_ms) > kept_ms;
        let old = nodes.iter().filter(|(_, node)| {
            let status = node.status.as_ref();
            node.presence.is_none() && status.is_some_and(|s| is_old(s.reported_at_unix_ms))
        });
        old.map(|(id, _)| id.clone()).take(STATUSES_MAX).collect()
    };
    for node in old {
        let status = keys.of(&Key::NodeStatus { node: &node });
        let presence = keys.of(&Key::Presence { node: &node });
        let (Ok(status), Ok(presence)) = (status, presence) else {
            continue;
        };
        let when = vec![fence.guard(), Compare::Absent(presence)];
        let forgotten = Txn::only_if(when, vec![Op::Delete(status)]);
        store.txn(forgotten).await?;
    }
    Ok(())
}
