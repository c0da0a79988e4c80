//! Nodes at a glance, behind gRPC, the HTTP API and `weir status`: how they are, what happened, how they were.
//!
//! `own` tells of this node, `gather` asks the others, `fold` makes one answer of all, `snapshot` is what
//! everybody who asks is given until it is too old.

mod describe;
mod fold;
mod gather;
mod merged;
mod own;
mod snapshot;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::overview_client::OverviewClient;

use self::gather::Gatherer;
use self::own::Own;
pub use self::snapshot::{Document, Snapshot};
use crate::http_api::StatusCache;
use crate::peers::Peers;
use crate::wiring::Wired;

/// Samples of each series in one answer.
pub const SAMPLES_TOLD_MAX: usize = 3_600;
/// For one other node to tell of itself.
const NODE_TIMEOUT: Duration = Duration::from_secs(1);

/// Overviews of this node and of all. Cheap to clone.
#[derive(Clone)]
pub struct OverviewApi(Arc<Inner>);

struct Inner {
    own: Own,
    peers: Peers,
    gatherer: Mutex<Gatherer>,
}

/// Why there is no overview.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Of all nodes, or of one.
    #[error("node: `{0}` together with mesh, which asks for all nodes; give one of them")]
    NodeAndMesh(String),
    /// More than an answer holds.
    #[error("samples_max: {0} is out of bounds (0 to {SAMPLES_TOLD_MAX})")]
    SamplesMax(u32),
    /// There is no such node.
    #[error("node: `{0}` is no node that this one knows")]
    UnknownNode(String),
    /// It did not tell.
    #[error("node `{node}`: {why}")]
    Away {
        /// Which.
        node: String,
        /// In words.
        why: String,
    },
}

/// Which history is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    /// From this slot on; 0 for the newest.
    since: u64,
    samples_max: usize,
    /// Latencies by bucket.
    buckets: bool,
}

impl Wanted {
    fn of(request: &pb::OverviewRequest) -> Result<Self, Error> {
        let asked = request.samples_max;
        let samples_max = match usize::try_from(asked) {
            Ok(0) => SAMPLES_TOLD_MAX,
            Ok(some) if some <= SAMPLES_TOLD_MAX => some,
            _ => return Err(Error::SamplesMax(asked)),
        };
        Ok(Self {
            since: request.since_slot,
            samples_max,
            buckets: request.buckets,
        })
    }

    /// The slots of an answer among those that are kept: the oldest from `since` on, so that whoever asks on misses
    /// none, or the newest.
    fn among(&self, kept: &Range<u64>) -> Range<u64> {
        let most = self.samples_max as u64;
        if self.since == 0 {
            return kept.start.max(kept.end.saturating_sub(most))..kept.end;
        }
        let start = self.since.clamp(kept.start, kept.end.max(kept.start));
        start..kept.end.min(start.saturating_add(most))
    }
}

impl OverviewApi {
    /// Of a node and its peers.
    pub fn new(wired: &Wired, status: StatusCache) -> Self {
        let own = Own::new(wired, status);
        let peers = wired.peers.clone();
        Self(Arc::new(Inner {
            gatherer: Mutex::new(Gatherer::new(&peers)),
            own,
            peers,
        }))
    }

    /// What a request asks for.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn answer(&self, request: &pb::OverviewRequest) -> Result<pb::OverviewAnswer, Error> {
        let wanted = Wanted::of(request)?;
        match self.other(request)? {
            Some(node) => self.of_other(node, request).await,
            None => Ok(self.snapshot(request.mesh).await.answer(wanted)),
        }
    }

    /// The same as JSON, made once for everybody who asks for the same.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn document(&self, request: &pb::OverviewRequest) -> Result<Arc<Document>, Error> {
        let wanted = Wanted::of(request)?;
        match self.other(request)? {
            Some(node) => Ok(Arc::new(Document::of(self.of_other(node, request).await?))),
            None => Ok(self.snapshot(request.mesh).await.document(wanted).await),
        }
    }

    /// The other node that is asked for, if one is.
    fn other<'a>(&self, request: &'a pb::OverviewRequest) -> Result<Option<&'a str>, Error> {
        match &*request.node {
            "" => Ok(None),
            node if request.mesh => Err(Error::NodeAndMesh(node.to_owned())),
            node if node == self.0.peers.node() => Ok(None),
            node => Ok(Some(node)),
        }
    }

    async fn snapshot(&self, mesh: bool) -> Arc<Snapshot> {
        let own = self.0.own.now().await;
        match mesh {
            false => own,
            // Whoever comes while others are being asked waits for the same answers.
            true => self.0.gatherer.lock().await.now(own, &self.0.own).await,
        }
    }

    async fn of_other(
        &self,
        node: &str,
        request: &pb::OverviewRequest,
    ) -> Result<pb::OverviewAnswer, Error> {
        let peers = &self.0.peers;
        if !peers.others().iter().any(|known| known == node) {
            return Err(Error::UnknownNode(node.to_owned()));
        }
        let request = pb::OverviewRequest {
            node: String::new(),
            ..request.clone()
        };
        ask(peers, node, request).await.map_err(|why| Error::Away {
            node: node.to_owned(),
            why,
        })
    }
}

/// What another node tells; why it does not, in words.
async fn ask(
    peers: &Peers,
    node: &str,
    request: pb::OverviewRequest,
) -> Result<pb::OverviewAnswer, String> {
    let mut client = OverviewClient::new(peers.channel_to(node)?);
    let Ok(answer) = timeout(NODE_TIMEOUT, client.get_overview(request)).await else {
        peers.is_silent(node);
        return Err(format!("no answer within {NODE_TIMEOUT:?}"));
    };
    let answer = answer.map_err(|status| match status.message() {
        "" => status.code().to_string(),
        message => message.to_owned(),
    })?;
    Ok(answer.into_inner())
}
