//! Values that applications put, at whichever node owns their keys.
//!
//! The first node by rendezvous hashing, of all that the control plane knows, has a value in memory, compares its
//! versions and gives its leases; every other one asks it. An owner that does not answer is let alone for a while:
//! meanwhile Redis answers, each node gives leases of its own, and nothing is put, because nobody could compare it.
//! That one node does not hear the owner makes nobody else the owner: a node that is asked and knows another owner
//! refuses.

mod forward;
mod here;
mod load;
mod namespaces;
mod put;
mod streams;
mod watch;

use std::sync::Arc;

use weir_cache::Entry;
use weir_cache::Resource;
use weir_cache::aside::{tags_of, version_of};
use weir_core::aside::{OutOfBounds, check_key};
use weir_core::cache::UnixMs;
use weir_proto::node::v1 as pb;

pub use self::forward::{HOP, NOT_OWNER, is_hop};
pub use self::namespaces::VALUES;
pub use self::watch::ChangeStream;

use super::{CacheApi, Error};

impl From<OutOfBounds> for Error {
    fn from(out: OutOfBounds) -> Self {
        Self::Invalid {
            field: out.field,
            why: out.why,
        }
    }
}

/// Where a value was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tier {
    Memory,
    Redis,
}

impl CacheApi {
    /// A value.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotKept`], what the key's owner says.
    pub async fn value(
        &self,
        request: pb::GetValueRequest,
        is_hop: bool,
    ) -> Result<pb::CacheValue, Error> {
        let resource = self.value_resource(request.key.as_ref())?;
        if let Some(owner) = self.owner_of(&resource, is_hop) {
            let get =
                |mut client: forward::Client, request| async move { client.get(request).await };
            match self.ask(&owner, None, request, get).await {
                Err(Error::Away { .. }) => {}
                told => return told,
            }
        }
        let found = self.value_here(&resource).await;
        let (entry, tier) = found.ok_or_else(|| not_kept(&resource))?;
        Ok(self.shown(&entry, tier))
    }

    /// The resource of a key within its namespace.
    fn value_resource(&self, key: Option<&pb::ValueKey>) -> Result<Resource, Error> {
        let key = key.ok_or_else(|| Error::invalid("key", "is missing"))?;
        check_key("key.key", &key.key)?;
        let namespace = self.value_namespace("key.namespace", &key.namespace)?;
        Resource::of_value(&namespace, &key.key)
            .map_err(|long| Error::invalid("key.key", long.to_string()))
    }

    /// What this node has, or Redis.
    async fn value_here(&self, resource: &Resource) -> Option<(Arc<Entry>, Tier)> {
        let store = self.store();
        if let Some(entry) = store.value_in_memory(resource, &self.node, self.now()) {
            return Some((entry, Tier::Memory));
        }
        let entry = store.value_in_redis(resource, self.now()).await?;
        if self.owner_of(resource, false).is_none() {
            store.take_value(&entry, &self.node, self.now());
        }
        Some((entry, Tier::Redis))
    }

    fn shown(&self, entry: &Entry, tier: Tier) -> pb::CacheValue {
        let key = &entry.resource.key;
        pb::CacheValue {
            key: entry.resource.path().to_owned(),
            namespace: key.namespace().to_owned(),
            value: entry.body.concat(),
            version: version_of(entry).to_owned(),
            tags: tags_of(entry),
            ttl_ms: millis_until(entry.stored.fresh_until, self.now()),
            tier: match tier {
                Tier::Memory => "memory",
                Tier::Redis => "redis",
            }
            .to_owned(),
        }
    }
}

fn millis_until(until: UnixMs, now: UnixMs) -> u64 {
    until.0.saturating_sub(now.0)
}

fn not_kept(resource: &Resource) -> Error {
    let (namespace, key) = (resource.key.namespace(), resource.path());
    Error::NoValue {
        key: key.to_owned(),
        namespace: namespace.to_owned(),
    }
}
