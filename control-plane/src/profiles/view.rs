//! All profiles at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_core::tuning::Scope;

use super::offer::{Offer, OfferCache};
use super::record::Head;
use super::stack::Stack;

/// All profiles at one moment. Immutable, but for offers that are made when they are first asked for.
#[derive(Debug, Default)]
pub struct ProfileView {
    pub(super) stack: Stack,
    pub(super) serial: u64,
    pub(super) problems: Vec<String>,
    pub(super) offers: Arc<OfferCache>,
}

impl ProfileView {
    /// The newest revision of every scope that has one, also of overrides that have ended; in order of scopes.
    pub fn heads(&self) -> impl Iterator<Item = &Arc<Head>> {
        self.stack.heads()
    }

    /// The newest revision of a scope.
    pub fn head(&self, scope: &Scope) -> Option<&Arc<Head>> {
        self.stack.head(scope)
    }

    /// What this node is offered. Takes as long as there are groups; merges and encodes once for all nodes with
    /// the same layers.
    pub fn offer_for(&self, node_id: &str, labels: &BTreeMap<String, String>) -> Arc<Offer> {
        self.offers.get(&self.stack.layers(node_id, labels))
    }

    /// Whether a scope is a layer of this node, be it one that has ended or was never written.
    pub fn concerns(
        &self,
        scope: &Scope,
        node_id: &str,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        match scope {
            Scope::Fleet | Scope::Override => true,
            Scope::Node(id) | Scope::NodeOverride(id) => id == node_id,
            Scope::Group(_) => {
                let group = self.stack.head(scope);
                let group = group.and_then(|head| head.revision.group.as_ref());
                group.is_some_and(|group| group.picks(labels))
            }
        }
    }

    /// When the next override ends: call [`super::ProfileBook::expire`] then.
    pub fn next_expiry(&self) -> Option<u64> {
        self.stack.next_expiry()
    }

    /// The store's revision of the last write of any profile that is in this view.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Records that could not be read, one line each. A scope keeps what was last read of it.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// How many offers were made, by this view and by those before it.
    pub fn offers_made(&self) -> u64 {
        self.offers.made()
    }
}
