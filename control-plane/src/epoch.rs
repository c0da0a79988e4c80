//! Within which the versions of resources compare: one store, from its making to its replacement or restoration.
//!
//! The name is in the store, so every instance tells its nodes the same. Whoever sees first that the store was put
//! back to an older state gives it another name; the others find that it is done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_proto::control::records::v1 as records;

use crate::clock::WallClock;
use crate::keys::Keys;
use crate::leases::Presences;
use crate::records::encode;
use crate::store::{Compare, Error, Op, Revision, Store, Txn};
use crate::view::{Standing, StoredEpoch, View};

const SCHEMA_VERSION: u32 = 1;
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// What was published last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Published {
    name: String,
    /// How often the store had been replaced then.
    replaced: u64,
}

struct Keeper {
    store: Arc<dyn Store>,
    key: Bytes,
    clock: WallClock,
    random: fastrand::Rng,
    published: Option<Published>,
    presences: Arc<Presences>,
    out: watch::Sender<Option<Arc<str>>>,
}

/// Follows the epoch, which changes whenever the store turns out to be another one; `None` until the store was read.
/// The task belongs to `tasks`.
pub(crate) fn follow(
    store: &Arc<dyn Store>,
    keys: &Keys,
    clock: WallClock,
    seed: u64,
    view: &View,
    presences: &Arc<Presences>,
    tasks: &mut JoinSet<()>,
) -> watch::Receiver<Option<Arc<str>>> {
    let (out, epoch) = watch::channel(None);
    let keeper = Keeper {
        store: Arc::clone(store),
        key: keys.epoch(),
        clock,
        random: fastrand::Rng::with_seed(seed),
        published: None,
        presences: Arc::clone(presences),
        out,
    };
    tasks.spawn(keep(keeper, view.cfg.clone()));
    epoch
}

/// Publishes the epoch, and a new one whenever the store turns out to be another one.
async fn keep(mut keeper: Keeper, mut cfg: watch::Receiver<Standing>) {
    loop {
        let standing = cfg.borrow_and_update().clone();
        if let Err(error) = keeper.follow(standing).await {
            tracing::debug!(%error, "the epoch cannot be kept");
            tokio::time::sleep(RETRY_EVERY).await;
        } else if cfg.changed().await.is_err() {
            return;
        }
    }
}

impl Keeper {
    async fn follow(&mut self, standing: Standing) -> Result<(), Error> {
        let replaced = standing.replaced;
        if !standing.complete {
            return Ok(());
        }
        let Some(stored) = standing.epoch else {
            return self.make(Revision(0)).await;
        };
        match &self.published {
            Some(published) if published.name != stored.name => {
                self.publish(stored, replaced).await
            }
            Some(published) if published.replaced == replaced => Ok(()),
            Some(_) => self.make(Revision(stored.revision)).await,
            None => self.publish(stored, replaced).await,
        }
    }

    /// Names the epoch, unless somebody else did meanwhile. Either way the view tells the name.
    async fn make(&mut self, seen: Revision) -> Result<(), Error> {
        let meta = records::Meta {
            epoch: format!("{:016x}", self.random.u64(..)),
            schema_version: SCHEMA_VERSION,
            created_at_unix_ms: self.clock.unix_ms_now(),
        };
        let is_seen = Compare::ModRevision(self.key.clone(), seen);
        let named = Op::put(self.key.clone(), encode(&meta));
        let named = Txn::only_if(vec![is_seen], vec![named]);
        self.store.txn(named).await.map(drop)
    }

    async fn publish(&mut self, stored: StoredEpoch, replaced: u64) -> Result<(), Error> {
        // Tells copies of one store apart that nobody saw being made.
        let id = self.store.status().await?.store.0;
        let epoch: Arc<str> = format!("{}-{id:x}", stored.name).into();
        self.out.send_if_modified(|told| {
            let is_other = told.as_ref() != Some(&epoch);
            *told = Some(epoch);
            is_other
        });
        if self.published.is_some() {
            // Whatever part of the store showed it, what is asserted here may be gone.
            self.presences.audit();
        }
        let name = stored.name;
        self.published = Some(Published { name, replaced });
        Ok(())
    }
}
