//! A fetch for the cache. It belongs to its core: clients that leave do not end it.

mod spans;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use tokio::sync::oneshot;
use tokio::time::Instant;
use weir_cache::{Entry, Fill, FillReader, Landed, Leader};
use weir_core::cache::{self, Failure, Fallback, NotStored, Reuse, Stored, UnixMs};
use weir_core::purge::Verdict;

use super::super::answer::{REASON_HEADER, Reason};
use super::super::body::ResponseBody;
use super::super::core::Core;
use super::super::exchange::Exchange;
use super::super::origin;
use super::super::request::Routed;
use super::super::trace::RequestTrace;
use super::answered::{Answered, Answerer, count_from_birth, tags, tells_of_hit};
use super::peers::{self, CachePeers, HOP, NoAnswer, STALE};
use super::pieces::Pieces;
use super::redis;
use super::serve::under_purges;
use super::wish::Wish;
use crate::config::Ingress;

/// What is fetched, and what for.
pub(super) struct Fetch {
    pub(super) core: Rc<Core>,
    pub(super) limits: Arc<Ingress>,
    pub(super) routed: Routed,
    pub(super) wish: Rc<Wish>,
    /// What is kept and stale, and how far it may help.
    pub(super) stale: Option<(Arc<Entry>, Fallback)>,
    /// Of that Redis may have another copy.
    pub(super) asks_beneath: bool,
    pub(super) flight_id: Vec<u8>,
    /// The longest that Redis keeps something.
    pub(super) l2_ttl: Duration,
    /// Its part of the trace of whoever began it.
    pub(super) trace: Option<RequestTrace>,
}

/// What the one who began the fetch gets.
pub(super) enum Fetched {
    /// A response that is being stored, and where it comes from.
    Coming(FillReader, Answerer),
    /// A response that was found in Redis.
    InRedis(Arc<Entry>),
    /// The stored response, which is still good.
    Renewed(Arc<Entry>),
    /// The stored response, because the origin failed.
    Stale(Arc<Entry>),
    /// A response that is not stored, and why.
    Own(Box<Response<ResponseBody>>, NotStored),
    /// No response.
    Failed(Reason),
}

impl Fetch {
    /// Fetches, also when nobody wants it any more, as long as there is a place for such fetches.
    pub(super) async fn run_while_wanted(
        self,
        leader: Leader<Reason>,
        first: oneshot::Sender<Fetched>,
    ) {
        let (want, core) = (leader.want(), Rc::clone(&self.core));
        let mut run = std::pin::pin!(self.run(leader, first));
        let place = tokio::select! {
            biased;
            () = &mut run => return,
            place = want.lost() => place,
        };
        match place {
            Some(_place) => run.await,
            None => core.cache_metrics().fetches_given_up.increment(),
        }
    }

    /// Fetches, tells `first` and everybody who follows, and reads the body to its end.
    pub(super) async fn run(self, leader: Leader<Reason>, first: oneshot::Sender<Fetched>) {
        let trace = self.trace.clone();
        self.fetch(leader, first).await;
        if let Some(trace) = trace {
            trace.over();
        }
    }

    async fn fetch(mut self, leader: Leader<Reason>, first: oneshot::Sender<Fetched>) {
        if let Some(answered) = self.ask_owner().await {
            return self.take(answered, leader, first).await;
        }
        if (self.stale.is_none() || self.asks_beneath)
            && let Some(entry) = self.ask_redis().await
        {
            return tell(leader, first, Fetched::InRedis(Arc::clone(&entry)), entry);
        }
        match self.answered(None).await {
            Ok(answered) => self.take(answered, leader, first).await,
            Err(why) => {
                let (reason, now) = (why.reason(), self.core.unix_ms());
                match self.fallback(Failure::Disconnected, now) {
                    Some(entry) => tell(leader, first, Fetched::Stale(Arc::clone(&entry)), entry),
                    None => {
                        leader.land(Landed::Failed(reason));
                        let _ = first.send(Fetched::Failed(reason));
                    }
                }
            }
        }
    }

    /// What the node says that owns the key. Nothing if it is this one, cannot be reached, or has no answer: then this
    /// node asks.
    async fn ask_owner(&self) -> Option<Answered> {
        let is_plain = self.wish.is_plain(&self.routed);
        if self.wish.is_hop || !is_plain {
            return None;
        }
        let (peers, now) = (self.core.cache_peers(), self.core.unix_ms());
        let at = peers.owner_of(self.wish.key.as_str(), now)?;
        let answered = self.answered(Some((&peers, at))).await;
        if let Err(why) = &answered {
            self.core.cache_metrics().peers_failed.increment();
            // One that says why it has no answer is there, and has answers to other keys.
            if let NoAnswer::Failed(_) = why {
                peers.is_away(at, self.core.unix_ms());
            }
        }
        // What was purged here may not have been there yet.
        answered.ok().filter(|answered| !self.is_purged(answered))
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
    async fn ask_redis(&mut self) -> Option<Arc<Entry>> {
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
                self.core.parts.cache.insert(&entry, now);
                Some(entry)
            }
            Reuse::Revalidate(fallback) => {
                self.stale = Some((entry, fallback));
                None
            }
            Reuse::StaleWhileRevalidate | Reuse::MustFetch | Reuse::GatewayTimeout => None,
        }
    }

    fn fallback(&self, failure: Failure, now: UnixMs) -> Option<Arc<Entry>> {
        let (entry, fallback) = self.stale.as_ref()?;
        let is_purged = self.core.parts.cache.verdict(entry) >= Verdict::Unsure;
        (!is_purged && fallback.allows(failure, now)).then(|| Arc::clone(entry))
    }

    /// Asks the origin, with conditions if there is something to validate.
    async fn answered(
        &self,
        peer: Option<(&Arc<CachePeers>, usize)>,
    ) -> Result<Answered, NoAnswer> {
        let stored = self.stale.as_ref().filter(|(entry, fallback)| {
            fallback.conditional && entry.stored.matches(&self.wish.headers)
        });
        let answered = self
            .ask(stored.map(|(entry, _)| &entry.stored), peer)
            .await?;
        let Some((entry, _)) =
            stored.filter(|_| answered.response.status() == StatusCode::NOT_MODIFIED)
        else {
            return Ok(answered);
        };
        // Whether the 304 is about another response is looked at twice: here, because then it has to be asked again.
        match cache::freshen(&entry.stored, &answered.seen(&self.wish), &self.wish.policy) {
            Ok(_) => Ok(answered),
            Err(cache::NotSelected) => self.ask(None, peer).await,
        }
    }

    async fn ask(
        &self,
        stored: Option<&Stored>,
        peer: Option<(&Arc<CachePeers>, usize)>,
    ) -> Result<Answered, NoAnswer> {
        let mut headers = self.wish.headers.clone();
        cache::uncondition(&mut headers);
        if let Some(stored) = stored {
            cache::condition(stored, &mut headers);
        }
        let routed = match peer {
            Some((peers, at)) => {
                headers.insert(&HOP, peers::hop_value(self.wish.min_fresh_s));
                self.routed.to_peer(peers.routing(), at)
            }
            None => self.routed.clone(),
        };
        let started = Instant::now();
        let requested_at = self.core.unix_ms();
        let fetched_at = self.core.parts.cache.fetch_time(requested_at);
        let mut exchange = Exchange::begin_for_cache(&self.core, started);
        exchange.trace = self.asking(peer.is_some(), started);
        let mut request = Request::new(None);
        *request.uri_mut() = Uri::from(self.wish.target.clone());
        *request.headers_mut() = headers;
        let response =
            origin::send(&self.core, &self.limits, &routed, request, exchange, None).await;
        let mut response = response.map_err(|refused| NoAnswer::Failed(refused.reason))?;
        let headers = response.headers_mut();
        if peer.is_some() && headers.contains_key(REASON_HEADER) {
            // Its own answer, not the origin's.
            return Err(NoAnswer::OfPeer);
        }
        let responded_at = self.core.unix_ms();
        let latest = || self.core.parts.cache.fetch_time(responded_at);
        let told = peer.and_then(|_| peers::fetched_at(headers, latest()));
        let is_stale = headers.contains_key(&STALE) && peer.is_some();
        peers::strip_told(headers);
        let from = match peer {
            Some(_) => Answerer::Peer {
                hit: tells_of_hit(headers),
            },
            None => Answerer::Origin,
        };
        Ok(Answered {
            from,
            response,
            requested_at,
            responded_at,
            // A copy is as old as what it was made of.
            fetched_at: told.unwrap_or(fetched_at),
            is_stale,
        })
    }

    async fn take(
        self,
        answered: Answered,
        leader: Leader<Reason>,
        first: oneshot::Sender<Fetched>,
    ) {
        let now = answered.responded_at;
        let status = answered.response.status();
        if let Some(entry) = self.fallback(Failure::Status(status), now) {
            return tell(leader, first, Fetched::Stale(Arc::clone(&entry)), entry);
        }
        if let Some((entry, may_share)) = self.renewed(&answered, now) {
            if may_share {
                return tell(leader, first, Fetched::Renewed(Arc::clone(&entry)), entry);
            }
            leader.land(Landed::Unshared);
            let _ = first.send(Fetched::Renewed(entry));
            return;
        }
        match self.storable(&answered) {
            Ok((stored, tags)) => self.fill(answered, (stored, tags), leader, first).await,
            Err(why) => {
                // An error says nothing of what comes after it.
                if status.as_u16() < 400 && is_of_the_resource(why) {
                    self.core.parts.cache.fetch_solo(&self.flight_id, now);
                }
                self.core.cache_metrics().not_stored(why).increment();
                leader.land(Landed::Unshared);
                let _ = first.send(Fetched::Own(Box::new(answered.response), why));
            }
        }
    }

    /// The stored response as a 304 renews it, and whether it may answer others too.
    fn renewed(&self, answered: &Answered, now: UnixMs) -> Option<(Arc<Entry>, bool)> {
        let (entry, _) = self.stale.as_ref()?;
        if answered.response.status() != StatusCode::NOT_MODIFIED {
            return None;
        }
        let freshened =
            cache::freshen(&entry.stored, &answered.seen(&self.wish), &self.wish.policy);
        let mut renewed = freshened.ok()?;
        if answered.is_stale {
            renewed.stored.stale_from(now);
        }
        // What the origin says now counts, of tags as of everything else.
        let tags = tags(&self.wish, &renewed.stored.headers);
        renewed.may_keep = renewed
            .may_keep
            .and(tags.as_ref().map(|_| ()).map_err(|why| *why));
        let (may_keep, drops_older) = (renewed.may_keep, renewed.drops_older());
        let tags = tags.unwrap_or_default();
        let renewed = Arc::new(entry.renewed(renewed.stored, answered.fetched_at, tags));
        let store = &self.core.parts.cache;
        match may_keep {
            Ok(()) => {
                self.keep(&renewed, answered.from, now);
            }
            Err(why) => {
                self.core.cache_metrics().not_stored(why).increment();
                if drops_older {
                    store.remove(self.wish.key.as_str());
                }
            }
        }
        Some((renewed, may_keep.is_ok()))
    }

    /// What is to be kept beside the body, and its tags.
    fn storable(&self, answered: &Answered) -> Result<(Stored, Box<[u64]>), NotStored> {
        let mut stored = cache::store(&answered.seen(&self.wish), &self.wish.policy)?;
        if answered.from != Answerer::Origin {
            count_from_birth(&mut stored, self.wish.policy.ttl);
        }
        if answered.is_stale {
            stored.stale_from(answered.responded_at);
        }
        let tags = tags(&self.wish, answered.response.headers())?;
        let length = content_length(answered.response.headers());
        if length.is_some_and(|length| length > self.bytes_max()) {
            return Err(NotStored::TooLarge);
        }
        Ok((stored, tags))
    }

    /// Keeps what the origin said, here and in Redis; of what another node owns only a copy in memory.
    fn keep(&self, entry: &Arc<Entry>, from: Answerer, now: UnixMs) -> bool {
        let store = &self.core.parts.cache;
        if from != Answerer::Origin {
            return store.insert_mirrored(entry, now);
        }
        let is_kept = store.insert(entry, now);
        if is_kept {
            redis::keep(store, entry, self.l2_ttl, now);
        }
        is_kept
    }

    fn bytes_max(&self) -> u64 {
        self.wish
            .policy
            .body_bytes_max
            .min(self.core.parts.cache.entry_bytes_max())
    }

    async fn fill(
        self,
        answered: Answered,
        (stored, tags): (Stored, Box<[u64]>),
        leader: Leader<Reason>,
        first: oneshot::Sender<Fetched>,
    ) {
        let store = &self.core.parts.cache;
        store.fetch_shared(&self.flight_id);
        let (head, mut body) = answered.response.into_parts();
        let length = content_length(&head.headers);
        let mut writer = Fill::begin(
            stored.clone(),
            answered.fetched_at,
            length,
            self.bytes_max(),
            store.fills.clone(),
        );
        leader.filling(writer.fill());
        if let Some(reader) = writer.fill().read() {
            let _ = first.send(Fetched::Coming(reader, answered.from));
        }
        let mut leader = Some(leader);
        let mut pieces = Pieces::new();
        while let Some(piece) = pieces.next(&mut body, &mut writer).await {
            let Ok(piece) = piece else {
                self.core.cache_metrics().fills_broken.increment();
                return;
            };
            if let Err(refused) = writer.push(&piece) {
                // Forwarded whole to those who read, and stored for nobody.
                tracing::debug!(key = self.wish.key.as_str(), %refused, "not stored");
                self.core
                    .cache_metrics()
                    .not_stored(NotStored::TooLarge)
                    .increment();
                store.fetch_solo(&self.flight_id, self.core.unix_ms());
                writer.let_go();
                leader = None;
            }
        }
        if let (Some(pieces), Some(leader)) = (writer.finish(), leader) {
            let resource = self.wish.resource(&self.routed);
            let entry = Arc::new(Entry::new(
                resource,
                stored,
                answered.fetched_at,
                tags,
                pieces,
            ));
            if self.keep(&entry, answered.from, self.core.unix_ms()) {
                self.core.cache_metrics().stores.increment();
            }
            leader.land(Landed::Kept(entry));
        }
    }
}

/// A kept response for everybody.
fn tell(
    leader: Leader<Reason>,
    first: oneshot::Sender<Fetched>,
    fetched: Fetched,
    entry: Arc<Entry>,
) {
    leader.land(Landed::Kept(entry));
    let _ = first.send(fetched);
}

/// Whether nobody else would get a response that is stored either.
fn is_of_the_resource(why: NotStored) -> bool {
    !matches!(
        why,
        NotStored::RequestNoStore | NotStored::Method | NotStored::Head
    )
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
