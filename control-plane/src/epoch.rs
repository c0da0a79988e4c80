//! Within which the versions of resources compare: one store, from its making to its replacement or restoration.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_proto::control::records::v1 as records;

use crate::clock::WallClock;
use crate::keys::Keys;
use crate::records::{decode, encode};
use crate::store::{Compare, Error, Op, Store, Txn};
use crate::view::View;

const SCHEMA_VERSION: u32 = 1;
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Follows the epoch, which changes whenever the store turns out to be another one; `None` until the store was read.
/// The task belongs to `tasks`.
pub(crate) fn follow(
    store: &Arc<dyn Store>,
    keys: &Keys,
    clock: WallClock,
    seed: u64,
    view: &View,
    tasks: &mut JoinSet<()>,
) -> watch::Receiver<Option<Arc<str>>> {
    let (out, epoch) = watch::channel(None);
    let (store, keys, view) = (Arc::clone(store), keys.clone(), view.clone());
    tasks.spawn(keep(store, keys, clock, seed, view, out));
    epoch
}

/// Publishes the epoch, and a new one whenever the store turns out to be another one.
async fn keep(
    store: Arc<dyn Store>,
    keys: Keys,
    clock: WallClock,
    seed: u64,
    view: View,
    out: watch::Sender<Option<Arc<str>>>,
) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cfg = view.cfg.clone();
    loop {
        let replaced = cfg.borrow_and_update().replaced;
        match read_or_make(&*store, &keys, &clock, &mut random).await {
            Ok(Some(made)) => {
                // The number tells an older state of one store from the newer one that it replaced.
                let epoch = format!("{made}-{replaced}");
                out.send_replace(Some(epoch.into()));
            }
            Ok(None) => continue,
            Err(error) => {
                tracing::debug!(%error, "the epoch cannot be read");
                tokio::time::sleep(RETRY_EVERY).await;
                continue;
            }
        }
        if cfg
            .wait_for(|standing| standing.replaced != replaced)
            .await
            .is_err()
        {
            return;
        }
    }
}

/// `None` when another instance made it at this moment.
async fn read_or_make(
    store: &dyn Store,
    keys: &Keys,
    clock: &WallClock,
    random: &mut fastrand::Rng,
) -> Result<Option<String>, Error> {
    let key = keys.epoch();
    let id = store.status().await?.store.0;
    if let Some(entry) = store.get(key.clone(), None).await?
        && let Ok(meta) = decode::<records::Meta>(&key, &entry.value)
    {
        return Ok(Some(format!("{}-{id:x}", meta.epoch)));
    }
    let meta = records::Meta {
        epoch: format!("{:016x}", random.u64(..)),
        schema_version: SCHEMA_VERSION,
        created_at_unix_ms: clock.unix_ms_now(),
    };
    let is_absent = Compare::Absent(key.clone());
    let made = Txn::only_if(vec![is_absent], vec![Op::put(key, encode(&meta))]);
    store.txn(made).await?;
    Ok(None)
}
