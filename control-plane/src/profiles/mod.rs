//! Tuning profiles: what operators want of nodes, layer by layer, with its history.
//!
//! ```text
//! PutProfile ─► request ─► judge ─► one transaction: head, revision, serial, audit ─► store
//!                            ▲                                                          │ followed
//!            watch of ProfileView ◄── ProfileBook::snapshot ◄── ProfileBook::put ◄──────┘
//!                            │
//!                            └─► offer_for(node): merged and encoded once for all nodes with the same layers
//! ```
//!
//! [`ProfileBook`] is fed by whoever follows the store and gives immutable [`ProfileView`]s. [`ProfileStore`] writes.
//! A write is judged against a view and made only if no other profile was written since that view: every write
//! also puts one key, the serial, and compares it. So two writes that are sound alone and not together are never
//! both made. Labels of nodes change without a write; what they spoil, the node refuses and tells.
//!
//! Settings that this version does not know, or does not allow, are kept as they are: an older control plane
//! neither drops them when it writes nor hides them from nodes.

mod book;
mod effective;
mod error;
mod fields;
mod get;
mod judge;
mod offer;
mod plan;
mod prune;
mod put;
mod record;
mod request;
mod settings;
mod stack;
mod view;

use std::sync::Arc;

use tokio::sync::watch;

use crate::keys::Keys;
use crate::store::Store;

pub use book::ProfileBook;
pub use effective::{LayeredKnob, effective};
pub(crate) use error::quoted;
pub use error::{Lost, PutError, ReadError};
pub use fields::{
    LABEL_BYTES_MAX, LABELS_MAX, MESSAGE_BYTES_MAX, OVERRIDE_TTL, check_message, check_write_id,
};
pub use get::{HISTORY_BYTES_MAX, HISTORY_ENTRIES_MAX};
pub use judge::{NODE_IDS_MAX, NodeDifference, NodeFacts};
pub use offer::{OFFERS_CACHED_MAX, Offer};
pub use plan::PutOutcome;
pub use prune::{
    PruneOutcome, REVISION_AGE_MAX, REVISIONS_KEPT_MAX, REVISIONS_KEPT_MIN, SCOPE_IDLE_MAX,
};
pub use put::PUT_LIMIT;
pub(crate) use record::wire_selector;
pub use record::{Head, Revision, Selector};
pub use request::{GROUPS_MAX, SCOPES_MAX};
pub use settings::{Difference, Settings};
pub use view::ProfileView;

/// Reads and writes profiles in a store. Cheap to clone.
#[derive(Clone)]
pub struct ProfileStore {
    store: Arc<dyn Store>,
    keys: Keys,
    views: watch::Receiver<Arc<ProfileView>>,
}

impl std::fmt::Debug for ProfileStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProfileStore")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl ProfileStore {
    /// On this store; `views` are the snapshots of a book that follows it.
    pub fn new(
        store: Arc<dyn Store>,
        keys: Keys,
        views: watch::Receiver<Arc<ProfileView>>,
    ) -> Self {
        Self { store, keys, views }
    }

    /// The newest view.
    pub fn view(&self) -> Arc<ProfileView> {
        Arc::clone(&self.views.borrow())
    }
}
