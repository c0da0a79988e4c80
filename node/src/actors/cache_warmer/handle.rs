//! What everyone else holds of the warming.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use weir_core::warming::{TooManyRequests, Wanted};

use super::run::Done;
use super::{Busy, Configure, Links, Order, Parts, Save};
use crate::config::WarmSettings;
use crate::link::{Refused, Timed};
use crate::snapshot::Snapshot;

/// How long a caller waits for the actor.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the disk may take when the node ends.
const SAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Results that wait for who ordered them; whoever takes none holds the fetches up.
const DONE_WAITING_MAX: usize = 64;

/// Why nothing is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWarmed {
    /// Too many orders.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// What is wanted comes to too many requests.
    #[error(transparent)]
    TooMany(#[from] TooManyRequests),
    /// The actor did not take it.
    #[error("the warming of the cache: {0}")]
    Refused(#[from] Refused),
}

/// The warming, for everyone else. Cheap to clone.
#[derive(Clone)]
pub struct CacheWarmerHandle {
    pub(crate) links: Links,
    settings: Snapshot<WarmSettings>,
    warm: Arc<watch::Sender<bool>>,
}

impl CacheWarmerHandle {
    /// A handle to an actor of these parts.
    pub fn new(parts: &Parts) -> Self {
        Self {
            links: Links::new(),
            settings: parts.settings.clone(),
            warm: Arc::clone(&parts.warm),
        }
    }

    /// Hands over what the configuration says of it.
    ///
    /// # Errors
    /// [`Refused`] when it was not taken in time.
    pub async fn configure(&self, part: Configure, within: Duration) -> Result<Timed<()>, Refused> {
        self.links.configure.ask_timed(part, within).await
    }

    /// What holds.
    pub fn settings(&self) -> Arc<WarmSettings> {
        self.settings.load()
    }

    /// Whether the start's list was fetched or given up.
    pub fn is_warm(&self) -> bool {
        *self.warm.borrow()
    }

    /// Waits for that, and never much longer than the configuration says.
    pub async fn until_warm(&self) {
        let longest = self.settings().start_timeout + ASK_TIMEOUT;
        let mut warm = self.warm.subscribe();
        let _ = timeout(longest, warm.wait_for(|is_warm| *is_warm)).await;
    }

    /// Has these fetched now, and what is asked for most if `hot`: how many they are, and what becomes of each.
    ///
    /// # Errors
    /// [`NotWarmed`].
    pub async fn order(
        &self,
        wanted: Vec<Wanted>,
        hot: bool,
    ) -> Result<(usize, mpsc::Receiver<Done>), NotWarmed> {
        let (told, done) = mpsc::channel(DONE_WAITING_MAX);
        let order = Order { wanted, hot, told };
        let count = self.links.order.ask(order, None, ASK_TIMEOUT).await??;
        Ok((count, done))
    }

    /// Writes to disk what is asked for most.
    pub async fn save(&self) {
        if let Err(refused) = self.links.save.ask(Save, None, SAVE_TIMEOUT).await {
            tracing::warn!(%refused, "what is asked for most is not on disk");
        }
    }
}
