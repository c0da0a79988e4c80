//! Listens to another node's purges, and again whenever that ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::WatchStream;
use weir_cache::Missed;
use weir_core::backoff::Backoff;
use weir_proto::convert::{decode_hlc, decode_purge, encode_hlc};
use weir_proto::node::v1::cache_peer_client::CachePeerClient;
use weir_proto::node::v1::{OriginSeen, PurgesSeen, PurgesTold};

use super::tell::SIGN_INTERVAL;
use super::{Parts, peer_id, unix_ms};

/// For a node to answer, and between two of its signs of life.
const SILENT_MAX: Duration = SIGN_INTERVAL.saturating_mul(3);
/// Between two tries.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Listens until it is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    task: AbortHandle,
    is_heard: Arc<AtomicBool>,
    now: Arc<Notify>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listening {
    /// Begins to listen.
    pub(super) fn to(node: &str, parts: &Parts) -> Self {
        let (is_heard, now) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let listener = Listener {
            node: node.to_owned(),
            parts: parts.clone(),
            is_heard: Arc::clone(&is_heard),
            now: Arc::clone(&now),
            origin: 0,
        };
        Self {
            task: tokio::task::spawn_local(listener.run()).abort_handle(),
            is_heard,
            now,
        }
    }

    /// The other node is there.
    pub(super) fn is_heard(&self) -> bool {
        self.is_heard.load(Ordering::Relaxed)
    }

    /// The other node said something: it is worth a try.
    pub(super) fn try_now(&self) {
        if !self.is_heard() {
            self.now.notify_one();
        }
    }
}

struct Listener {
    node: String,
    parts: Parts,
    is_heard: Arc<AtomicBool>,
    now: Arc<Notify>,
    /// The process that the other node was when it was heard last.
    origin: u64,
}

impl Listener {
    async fn run(mut self) {
        let seed = self.parts.seed ^ u64::from(peer_id(&self.node));
        let mut backoff = Backoff::new(WAIT_MIN..=WAIT_MAX, fastrand::Rng::with_seed(seed));
        loop {
            let why = match self.one_stream().await {
                Ok(()) => "it ended the stream".to_owned(),
                Err(why) => why,
            };
            tracing::debug!(node = self.node, why, "purges of a node are not heard");
            if self.is_heard.swap(false, Ordering::Relaxed) {
                backoff.reset();
            }
            // Whoever said something is tried at once.
            let _ = timeout(backoff.next_wait(), self.now.notified()).await;
        }
    }

    async fn one_stream(&mut self) -> Result<(), String> {
        let (peers, node) = (self.parts.peers.clone(), self.node.clone());
        let silent = |_| {
            // What was sent on this connection may be lost for good: the next try is made on another one.
            peers.is_silent(&node);
            "it says nothing".to_owned()
        };
        let mut client = CachePeerClient::with_interceptor(
            self.parts.peers.channel_to(&self.node)?,
            self.parts.peers.key().shows(),
        );
        // What is in force here, the newest alone: however slowly it is read, nobody waits for that.
        let (seen, out) = watch::channel(self.seen(0));
        let opened = timeout(SILENT_MAX, client.purges(WatchStream::new(out))).await;
        let opened = opened.map_err(&silent)?;
        let mut told = opened
            .map_err(|status| status.message().to_owned())?
            .into_inner();
        loop {
            let message = timeout(SILENT_MAX, told.message()).await.map_err(&silent)?;
            let message = message.map_err(|status| status.message().to_owned())?;
            let Some(message) = message else {
                return Ok(());
            };
            let told_unix_ms = message.told_unix_ms;
            self.take(message);
            self.is_heard.store(true, Ordering::Relaxed);
            seen.send_replace(self.seen(told_unix_ms));
        }
    }

    /// Puts in force what came.
    fn take(&mut self, message: PurgesTold) {
        let (purges, now) = (&self.parts.store.purges, unix_ms(self.parts.clock));
        if !message.relayed {
            self.origin = message.origin;
        }
        if let Some(their_now) = message.now
            && let Err(too_far) = purges.told(decode_hlc(their_now), now)
        {
            tracing::warn!(node = self.node, %too_far, "a clock is not followed");
        }
        for missed in decoded(message) {
            purges.receive(&missed, now);
        }
    }

    fn seen(&self, told_unix_ms: u64) -> PurgesSeen {
        let purges = &self.parts.store.purges;
        let now = purges.fetch_time(unix_ms(self.parts.clock));
        PurgesSeen {
            node: self.parts.peers.node().to_owned(),
            origin: self.origin,
            seq: purges.seen(self.origin),
            told_unix_ms,
            now: (told_unix_ms > 0).then(|| encode_hlc(now)),
            others: purges
                .all_seen()
                .into_iter()
                .map(|(origin, seq)| OriginSeen { origin, seq })
                .collect(),
        }
    }
}

/// What came, in pieces that begin anew after a purge that this version does not know: its time is a floor.
fn decoded(message: PurgesTold) -> Vec<Missed> {
    let origin = message.origin;
    let mut seq = message.after;
    let mut pieces = Vec::new();
    let mut piece = Missed {
        origin,
        floor: message.floor.map(decode_hlc),
        after: message.after,
        purges: Vec::new(),
    };
    for purge in message.purges {
        seq += 1;
        match decode_purge(purge, origin, seq) {
            Ok(purge) => piece.purges.push(purge),
            Err(at) => {
                let next = Missed {
                    origin,
                    floor: Some(at),
                    after: seq,
                    purges: Vec::new(),
                };
                pieces.push(std::mem::replace(&mut piece, next));
            }
        }
    }
    pieces.push(piece);
    pieces
}
