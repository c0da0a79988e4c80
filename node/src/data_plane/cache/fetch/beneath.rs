//! What is asked before the origin: the node that owns the key, and Redis.

use std::pin::Pin;
use std::sync::Arc;

use futures::future::poll_fn;
use http_body::{Body as _, Frame};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use weir_cache::Entry;
use weir_core::cache::{self, Fallback, Reuse};
use weir_core::purge::Verdict;

use super::super::super::answer::Reason;
use super::super::super::body::ResponseBody;
use super::super::answered::{Answered, tags};
use super::super::look::under_purges;
use super::super::peers::{CachePeers, NoAnswer};
use super::super::redis;
use super::Fetch;
use crate::telemetry::cache::PeerFailure;

/// What came of asking the owner of a key.
pub(super) enum OfOwner {
    /// Its answer.
    Answer(Box<Answered>),
    /// It is this node, is away, or has no answer: this node asks.
    Nothing(Turn),
}

/// When this node asks by itself: at once, or, if the owner is there and did not answer, when it is its turn. `Err`:
/// that did not come in time.
pub(super) type Turn = Result<Option<OwnedSemaphorePermit>, Reason>;

/// The same once its body has begun: what breaks off before that costs nobody an answer.
async fn begun(mut answered: Answered) -> Result<Answered, NoAnswer> {
    let body = answered.response.body_mut();
    if body.is_end_stream() {
        return Ok(answered);
    }
    let first = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
    let first = first
        .transpose()
        .map_err(|broken| NoAnswer::Failed(broken.reason()))?;
    if let Some(Ok(first)) = first.map(Frame::into_data) {
        let rest = std::mem::replace(body, ResponseBody::empty());
        *body = ResponseBody::begun(first, rest);
    }
    Ok(answered)
}

/// The owner is there and of no use, for that reason.
async fn without_owner(peers: &CachePeers, reason: Reason) -> Turn {
    peers.turn_to_fall_back().await.map(Some).ok_or(reason)
}

impl Fetch {
    /// What the node says that owns the key. Nothing if it is this one, cannot be reached, or has no answer: then this
    /// node asks.
    pub(super) async fn ask_owner(&self) -> OfOwner {
        if self.wish.is_hop || !self.wish.is_plain(&self.routed) {
            return OfOwner::Nothing(Ok(None));
        }
        let (peers, now) = (self.core.cache_peers(), self.core.unix_ms());
        let Some(at) = peers.owner_to_ask(self.wish.key.as_str(), now) else {
            return OfOwner::Nothing(Ok(None));
        };
        if peers.breaks.lets_alone(&self.wish.key, now) {
            self.owner_failed(PeerFailure::LetAlone);
            return OfOwner::Nothing(without_owner(&peers, Reason::BackendBodyCut).await);
        }
        let asked = match self.answered(Some((&peers, at))).await {
            Ok(answered) => begun(answered).await,
            Err(why) => Err(why),
        };
        let why = match asked {
            Ok(answered) => {
                peers.answered(at, self.core.unix_ms());
                // What was purged here may not have been there yet.
                return match self.is_purged(&answered) {
                    true => OfOwner::Nothing(Ok(None)),
                    false => OfOwner::Answer(Box::new(answered)),
                };
            }
            Err(why) => why,
        };
        let NoAnswer::Failed(reason) = why else {
            // One that says why it has no answer is there, and has answers to other keys.
            self.owner_failed(PeerFailure::Refused);
            peers.answered(at, self.core.unix_ms());
            return OfOwner::Nothing(Ok(None));
        };
        self.owner_failed(PeerFailure::NoAnswer);
        OfOwner::Nothing(match peers.failed(at, reason, now, self.core.unix_ms()) {
            true => Ok(None),
            false => without_owner(&peers, reason).await,
        })
    }

    /// When this node asks by itself after the owner's answer broke off.
    pub(super) async fn after_owner_broke_off(&self) -> Turn {
        without_owner(&self.core.cache_peers(), Reason::BackendBodyCut).await
    }

    /// The owner of the key was of no use.
    pub(super) fn owner_failed(&self, why: PeerFailure) {
        self.core.cache_metrics().peers_failed(why).increment();
    }

    /// What the owner began to answer broke off, or came whole.
    pub(super) fn owner_told(&self, is_whole: bool) {
        let peers = self.core.cache_peers();
        if is_whole {
            peers.breaks.came_whole(&self.wish.key);
        } else {
            self.owner_failed(PeerFailure::BrokeOff);
            peers.breaks.broke_off(&self.wish.key, self.core.unix_ms());
        }
    }

    fn is_purged(&self, answered: &Answered) -> bool {
        let tags = tags(&self.wish, answered.response.headers()).unwrap_or_default();
        let resource = self.wish.resource(&self.routed);
        let store = &self.core.parts.cache;
        let at = answered.fetched_at;
        let of_stale = self.stale.as_ref().map(|(entry, _)| &entry.tags[..]);
        [&tags[..], of_stale.unwrap_or_default()]
            .iter()
            .any(|tags| store.verdict_of(&resource, tags, at) >= Verdict::Unsure)
    }

    /// What Redis has, if it answers; what has to be validated first becomes what is stale.
    pub(super) async fn ask_redis(&mut self) -> Option<Arc<Entry>> {
        self.core.parts.cache.l2()?;
        let resource = self.wish.resource(&self.routed);
        let begun = Instant::now();
        let found = redis::find(&self.core, &self.wish, &resource).await;
        self.note_redis(begun, found.is_some());
        let (entry, verdict) = found?;
        let now = self.core.unix_ms();
        if self.core.parts.cache.is_over_in_redis(&entry, now) {
            return None;
        }
        match under_purges(
            cache::reuse(&self.wish.lookup, &entry.stored, now),
            verdict,
            &entry,
        ) {
            Reuse::Fresh | Reuse::Stale => {
                // What clients still hold of what was dropped is in memory too; without room nothing more is dropped.
                if self.core.parts.cache.fills.makes_room() {
                    self.core.parts.cache.insert(&entry, now);
                }
                Some(entry)
            }
            Reuse::Revalidate(fallback) => {
                self.stale = Some((entry, fallback));
                None
            }
            Reuse::StaleWhileRevalidate => {
                // It could answer as it is, but then nobody would know how long it has been like that.
                let fallback = Fallback::while_revalidated(&entry.stored);
                self.stale = Some((entry, fallback));
                None
            }
            Reuse::MustFetch | Reuse::GatewayTimeout => None,
        }
    }
}
