//! What everyone else holds of the outbox.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use weir_core::surrogate::CdnPurge;

use super::{CdnStanding, Enqueue, Links, TOGETHER_MAX};
use crate::actors::config_agent::InForce;
use crate::link::Refused;
use crate::snapshot::Snapshot;

/// How long one waits until purges are written down.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// Why CDNs may not be told of a purge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The actor has no place.
    #[error("the outbox for CDNs takes no purges: {0}")]
    Refused(#[from] Refused),
    /// They are not certain to outlive the node.
    #[error("purges for CDNs cannot be written down: {0}")]
    NotWritten(String),
    /// The disk is slow, or the actor ended.
    #[error("purges for CDNs were not written down within {WRITE_LIMIT:?}")]
    Late,
    /// More than one message carries.
    #[error("{0} purges at once, at most {TOGETHER_MAX}")]
    TooMany(usize),
}

/// The outbox, for everyone else. Cheap to clone.
#[derive(Clone)]
pub struct CdnOutboxHandle {
    pub(crate) links: Links,
    configured: Snapshot<InForce>,
    table: Snapshot<Vec<CdnStanding>>,
}

impl CdnOutboxHandle {
    /// A handle to an actor that reads and publishes there.
    pub fn new(configured: Snapshot<InForce>, table: Snapshot<Vec<CdnStanding>>) -> Self {
        Self {
            links: Links::new(),
            configured,
            table,
        }
    }

    /// How far CDNs are, in the order of their names.
    pub fn standing(&self) -> Arc<Vec<CdnStanding>> {
        self.table.load()
    }

    /// Tells CDNs of purges that this node has in force, the last of them with this number. Returns which CDNs will be
    /// told, once that outlives the node.
    ///
    /// # Errors
    /// [`NotTaken`]: they may never be told.
    pub async fn enqueue(
        &self,
        purges: Vec<CdnPurge>,
        namespace: &str,
        seq: u64,
    ) -> Result<Vec<String>, NotTaken> {
        // What the actor publishes may be older: it has just begun, or a CDN has just come.
        if purges.is_empty() || self.configured.load().config.cdns.is_empty() {
            return Ok(Vec::new());
        }
        if purges.len() > TOGETHER_MAX {
            return Err(NotTaken::TooMany(purges.len()));
        }
        let (answer, answered) = oneshot::channel();
        self.links.enqueue.offer(Enqueue {
            purges,
            namespace: namespace.to_owned(),
            seq,
            answer,
        })?;
        match timeout(WRITE_LIMIT, answered).await {
            Ok(Ok(written)) => written.map_err(NotTaken::NotWritten),
            Ok(Err(_)) | Err(_) => Err(NotTaken::Late),
        }
    }
}
