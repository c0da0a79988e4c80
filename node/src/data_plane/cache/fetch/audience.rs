//! Those who are told what comes of a fetch.

use std::sync::Arc;

use tokio::sync::oneshot;
use weir_cache::{Entry, Landed, Leader};

use super::super::super::answer::Reason;
use super::Fetched;

/// Who waits for a fetch.
pub(in super::super) struct Audience {
    pub(in super::super) leader: Leader<Reason>,
    /// Who began it.
    pub(in super::super) first: oneshot::Sender<Fetched>,
}

impl Audience {
    /// The last word, first to who came first.
    pub(super) async fn tell(self, fetched: Fetched, landed: Landed<Reason>) {
        let _ = self.first.send(fetched);
        self.leader.land(landed).await;
    }

    pub(super) async fn tell_kept(self, fetched: Fetched, entry: Arc<Entry>) {
        self.tell(fetched, Landed::Kept(entry)).await;
    }
}
