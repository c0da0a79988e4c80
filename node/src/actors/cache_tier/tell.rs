//! A node that listens: it is told every purge of this one, and says which are in force with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::Status;
use weir_cache::{Missed, Store};
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

/// Up to which number another node lacks nothing of each process.
type Seen = BTreeMap<u64, u64>;

fn seen_of(told: &PurgesSeen) -> Seen {
    let others = told.others.iter();
    others.map(|seen| (seen.origin, seen.seq)).collect()
}

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
        let others = watch::Sender::new(seen_of(&first));
        tokio::select! {
            () = self.tell(&first, others.subscribe()) => {}
            () = self.hear(&node, seen, &others) => {}
        }
        let left = Left {
            node,
            stream: self.stream,
        };
        let _ = self.links.left.offer(left);
    }

    /// Says what is missing there, and that this node lives.
    async fn tell(&self, first: &PurgesSeen, others: watch::Receiver<Seen>) {
        let purges = &self.store.purges;
        let (mut origin, mut seq) = (first.origin, first.seq);
        let mut last: watch::Receiver<u64> = purges.last();
        let mut before = Seen::new();
        let mut signs = interval(SIGN_INTERVAL);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_sign = tokio::select! {
                changed = last.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return,
                },
                _ = signs.tick() => true,
            };
            loop {
                let newest = *last.borrow_and_update();
                let missed = purges.missed(origin, seq, PURGES_TOLD_MAX);
                (origin, seq) = (missed.origin, missed.after + missed.purges.len() as u64);
                if !self.send(&missed, false).await {
                    return;
                }
                if seq >= newest {
                    break;
                }
            }
            if is_sign {
                let now = others.borrow().clone();
                if !self.relay(&before, &now).await {
                    return;
                }
                before = now;
            }
        }
    }

    /// Gives on what the other side lacked at the sign of life before and lacks still, so that it will not hear it from
    /// whom it is; whether the other side is there.
    async fn relay(&self, before: &Seen, now: &Seen) -> bool {
        let purges = &self.store.purges;
        for (origin, _) in purges.all_seen() {
            let mut seq = now.get(&origin).copied().unwrap_or(0);
            if origin == purges.origin() || before.get(&origin).copied().unwrap_or(0) != seq {
                continue;
            }
            // The first sign of life is said before anything was heard.
            if before.is_empty() {
                return true;
            }
            while let Some(missed) = purges.relayed(origin, seq, PURGES_TOLD_MAX) {
                seq = missed.after + missed.purges.len() as u64;
                if !self.send(&missed, true).await {
                    return false;
                }
            }
        }
        true
    }

    /// Whether the other side is there.
    async fn send(&self, missed: &Missed, relayed: bool) -> bool {
        let now = unix_ms(self.clock);
        let message = PurgesTold {
            origin: missed.origin,
            floor: missed.floor.map(encode_hlc),
            after: missed.after,
            purges: missed.purges.iter().map(encode_purge).collect(),
            told_unix_ms: now.0,
            now: Some(encode_hlc(self.store.purges.fetch_time(now))),
            relayed,
        };
        self.told.send(Ok(message)).await.is_ok()
    }

    /// Takes what is in force there.
    async fn hear<S>(&self, node: &str, mut seen: S, others: &watch::Sender<Seen>)
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
            others.send_replace(seen_of(&told));
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
