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

/// Follows the epoch, which changes whenever the store turns out to be another one; `None` until all was read once.
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
    mut view: View,
    out: watch::Sender<Option<Arc<str>>>,
) {
    // Who has an epoch serves nodes, and must not take what is not read yet for what is not there.
    view.complete().await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::DEFAULT_NAMESPACE;
    use crate::store::embedded::{EmbeddedStore, Options};
    use crate::view::Standing;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn there_is_no_epoch_before_all_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(folder.path(), 7);
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(options).await.unwrap());
        let (cfg_out, cfg) = watch::channel(Standing::default());
        let (live_out, live) = watch::channel(Standing::default());
        let view = View {
            profiles: watch::channel(Arc::default()).1,
            weights: watch::channel(Arc::default()).1,
            endpoints: watch::channel(Arc::default()).1,
            peers: watch::channel(Arc::default()).1,
            orders: watch::channel(Arc::default()).1,
            nodes: watch::channel(Arc::default()).1,
            instances: watch::channel(Arc::default()).1,
            cfg,
            live,
        };
        let keys = Keys::new(DEFAULT_NAMESPACE).unwrap();
        let mut tasks = JoinSet::new();
        let clock = WallClock::system();
        let mut epoch = follow(&store, &keys, clock, 1, &view, &mut tasks);
        cfg_out.send_modify(|standing| standing.complete = true);
        let early =
            tokio::time::timeout(Duration::from_millis(300), epoch.wait_for(Option::is_some));
        assert!(early.await.is_err());
        live_out.send_modify(|standing| standing.complete = true);
        let made = tokio::time::timeout(PATIENCE, epoch.wait_for(Option::is_some));
        assert!(made.await.unwrap().is_ok());
    }
}
