//! A fetch for the cache. It belongs to its core: clients that leave do not end it.

mod audience;
mod beneath;
mod inflow;
mod spans;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use tokio::time::Instant;
use weir_cache::{Entry, FillReader, Landed};
use weir_core::cache::{self, Failure, Fallback, NotStored, Stored, UnixMs};
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
use super::redis;
use super::wish::Wish;
use crate::config::Ingress;

pub(super) use self::audience::Audience;
use self::beneath::OfOwner;

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
    /// A response that is being stored, where it comes from, and its fields that are not stored.
    Coming(FillReader, Answerer, HeaderMap),
    /// A response that was found in Redis.
    InRedis(Arc<Entry>),
    /// The stored response, which is still good, and fields of the 304 that are not stored.
    Renewed(Arc<Entry>, HeaderMap),
    /// The stored response, because the origin failed.
    Stale(Arc<Entry>),
    /// A response that is not stored, and why.
    Own(Box<Response<ResponseBody>>, NotStored),
    /// No response.
    Failed(Reason),
}

impl Fetch {
    /// Fetches, also when nobody wants it any more, as long as there is a place for such fetches.
    pub(super) async fn run_while_wanted(self, audience: Audience) {
        let (want, core) = (audience.leader.want(), Rc::clone(&self.core));
        let mut run = std::pin::pin!(self.run(audience));
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

    /// Fetches, tells the audience, and reads the body to its end.
    pub(super) async fn run(self, audience: Audience) {
        let trace = self.trace.clone();
        self.fetch(audience).await;
        if let Some(trace) = trace {
            trace.over();
        }
    }

    async fn fetch(mut self, audience: Audience) {
        let (turn, audience) = match self.ask_owner().await {
            OfOwner::Answer(answered) => match self.take(*answered, audience).await {
                Some(audience) => (self.after_owner_broke_off().await, audience),
                None => return,
            },
            OfOwner::Nothing(turn) => (turn, audience),
        };
        let turn = match turn {
            Ok(turn) => turn,
            Err(reason) => return self.failed(reason, audience).await,
        };
        if (self.stale.is_none() || self.asks_beneath)
            && let Some(entry) = self.ask_redis().await
        {
            return audience
                .tell_kept(Fetched::InRedis(Arc::clone(&entry)), entry)
                .await;
        }
        let answered = self.answered(None).await;
        drop(turn);
        match answered {
            Ok(answered) => {
                if let Some(untold) = self.take(answered, audience).await {
                    self.failed(Reason::BackendBodyCut, untold).await;
                }
            }
            Err(why) => self.failed(why.reason(), audience).await,
        }
    }

    /// Nobody answered: what is stale, or why there is nothing.
    async fn failed(&self, reason: Reason, audience: Audience) {
        let now = self.core.unix_ms();
        match self.fallback(Failure::Disconnected, now) {
            Some(entry) => {
                audience
                    .tell_kept(Fetched::Stale(Arc::clone(&entry)), entry)
                    .await
            }
            None => {
                audience
                    .tell(Fetched::Failed(reason), Landed::Failed(reason))
                    .await
            }
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
        if peer.is_some()
            && (headers.contains_key(REASON_HEADER) || !peers::is_for(&self.wish.key, headers))
        {
            // Its own answer, not the origin's, or one to another question.
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

    /// Tells the audience of the answer. It is given back if the body broke off before anybody was told.
    async fn take(&self, answered: Answered, audience: Audience) -> Option<Audience> {
        let now = answered.responded_at;
        let status = answered.response.status();
        if let Some(entry) = self.fallback(Failure::Status(status), now) {
            audience
                .tell_kept(Fetched::Stale(Arc::clone(&entry)), entry)
                .await;
            return None;
        }
        if let Some((entry, may_share)) = self.renewed(&answered, now) {
            let left_out = cache::left_out(&answered.seen(&self.wish), &self.wish.policy);
            let fetched = Fetched::Renewed(Arc::clone(&entry), left_out);
            match may_share {
                true => audience.tell_kept(fetched, entry).await,
                false => audience.tell(fetched, Landed::Unshared).await,
            }
            return None;
        }
        let why = match self.storable(&answered) {
            Ok((stored, tags)) => return self.fill(answered, (stored, tags), audience).await,
            Err(why) => why,
        };
        // An error says nothing of what comes after it.
        if status.as_u16() < 400 && is_of_the_resource(why) {
            self.core.parts.cache.fetch_solo(&self.flight_id, now, why);
        }
        self.core.cache_metrics().not_stored(why).increment();
        let landed = match status.is_server_error() && !self.wish.is_personal() {
            // One of those who wait tries again; the others do not fall on an origin that fails.
            true => Landed::Failed(Reason::SharedFetchFailed),
            false => Landed::Unshared,
        };
        audience
            .tell(Fetched::Own(Box::new(answered.response), why), landed)
            .await;
        None
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
}

/// Whether nobody else would get a response that is stored either.
fn is_of_the_resource(why: NotStored) -> bool {
    !matches!(
        why,
        NotStored::RequestNoStore | NotStored::Method | NotStored::Head | NotStored::Busy
    )
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
