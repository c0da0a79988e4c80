//! Which profiles lie over one another for a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_core::tuning::{Layer, Merged, Scope, merge};
use weir_proto::tuning::v1 as pb;

use super::record::Head;
use super::settings::foreign_text;

/// Every scope's profile at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Stack {
    heads: BTreeMap<Scope, Arc<Head>>,
    /// The groups among them; the later wins.
    groups: Vec<Arc<Head>>,
    /// Overrides that end no later than this have ended.
    now_unix_ms: u64,
}

impl Stack {
    pub(super) fn heads(&self) -> impl Iterator<Item = &Arc<Head>> {
        self.heads.values()
    }

    pub(super) fn head(&self, scope: &Scope) -> Option<&Arc<Head>> {
        self.heads.get(scope)
    }

    pub(super) fn groups_len(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn put(&mut self, head: Head) {
        let head = Arc::new(head);
        let scope = head.revision.scope.clone();
        self.remove(&scope);
        if matches!(scope, Scope::Group(_)) {
            let rank = |head: &Head| (head.revision.priority(), head.revision.scope.clone());
            let at = self
                .groups
                .partition_point(|other| rank(other) < rank(&head));
            self.groups.insert(at, Arc::clone(&head));
        }
        self.heads.insert(scope, head);
    }

    pub(super) fn remove(&mut self, scope: &Scope) -> bool {
        self.groups.retain(|group| group.revision.scope != *scope);
        self.heads.remove(scope).is_some()
    }

    /// Lets overrides end; true if one did. Time does not go back.
    pub(super) fn expire(&mut self, now_unix_ms: u64) -> bool {
        let next = self.next_expiry();
        self.now_unix_ms = self.now_unix_ms.max(now_unix_ms);
        next.is_some_and(|next| next <= self.now_unix_ms)
    }

    /// When the next override ends.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        let overrides = self.heads.values().filter(|head| {
            head.revision.scope.is_override() && !head.revision.has_ended(self.now_unix_ms)
        });
        overrides.map(|head| head.revision.until_unix_ms).min()
    }

    /// The profiles of a node, the later ones over the earlier ones, without what has ended.
    pub(super) fn layers(
        &self,
        node_id: &str,
        labels: &BTreeMap<String, String>,
    ) -> Vec<&Arc<Head>> {
        let own = |scope: fn(String) -> Scope| self.heads.get(&scope(node_id.to_owned()));
        let picks = |head: &&Arc<Head>| {
            let group = head.revision.group.as_ref();
            group.is_some_and(|group| group.picks(labels))
        };
        let fleet = self.heads.get(&Scope::Fleet).into_iter();
        let layers = fleet
            .chain(self.groups.iter().filter(picks))
            .chain(own(Scope::Node))
            .chain(self.heads.get(&Scope::Override))
            .chain(own(Scope::NodeOverride));
        layers
            .filter(|head| !head.revision.has_ended(self.now_unix_ms))
            .collect()
    }
}

/// Names a combination of layers.
pub(super) fn ids(layers: &[&Arc<Head>]) -> Arc<[u64]> {
    layers.iter().map(|head| head.id).collect()
}

/// What layers make of a node, with what this version cannot read.
#[derive(Debug, Default)]
pub(super) struct Laid {
    /// What it can read. Where `foreign` has the same path, that lies over it.
    pub(super) merged: Merged,
    /// What it cannot, with the layer that gives it.
    pub(super) foreign: BTreeMap<String, (pb::Value, Arc<Head>)>,
}

impl Laid {
    /// Lays them over one another; they come in order.
    pub(super) fn of<'a>(layers: impl IntoIterator<Item = &'a Arc<Head>>) -> Self {
        let heads: Vec<&Arc<Head>> = layers.into_iter().collect();
        let layer = |head: &&'a Arc<Head>| Layer {
            scope: &head.revision.scope,
            revision: head.revision.revision,
            priority: head.revision.priority(),
            profile: &head.revision.settings.known,
        };
        let layers: Vec<Layer<'_>> = heads.iter().map(layer).collect();
        let mut foreign = BTreeMap::new();
        for head in heads {
            let settings = &head.revision.settings;
            if !foreign.is_empty() {
                for (path, _) in settings.known.iter() {
                    foreign.remove(path);
                }
            }
            for (path, value) in &settings.foreign {
                foreign.insert(path.clone(), (value.clone(), Arc::clone(head)));
            }
        }
        Self {
            merged: merge(&layers),
            foreign,
        }
    }

    /// Paths and values as people write them.
    pub(super) fn texts(&self) -> BTreeMap<String, String> {
        let known = self.merged.iter();
        let known = known.map(|(path, given)| (path.to_owned(), given.value.to_string()));
        let foreign = self.foreign.iter();
        let foreign = foreign.map(|(path, (value, _))| (path.clone(), foreign_text(path, value)));
        known.chain(foreign).collect()
    }
}
