//! A node that listens: it is told every purge of this one, and says which are in force with it.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::Status;
use weir_cache::Store;
use weir_core::cache::UnixMs;
use weir_proto::convert::{decode_hlc, encode_hlc, encode_purge};
use weir_proto::node::v1::{PurgesSeen, PurgesTold};

use super::{Acked, Left, Linked, Links, peer_id, unix_ms};
use crate::data_plane::answer::Reason;
use crate::ports::clock::WallClock;

/// Messages that may be on their way to a node that does not take them.
pub(super) const MESSAGES_AHEAD_MAX: usize = 4;
/// Purges in one message.
const PURGES_TOLD_MAX: usize = 256;
/// Between two signs of life, each of which measures how far the other clock is ahead.
pub(super) const SIGN_INTERVAL: Duration = Duration::from_secs(1);
/// A node that says nothing for this long, though it answers every sign of life, does not listen any more.
const SILENT_MAX: Duration = Duration::from_secs(4);

pub(super) struct Telling {
    pub(super) links: Links,
    pub(super) store: Arc<Store<Reason>>,
    pub(super) clock: WallClock,
    pub(super) stream: u64,
    pub(super) told: mpsc::Sender<Result<PurgesTold, Status>>,
}

impl Telling {
    /// Until the other side leaves or falls silent.
    pub(super) async fn run<S>(self, mut seen: S)
    where
        S: Stream<Item = Result<PurgesSeen, Status>> + Send + Unpin,
    {
        let Ok(Some(Ok(first))) = timeout(SILENT_MAX, seen.next()).await else {
            return;
        };
        let node = first.node.clone();
        let linked = Linked {
            node: node.clone(),
            stream: self.stream,
        };
        let _ = self.links.linked.offer(linked);
        tokio::select! {
            () = self.tell(&first) => {}
            () = self.hear(&node, seen) => {}
        }
        let left = Left {
            node,
            stream: self.stream,
        };
        let _ = self.links.left.offer(left);
    }

    /// Says what is missing there, and that this node lives.
    async fn tell(&self, first: &PurgesSeen) {
        let purges = &self.store.purges;
        let (mut origin, mut seq) = (first.origin, first.seq);
        let mut last: watch::Receiver<u64> = purges.last();
        let mut signs = interval(SIGN_INTERVAL);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = last.changed() => if changed.is_err() { return },
                _ = signs.tick() => {}
            }
            loop {
                let newest = *last.borrow_and_update();
                let missed = purges.missed(origin, seq, PURGES_TOLD_MAX);
                (origin, seq) = (missed.origin, missed.after + missed.purges.len() as u64);
                let now = unix_ms(self.clock);
                let message = PurgesTold {
                    origin,
                    floor: missed.floor.map(encode_hlc),
                    after: missed.after,
                    purges: missed.purges.iter().map(encode_purge).collect(),
                    told_unix_ms: now.0,
                    now: Some(encode_hlc(purges.fetch_time(now))),
                };
                if self.told.send(Ok(message)).await.is_err() {
                    return;
                }
                if seq >= newest {
                    break;
                }
            }
        }
    }

    /// Takes what is in force there.
    async fn hear<S>(&self, node: &str, mut seen: S)
    where
        S: Stream<Item = Result<PurgesSeen, Status>> + Send + Unpin,
    {
        let purges = &self.store.purges;
        while let Ok(Some(Ok(told))) = timeout(SILENT_MAX, seen.next()).await {
            if let Some(their_now) = told.now {
                let (asked, now) = (UnixMs(told.told_unix_ms), unix_ms(self.clock));
                let followed = purges.answered(peer_id(node), asked, decode_hlc(their_now), now);
                if let Err(too_far) = followed {
                    tracing::warn!(node, %too_far, "a clock is not followed");
                }
            }
            if told.origin == purges.origin() {
                let acked = Acked {
                    node: node.to_owned(),
                    stream: self.stream,
                    seq: told.seq,
                };
                // One that is refused is told again with the next sign of life.
                let _ = self.links.acked.offer(acked);
            }
        }
    }
}
