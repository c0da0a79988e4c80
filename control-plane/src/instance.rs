//! An instance of the control plane says that it runs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_proto::control::records::v1::Instance;

use crate::keys::{InvalidName, Key, Keys};
use crate::leases::{Buckets, Options, Presences, Refused};
use crate::records;
use crate::store::Store;

/// How long an orderly end waits for the store.
const WITHDRAW_LIMIT: Duration = Duration::from_secs(2);

/// Why an instance cannot say that it runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its name cannot stand in a key.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// What it says of itself is too large.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// The instance's key, under a lease of its own. It ends some seconds after this is dropped.
#[derive(Debug)]
pub struct Announcement {
    key: Bytes,
    presences: Presences,
}

impl Announcement {
    /// Says it from now on, as soon as the store takes it.
    pub async fn start(
        store: Arc<dyn Store>,
        keys: &Keys,
        instance: &Instance,
        seed: u64,
    ) -> Result<Self, Error> {
        let key = keys.of(&Key::Instance {
            instance: &instance.instance,
        })?;
        let buckets = Buckets::start(Arc::clone(&store), Options::single(seed));
        let presences = Presences::start(store, Arc::new(buckets), seed);
        let asserted = presences.assert(key.clone(), records::encode(instance));
        drop(asserted.await?);
        Ok(Self { key, presences })
    }

    /// Says it no more. Waits a few seconds at most.
    pub async fn withdraw(self) {
        if let Ok(settled) = self.presences.withdraw(self.key.clone()).await {
            // Late: the lease ends by itself.
            let _ = settled.within(WITHDRAW_LIMIT).await;
        }
    }
}
