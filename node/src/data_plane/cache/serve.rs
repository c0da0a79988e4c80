//! From memory, beside another's fetch, or by a fetch of one's own.

use std::rc::Rc;
use std::sync::Arc;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use weir_cache::{Entry, Follower, Found, Joined, Landed, Leader};
use weir_core::cache::{self, CacheStatus, Fallback, Forwarded, NotStored, Reuse, UnixMs};
use weir_core::purge::Verdict;

use super::super::answer::Reason;
use super::super::body::ResponseBody;
use super::super::connection::Client;
use super::super::core::Core;
use super::super::exchange::Exchange;
use super::super::forward;
use super::super::request::{Refused, Routed};
use super::answer::{Held, answer, mark};
use super::body::{CachedBody, Source};
use super::fetch::{Fetch, Fetched};
use super::wish::{PassBy, Wish};
use crate::config::Ingress;
use crate::telemetry::cache::Outcome;

/// How often one request joins a fetch of somebody else.
const JOINS_MAX: usize = 3;

/// A request to a route with a cache.
pub(in super::super) async fn serve(
    core: &Rc<Core>,
    client: &Client,
    routed: &Routed,
    mut request: Request<Incoming>,
    exchange: Box<Exchange>,
) -> Result<Response<ResponseBody>, Refused> {
    match Wish::of(routed, &mut request) {
        Ok(wish) => {
            let serving = Serving {
                core,
                limits: &client.limits,
                routed,
                wish: Rc::new(wish),
                begun: Instant::now(),
            };
            serving.serve(request, exchange).await
        }
        Err(why) => pass_by(core, client, routed, request, exchange, why).await,
    }
}

/// Sends the request past the cache; an unsafe one makes invalid what it changed (RFC 9111 section 4.4).
async fn pass_by(
    core: &Rc<Core>,
    client: &Client,
    routed: &Routed,
    mut request: Request<Incoming>,
    exchange: Box<Exchange>,
    why: PassBy,
) -> Result<Response<ResponseBody>, Refused> {
    core.cache_metrics().requests(Outcome::PassedBy).increment();
    let unsafe_method = (!request.method().is_safe()).then(|| request.method().clone());
    let uri = request.uri().clone();
    if let Some(offer) = &routed.offer {
        offer.tell_origin(request.headers_mut());
    }
    let mut response = forward::forward(
        core,
        &client.limits,
        routed,
        request.map(Some),
        exchange,
        None,
    )
    .await?;
    if let Some(method) = unsafe_method {
        super::invalidate::after(core, routed, &method, &uri, &response);
    }
    let forwarded = match why {
        PassBy::Request(cache::Bypass::Method) => Forwarded::Method,
        _ => Forwarded::Bypass,
    };
    let status = CacheStatus {
        detail: Some(why.name()),
        ..CacheStatus::forwarded(&core.parts.name, forwarded)
    };
    mark(response.headers_mut(), &status);
    Ok(response)
}

struct Serving<'a> {
    core: &'a Rc<Core>,
    limits: &'a Arc<Ingress>,
    routed: &'a Routed,
    wish: Rc<Wish>,
    begun: Instant,
}

/// What the origin is asked for, and why.
struct Need {
    forwarded: Forwarded,
    stale: Option<(Arc<Entry>, Fallback)>,
}

impl Serving<'_> {
    async fn serve(
        self,
        request: Request<Incoming>,
        exchange: Box<Exchange>,
    ) -> Result<Response<ResponseBody>, Refused> {
        let now = self.core.unix_ms();
        let need = match self.look(now) {
            Look::Answer(entry, outcome) => return Ok(self.hit(entry, outcome, now, exchange)),
            Look::OnlyIfCached => {
                self.note(Outcome::OnlyIfCached);
                return Err(Refused {
                    reason: Reason::NotCached,
                    exchange,
                });
            }
            Look::Ask(need) => need,
        };
        let passes = need.stale.is_none()
            && (self.wish.method == Method::HEAD || self.wish.lookup.has_range);
        if passes {
            return self.alone(request, need.forwarded, None, exchange).await;
        }
        self.fetch(request, need, exchange).await
    }

    /// What is kept, and whether it answers.
    fn look(&self, now: UnixMs) -> Look {
        let store = &self.core.parts.cache;
        let lookup = &self.wish.lookup;
        let (entry, verdict) = match store.find(self.wish.key.as_str(), &self.wish.headers, now) {
            Found::Entry(entry, verdict) => (entry, verdict),
            missing => {
                let forwarded = match missing {
                    Found::OtherVariants => Forwarded::VaryMiss,
                    _ => Forwarded::UriMiss,
                };
                return match cache::on_miss(lookup) {
                    Reuse::GatewayTimeout => Look::OnlyIfCached,
                    _ => Look::Ask(Need {
                        forwarded,
                        stale: None,
                    }),
                };
            }
        };
        let is_fresh = verdict == Verdict::Valid && now < entry.stored.fresh_until;
        let forwarded = if is_fresh {
            Forwarded::Request
        } else {
            Forwarded::Stale
        };
        match under_purges(cache::reuse(lookup, &entry.stored, now), verdict, &entry) {
            Reuse::Fresh => {
                let draw = self.core.with_rng(fastrand::Rng::f64);
                if cache::is_due(&entry.stored, 1.0, 1.0 - draw, now) {
                    self.refresh(&entry);
                }
                Look::Answer(entry, Outcome::Hit)
            }
            Reuse::Stale => Look::Answer(entry, Outcome::Stale),
            Reuse::StaleWhileRevalidate => {
                self.refresh(&entry);
                Look::Answer(entry, Outcome::Stale)
            }
            Reuse::Revalidate(fallback) => Look::Ask(Need {
                forwarded,
                stale: Some((entry, fallback)),
            }),
            Reuse::MustFetch => Look::Ask(Need {
                forwarded,
                stale: None,
            }),
            Reuse::GatewayTimeout => Look::OnlyIfCached,
        }
    }

    fn hit(
        &self,
        entry: Arc<Entry>,
        outcome: Outcome,
        now: UnixMs,
        mut exchange: Box<Exchange>,
    ) -> Response<ResponseBody> {
        self.note(outcome);
        self.trace(&mut exchange, outcome);
        let status = CacheStatus {
            ttl_s: Some(ttl_s(&entry, now)),
            ..CacheStatus::hit(&self.core.parts.name)
        };
        answer(&self.wish, Held::Whole(entry), &status, now, exchange)
    }

    /// Fetches beside the answer, unless somebody does.
    fn refresh(&self, entry: &Arc<Entry>) {
        let variant = entry.stored.variant.as_ref().map(|variant| variant.key());
        let id = self.wish.flight_id(variant);
        if let Joined::Leader(leader) = self.core.parts.cache.flights.join(&id) {
            let fallback = Fallback {
                conditional: entry.stored.has_validator(),
                on_error_until: UnixMs::default(),
                disconnected_until: UnixMs::default(),
            };
            self.core.cache_metrics().refreshes.increment();
            let (first, _) = oneshot::channel();
            self.begin(id, Some((Arc::clone(entry), fallback)), leader, first);
        }
    }

    fn begin(
        &self,
        flight_id: Vec<u8>,
        stale: Option<(Arc<Entry>, Fallback)>,
        leader: Leader<Reason>,
        first: oneshot::Sender<Fetched>,
    ) {
        let fetch = Fetch {
            core: Rc::clone(self.core),
            limits: Arc::clone(self.limits),
            routed: self.routed.clone(),
            wish: Rc::clone(&self.wish),
            stale,
            flight_id,
        };
        tokio::task::spawn_local(fetch.run(leader, first));
    }

    async fn fetch(
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
        let mut failed = None;
        for _ in 0..JOINS_MAX {
            if store.is_solo(&id, self.core.unix_ms()) {
                break;
            }
            let landed = match store.flights.join(&id) {
                Joined::Leader(leader) => return self.lead(id, need, leader, exchange).await,
                Joined::Follower(follower) => self.follow(follower).await,
                Joined::Full => break,
            };
            let held = match landed {
                Landed::Filling(fill) => fill.read().map(Held::Coming),
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
        self.alone(request, need.forwarded, None, exchange).await
    }

    /// The flight for requests like this one, now that it is known what responses depend on.
    fn id_of_variant(&self, stored: &cache::Stored) -> Option<Vec<u8>> {
        let by = stored.variant.as_ref()?.by();
        let key = by.secondary_key(&self.wish.headers)?;
        Some(self.wish.flight_id(Some(&key)))
    }

    async fn follow(&self, follower: Follower<Reason>) -> Landed<Reason> {
        // The fetch has its own limits; this one only says that nobody waits for ever.
        let timeouts = self.routed.service().settings.timeouts;
        let longest = 4 * (timeouts.connect + timeouts.send + timeouts.read);
        timeout(longest, follower.landed())
            .await
            .unwrap_or(Landed::Unshared)
    }

    async fn lead(
        &self,
        id: Vec<u8>,
        need: Need,
        leader: Leader<Reason>,
        mut exchange: Box<Exchange>,
    ) -> Result<Response<ResponseBody>, Refused> {
        let forwarded = need.forwarded;
        let (first, fetched) = oneshot::channel();
        self.begin(id, need.stale, leader, first);
        let fetched = fetched
            .await
            .unwrap_or(Fetched::Failed(Reason::BackendReset));
        let now = self.core.unix_ms();
        let status = self.forwarded(forwarded);
        let (held, outcome, status) = match fetched {
            Fetched::Coming(reader) => {
                let status = CacheStatus {
                    stored: true,
                    ..status
                };
                (Held::Coming(reader), Outcome::Miss, status)
            }
            Fetched::Renewed(entry) => {
                let status = CacheStatus {
                    forwarded_status: Some(304),
                    ttl_s: Some(ttl_s(&entry, now)),
                    ..status
                };
                (Held::Whole(entry), Outcome::Revalidated, status)
            }
            Fetched::Stale(entry) => {
                let status = CacheStatus {
                    ttl_s: Some(ttl_s(&entry, now)),
                    detail: Some("origin-failed"),
                    ..status
                };
                (Held::Whole(entry), Outcome::StaleIfError, status)
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
        Ok(answer(&self.wish, held, &status, now, exchange))
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
        answer(&self.wish, held, &status, self.core.unix_ms(), exchange)
    }

    fn failed(
        &self,
        reason: Reason,
        need: Need,
        exchange: Box<Exchange>,
    ) -> Result<Response<ResponseBody>, Refused> {
        let now = self.core.unix_ms();
        match need.stale {
            Some((entry, fallback)) if fallback.allows(cache::Failure::Disconnected, now) => {
                Ok(self.hit(entry, Outcome::StaleIfError, now, exchange))
            }
            _ => Err(Refused { reason, exchange }),
        }
    }

    /// The request as it is, for this client alone.
    async fn alone(
        &self,
        request: Request<Incoming>,
        forwarded: Forwarded,
        detail: Option<&str>,
        mut exchange: Box<Exchange>,
    ) -> Result<Response<ResponseBody>, Refused> {
        self.note(Outcome::Alone);
        self.trace(&mut exchange, Outcome::Alone);
        let mut request = request.map(Some);
        request.headers_mut().clone_from(&self.wish.headers);
        if let Some(offer) = &self.wish.offer {
            offer.tell_origin(request.headers_mut());
        }
        let forwarded_request =
            forward::forward(self.core, self.limits, self.routed, request, exchange, None);
        let mut response = forwarded_request.await?;
        let status = CacheStatus {
            detail,
            ..self.forwarded(forwarded)
        };
        mark(response.headers_mut(), &status);
        Ok(response)
    }

    fn forwarded(&self, why: Forwarded) -> CacheStatus<'_> {
        CacheStatus::forwarded(&self.core.parts.name, why)
    }

    fn note(&self, outcome: Outcome) {
        self.core.cache_metrics().requests(outcome).increment();
    }

    fn trace(&self, exchange: &mut Exchange, outcome: Outcome) {
        if let Some(trace) = &mut exchange.trace {
            let attributes = vec![("weir.cache.outcome", outcome.name().into())];
            self.core
                .with_rng(|rng| trace.step("cache", self.begun, attributes, rng));
        }
    }
}

enum Look {
    Answer(Arc<Entry>, Outcome),
    OnlyIfCached,
    Ask(Need),
}

/// What becomes of a reuse of something that was purged.
fn under_purges(reuse: Reuse, verdict: Verdict, entry: &Entry) -> Reuse {
    let stored = &entry.stored;
    let asked_first = |on_error_until, disconnected_until| {
        Reuse::Revalidate(Fallback {
            conditional: stored.has_validator(),
            on_error_until,
            disconnected_until,
        })
    };
    match (verdict, reuse) {
        (Verdict::Valid, reuse) => reuse,
        (_, Reuse::GatewayTimeout | Reuse::MustFetch) => reuse,
        (Verdict::Stale, Reuse::Fresh) if stored.fresh_until < stored.swr_until => {
            Reuse::StaleWhileRevalidate
        }
        (Verdict::Stale, Reuse::StaleWhileRevalidate | Reuse::Revalidate(_)) => reuse,
        (Verdict::Stale, _) => asked_first(stored.sie_until, stored.disconnected_until),
        (Verdict::Unsure | Verdict::Gone, _) => asked_first(UnixMs::default(), UnixMs::default()),
    }
}

fn ttl_s(entry: &Entry, now: UnixMs) -> i64 {
    let (until, now) = (entry.stored.fresh_until.unix_s(), now.unix_s());
    i64::try_from(until)
        .unwrap_or(i64::MAX)
        .saturating_sub(i64::try_from(now).unwrap_or(0))
}
