//! Beside the fetch of somebody else, or by a fetch of one's own.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::timeout;
use weir_cache::{Entry, FillReader, Follower, Joined, Landed, Leader, Turns};
use weir_core::cache::{self, CacheStatus, NotStored, Reuse, UnixMs};

use super::super::answer::Reason;
use super::super::body::ResponseBody;
use super::super::exchange::Exchange;
use super::super::request::Refused;
use super::answer::{Held, and_left_out, answer, in_words, mark, tell_key};
use super::answered::Answerer;
use super::body::{CachedBody, Source};
use super::fetch::Fetched;
use super::look::Need;
use super::serve::Serving;
use crate::telemetry::cache::Outcome;

/// How often one request joins a fetch of somebody else.
const JOINS_MAX: usize = 3;

impl Serving<'_> {
    /// Joins the fetch of somebody else, or leads one.
    pub(super) async fn fetch(
        &self,
        request: Request<Incoming>,
        need: Need,
        exchange: Box<Exchange>,
    ) -> Result<Response<ResponseBody>, Refused> {
        let store = &self.core.parts.cache;
        let variant = need
            .stale
            .as_ref()
            .and_then(|(entry, _)| entry.stored.variant.as_ref());
        let mut id = self.wish.flight_id(variant.map(|variant| variant.key()));
        let (mut failed, mut turns) = (None, None);
        for _ in 0..JOINS_MAX {
            if store.why_solo(&id, self.core.unix_ms()).is_some() {
                return self
                    .alone(request, need.forwarded, Some(&id), exchange)
                    .await;
            }
            let follower = match store.flights.join(&store.since_purges(&id)) {
                Joined::Leader(leader) => match self.unless_landed(leader).await {
                    Ok(leader) => return self.lead(id, need, leader, (request, exchange)).await,
                    Err(entry) => return Ok(self.collapsed(Held::Whole(entry), &need, exchange)),
                },
                Joined::Follower(follower) => follower,
                Joined::Full(of_flight) => {
                    turns = Some(of_flight);
                    break;
                }
            };
            turns = Some(follower.turns());
            let held = match self.follow(&follower).await {
                Landed::Filling(fill) => {
                    let reader = fill.read();
                    reader.map(|reader| Held::Coming(reader.with(follower.into_interested())))
                }
                Landed::Kept(entry) => Some(Held::Whole(entry)),
                Landed::Unshared => break,
                Landed::Failed(reason) => match failed.replace(reason) {
                    // Two fetches failed one after the other: the origin is not there for anybody.
                    Some(_) => return self.failed(reason, need, exchange),
                    None => continue,
                },
                Landed::Abandoned => continue,
            };
            match held {
                Some(held) if held.stored().matches(&self.wish.headers) => {
                    return Ok(self.collapsed(held, &need, exchange));
                }
                Some(held) => match self.id_of_variant(held.stored()) {
                    Some(own) => id = own,
                    None => break,
                },
                None => break,
            }
        }
        self.in_turn(turns, request, need, exchange).await
    }

    /// Lets `leader` lead, unless another flight landed between the look at memory and the join: memory answers then.
    pub(super) async fn unless_landed(
        &self,
        leader: Leader<Reason>,
    ) -> Result<Leader<Reason>, Arc<Entry>> {
        let (store, now) = (&self.core.parts.cache, self.core.unix_ms());
        let kept = store.peek(self.wish.key.as_str(), &self.wish.headers);
        let answers = |entry: &Arc<Entry>| {
            cache::reuse(&self.wish.lookup, &entry.stored, now) == Reuse::Fresh
                && !store.is_due_beneath(entry, now)
        };
        let Some(entry) = kept.filter(answers) else {
            return Ok(leader);
        };
        leader.land(Landed::Kept(Arc::clone(&entry))).await;
        Err(entry)
    }

    /// Alone, after waiting for others in vain.
    async fn in_turn(
        &self,
        turns: Option<Turns>,
        request: Request<Incoming>,
        need: Need,
        exchange: Box<Exchange>,
    ) -> Result<Response<ResponseBody>, Refused> {
        let turn = match turns {
            Some(turns) => match timeout(self.patience(), turns.mine()).await {
                Ok(turn) => turn,
                Err(_) => return self.failed(Reason::ReadTimeout, need, exchange),
            },
            None => None,
        };
        let answered = self.alone(request, need.forwarded, None, exchange).await;
        drop(turn);
        answered
    }

    /// The flight for requests like this one, now that it is known what responses depend on.
    fn id_of_variant(&self, stored: &cache::Stored) -> Option<Vec<u8>> {
        let by = stored.variant.as_ref()?.by();
        let key = by.secondary_key(&self.wish.headers)?;
        Some(self.wish.flight_id(Some(&key)))
    }

    async fn follow(&self, follower: &Follower<Reason>) -> Landed<Reason> {
        timeout(self.patience(), follower.landed(self.wish.is_hop))
            .await
            .unwrap_or(Landed::Unshared)
    }

    /// A fetch has its own limits; this one only says that nobody waits for ever.
    fn patience(&self) -> Duration {
        let timeouts = self.routed.service().settings.timeouts;
        4 * (timeouts.connect + timeouts.send + timeouts.read)
    }

    async fn lead(
        &self,
        id: Vec<u8>,
        need: Need,
        leader: Leader<Reason>,
        (request, mut exchange): (Request<Incoming>, Box<Exchange>),
    ) -> Result<Response<ResponseBody>, Refused> {
        let forwarded = need.forwarded;
        let (first, fetched) = oneshot::channel();
        let interested = leader.interested();
        let stale = (need.stale, need.asks_beneath);
        self.begin(Rc::clone(&self.wish), id, stale, leader, first);
        let fetched = fetched
            .await
            .unwrap_or(Fetched::Failed(Reason::BackendReset));
        let now = self.core.unix_ms();
        let status = self.forwarded(forwarded);
        let mut left_out = HeaderMap::new();
        let (held, outcome, status) = match fetched {
            Fetched::Coming(reader, from, fields) => {
                left_out = fields;
                self.coming(reader.with(Some(interested)), from, status, now)
            }
            Fetched::InRedis(entry) => {
                let status = CacheStatus {
                    ttl_s: Some(entry.stored.ttl_s(now)),
                    detail: Some("redis"),
                    ..CacheStatus::hit(&self.core.parts.name)
                };
                (Held::Whole(entry), Outcome::HitInRedis, status)
            }
            Fetched::Renewed(entry, fields) => {
                left_out = fields;
                let status = CacheStatus {
                    forwarded_status: Some(304),
                    ttl_s: Some(entry.stored.ttl_s(now)),
                    ..status
                };
                (Held::Whole(entry), Outcome::Revalidated, status)
            }
            Fetched::Stale(entry) => {
                let status = CacheStatus {
                    ttl_s: Some(entry.stored.ttl_s(now)),
                    detail: Some("origin-failed"),
                    ..status
                };
                (Held::Whole(entry), Outcome::StaleIfError, status)
            }
            Fetched::Own(response, _)
                if self.wish.lookup.has_range && response.status() == StatusCode::OK =>
            {
                // It is not kept, so the client had better get the part that it wants than the whole.
                drop(response);
                return self.alone(request, forwarded, None, exchange).await;
            }
            Fetched::Own(response, why) => {
                self.note(Outcome::Miss);
                self.trace(&mut exchange, Outcome::Miss);
                return Ok(self.own(*response, status, why, exchange));
            }
            Fetched::Failed(reason) => return Err(Refused { reason, exchange }),
        };
        self.note(outcome);
        self.trace(&mut exchange, outcome);
        let mut response = answer(&self.wish, held, in_words(&status), now, exchange);
        and_left_out(response.headers_mut(), left_out);
        Ok(response)
    }

    /// What is being fetched, or what another node had.
    fn coming<'s>(
        &'s self,
        reader: FillReader,
        from: Answerer,
        status: CacheStatus<'s>,
        now: UnixMs,
    ) -> (Held, Outcome, CacheStatus<'s>) {
        if from == (Answerer::Peer { hit: true }) {
            let status = CacheStatus {
                ttl_s: Some(reader.fill().stored.ttl_s(now)),
                detail: Some("peer"),
                ..CacheStatus::hit(&self.core.parts.name)
            };
            return (Held::Coming(reader), Outcome::HitAtPeer, status);
        }
        let status = CacheStatus {
            stored: true,
            detail: (from != Answerer::Origin).then_some("peer"),
            ..status
        };
        (Held::Coming(reader), Outcome::Miss, status)
    }

    fn own(
        &self,
        response: Response<ResponseBody>,
        status: CacheStatus<'_>,
        why: NotStored,
        mut exchange: Box<Exchange>,
    ) -> Response<ResponseBody> {
        let detail = why.to_string();
        let status = CacheStatus {
            detail: Some(&detail),
            ..status
        };
        exchange.answered(response.status());
        let (mut head, body) = response.into_parts();
        mark(&mut head.headers, &status);
        tell_key(&self.wish, &mut head.headers);
        let body = CachedBody::new(Source::Own(Box::new(body)), exchange);
        Response::from_parts(head, ResponseBody::cached(body))
    }

    fn collapsed(
        &self,
        held: Held,
        need: &Need,
        mut exchange: Box<Exchange>,
    ) -> Response<ResponseBody> {
        self.note(Outcome::Collapsed);
        self.trace(&mut exchange, Outcome::Collapsed);
        let status = CacheStatus {
            collapsed: true,
            ..self.forwarded(need.forwarded)
        };
        answer(
            &self.wish,
            held,
            in_words(&status),
            self.core.unix_ms(),
            exchange,
        )
    }

    fn failed(
        &self,
        reason: Reason,
        need: Need,
        exchange: Box<Exchange>,
    ) -> Result<Response<ResponseBody>, Refused> {
        let now = self.core.unix_ms();
        let failure = match reason {
            Reason::SharedFetchFailed => cache::Failure::Status(reason.status()),
            _ => cache::Failure::Disconnected,
        };
        match need.stale {
            Some((entry, fallback)) if fallback.allows(failure, now) => {
                Ok(self.hit(entry, Outcome::StaleIfError, now, exchange))
            }
            _ => Err(Refused { reason, exchange }),
        }
    }
}
