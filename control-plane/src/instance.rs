//! An instance of the control plane has its name to itself, and says that it runs.
//!
//! The name is a key under a lease. Whoever starts waits until the key is free, but no longer than [`NAME_LIMIT`]:
//! one that was killed leaves it with the end of its lease, one that runs keeps it, and then the start is refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use weir_proto::control::records::v1::Instance;

use crate::keys::{InvalidName, Key, Keys};
use crate::leases::{Buckets, Options, Presences, Refused, Settled, Settlement, Tenure};
use crate::records;
use crate::store::{Entry, Revision, Store};

/// How long a start waits for its name: longer than the lease of one that was killed, and the store lets go late.
pub const NAME_LIMIT: Duration = Duration::from_secs(15);
/// Between two looks whether the name is free, or whether it is still ours.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a start waits for a store that does not answer. The name is then asked for when it does.
const STORE_LIMIT: Duration = Duration::from_secs(2);
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
    /// Another one of its name runs on this store.
    #[error(
        "an instance called `{name}` runs on this store already{}; \
         give this one another name (--name), or end that one",
        place(.address)
    )]
    InUse {
        /// The name.
        name: String,
        /// Where the other one listens; empty when it was not found out.
        address: String,
    },
    /// Another one took its name while its own lease was over.
    #[error("another instance took the name `{name}` on this store; this one ends")]
    Lost {
        /// The name.
        name: String,
    },
}

fn place(address: &str) -> String {
    match address {
        "" => String::new(),
        address => format!(" and listens at {address}"),
    }
}

/// The instance's key, under a lease of its own. It ends some seconds after this is dropped.
pub struct Announcement {
    store: Arc<dyn Store>,
    instance: Instance,
    key: Bytes,
    presences: Presences,
    tenure: Tenure,
}

impl std::fmt::Debug for Announcement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Announcement")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl Announcement {
    /// Takes the name, and says from now on that the instance runs. Waits up to [`NAME_LIMIT`] for a name that is
    /// taken, and says so. It does not wait for a store that is away: [`Self::lost`] tells what came of it.
    ///
    /// # Errors
    /// [`Error::InUse`] when the name is still taken then; the others when it cannot be said at all.
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
        let presences = Presences::start(Arc::clone(&store), Arc::new(buckets), seed);
        let mut own = Self {
            store,
            instance: instance.clone(),
            key,
            presences,
            tenure: Tenure::default(),
        };
        own.tenure = own.take_name().await?;
        Ok(own)
    }

    /// Waits until another instance has the name, which may be for ever.
    pub async fn lost(&self) -> Error {
        let mut tenure = self.tenure.clone();
        loop {
            while !tenure.is_over() {
                sleep(LOOK_EVERY).await;
            }
            if tenure.written().is_some() {
                let name = self.instance.instance.clone();
                return Error::Lost { name };
            }
            // The store was away when the name was asked for: only now it can be waited for.
            match self.take_name().await {
                Ok(next) => tenure = next,
                Err(error) => return error,
            }
        }
    }

    /// Says it no more. Waits a few seconds at most.
    pub async fn withdraw(self) {
        if let Ok(settled) = self.presences.withdraw(self.key.clone()).await {
            // Late: the lease ends by itself.
            let _ = settled.within(WITHDRAW_LIMIT).await;
        }
    }

    async fn take_name(&self) -> Result<Tenure, Error> {
        let until = Instant::now() + NAME_LIMIT;
        let mut is_told = false;
        loop {
            let settled = self.claim().await?;
            let tenure = settled.tenure();
            match settled.within(STORE_LIMIT).await {
                Ok(Settlement::Taken | Settlement::Withdrawn) => {}
                Ok(Settlement::Written(_)) | Err(_) => return Ok(tenure),
            }
            self.name_is_free(until, &mut is_told).await?;
        }
    }

    /// Waits until nobody has the name, and says so the first time.
    async fn name_is_free(&self, until: Instant, is_told: &mut bool) -> Result<(), Error> {
        let name = self.instance.instance.clone();
        let mut address = String::new();
        loop {
            match self.store.get(self.key.clone(), None).await {
                Ok(None) => return Ok(()),
                Ok(Some(entry)) => address = address_in(&entry),
                Err(error) => tracing::debug!(%error, "whether the name is free is not known"),
            }
            if Instant::now() >= until {
                return Err(Error::InUse { name, address });
            }
            if !std::mem::replace(is_told, true) {
                let limit = NAME_LIMIT;
                let message = "an instance of this name runs or was killed a moment ago; waiting for the name";
                tracing::warn!(name, address, ?limit, "{message}");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn claim(&self) -> Result<Settled, Refused> {
        let (key, value) = (self.key.clone(), records::encode(&self.instance));
        match self.store.is_exclusive() {
            true => self.presences.assert(key, value).await,
            false => self.presences.take_over(key, value, Revision(0)).await,
        }
    }
}

/// Where the instance listens that has the name; empty when it does not say so in a way that is understood.
fn address_in(entry: &Entry) -> String {
    let record = records::decode(&entry.key, &entry.value);
    record.map_or_else(|_| String::new(), |holder: Instance| holder.address)
}
