//! What the control plane pushed, type by type.

use std::collections::BTreeMap;

use bytes::Bytes;
use weir_proto::control::v1 as pb;
use weir_proto::sync::{ContentHash, content_hash, set_hash};

/// All resources of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HeldSet {
    resources: BTreeMap<String, (ContentHash, Bytes)>,
    epoch: String,
    version: u64,
    sent_at_unix_ms: u64,
    layers: Vec<String>,
}

/// Layers of a profile that are kept: a few of each node, and as many groups as a node may be in.
const LAYERS_MAX: usize = 64;
/// Characters of one: a scope and a revision.
const LAYER_CHARS_MAX: usize = 160;

/// A push that does not lead from what is held to what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the push does not fit what is held")]
pub(super) struct Mismatch;

impl HeldSet {
    /// The set after a push.
    pub(super) fn after(&self, push: &pb::Push) -> Result<Self, Mismatch> {
        let mut resources = match push.reset {
            true => BTreeMap::new(),
            false => self.resources.clone(),
        };
        for name in &push.removed {
            resources.remove(name);
        }
        for resource in &push.resources {
            let hash = content_hash(&resource.payload);
            if *resource.hash != hash {
                return Err(Mismatch);
            }
            resources.insert(resource.name.clone(), (hash, resource.payload.clone()));
        }
        let after = Self {
            resources,
            epoch: push.epoch.clone(),
            version: push.version,
            sent_at_unix_ms: push.sent_at_unix_ms,
            layers: layers(push),
        };
        match *push.set_hash == after.set_hash() {
            true => Ok(after),
            false => Err(Mismatch),
        }
    }

    /// Names and payloads, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.resources
            .iter()
            .map(|(name, (_, payload))| (name.as_str(), payload))
    }

    /// The one resource of that name.
    pub(super) fn get(&self, name: &str) -> Option<(ContentHash, &Bytes)> {
        self.resources
            .get(name)
            .map(|(hash, payload)| (*hash, payload))
    }

    /// When the control plane sent its last push, by its own clock.
    pub(super) fn sent_at_unix_ms(&self) -> u64 {
        self.sent_at_unix_ms
    }

    /// What its content was merged from, as the control plane said.
    pub(super) fn layers(&self) -> &[String] {
        &self.layers
    }

    /// What the control plane is told of it at the next hello.
    pub(super) fn resume(&self, kind: pb::ResourceType) -> pb::ResumePoint {
        pb::ResumePoint {
            r#type: kind as i32,
            epoch: self.epoch.clone(),
            version: self.version,
            set_hash: self.set_hash().to_vec(),
        }
    }

    /// A push that makes this set of any other.
    pub(super) fn as_push(&self, kind: pb::ResourceType) -> pb::Push {
        let resource = |(name, (hash, payload)): (&String, &(ContentHash, Bytes))| pb::Resource {
            name: name.clone(),
            hash: hash.to_vec(),
            payload: payload.clone(),
        };
        pb::Push {
            nonce: 0,
            r#type: kind as i32,
            epoch: self.epoch.clone(),
            version: self.version,
            from_version: 0,
            reset: true,
            resources: self.resources.iter().map(resource).collect(),
            removed: Vec::new(),
            set_hash: self.set_hash().to_vec(),
            sent_at_unix_ms: self.sent_at_unix_ms,
            trace_context: String::new(),
            layers: self.layers.clone(),
        }
    }

    fn set_hash(&self) -> ContentHash {
        let members = self
            .resources
            .iter()
            .map(|(name, (hash, _))| (name.as_str(), *hash));
        set_hash(members)
    }
}

/// The strongest of them are told last.
fn layers(push: &pb::Push) -> Vec<String> {
    let over = push.layers.len().saturating_sub(LAYERS_MAX);
    let kept = push.layers.iter().skip(over);
    kept.filter(|layer| layer.len() <= LAYER_CHARS_MAX)
        .map(|layer| weir_core::text::printable(layer))
        .collect()
}
