//! From memory, past the cache, or by way of a fetch.

use std::rc::Rc;
use std::sync::Arc;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::Instant;
use weir_cache::{Entry, Joined, Leader};
use weir_core::cache::{self, CacheStatus, Fallback, Forwarded, NotStored, UnixMs};
use weir_core::surrogate::keep_from_cdns;

use super::super::answer::Reason;
use super::super::body::ResponseBody;
use super::super::connection::Client;
use super::super::core::Core;
use super::super::exchange::Exchange;
use super::super::facing::{Caller, Introduction};
use super::super::origin;
use super::super::request::{Refused, Routed};
use super::super::trace::{Fact, RequestTrace};
use super::super::waiting;
use super::answer::{Held, answer, mark, tell_key};
use super::fetch::{Audience, Fetch, Fetched};
use super::look::{Look, Need};
use super::peers::strip_told;
use super::wish::{PassBy, Wish};
use crate::config::Ingress;
use crate::telemetry::cache::Outcome;

/// A request to a route with a cache.
pub(in super::super) async fn serve(
    core: &Rc<Core>,
    client: &Client,
    routed: &Routed,
    mut request: Request<Incoming>,
    exchange: Box<Exchange>,
) -> Result<Response<ResponseBody>, Refused> {
    let is_hop = core.is_hop(client.peer.ip(), request.headers());
    let introduction = (!routed.is_introduced).then(|| Introduction {
        caller: Caller::of(client),
        version: request.version(),
    });
    match Wish::of(routed, &mut request, is_hop, core) {
        Ok(wish) => {
            let serving = Serving {
                core,
                limits: &client.limits,
                routed,
                wish: Rc::new(wish),
                introduction,
                begun: exchange.admitted.unwrap_or(exchange.started),
                trace: exchange.trace.clone(),
            };
            serving.serve(request, exchange).await
        }
        Err(_) if is_hop && waiting::is_needed(routed.service()) => Err(not_ready(exchange)),
        // On the heap, so that what memory answers carries nothing of it.
        Err(why) => {
            if let Some(introduction) = introduction {
                introduction.write(core, request.headers_mut());
            }
            Box::pin(pass_by(core, client, routed, request, exchange, why)).await
        }
    }
}

/// What a node is told that asks for a service without engines: it waits by itself for the first one, because it gives
/// this node less time than that may take.
fn not_ready(exchange: Box<Exchange>) -> Refused {
    Refused {
        reason: Reason::EngineNotReady,
        exchange,
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
    let mut response = origin::send(
        core,
        &client.limits,
        routed,
        request.map(Some),
        exchange,
        None,
    )
    .await?;
    strip_told(response.headers_mut());
    keep_from_cdns(response.headers_mut());
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

/// A request on its way through the cache.
pub(super) struct Serving<'a> {
    pub(super) core: &'a Rc<Core>,
    pub(super) limits: &'a Arc<Ingress>,
    pub(super) routed: &'a Routed,
    pub(super) wish: Rc<Wish>,
    /// What the wish does not say of its client yet. Only what is kept is looked for without it.
    pub(super) introduction: Option<Introduction<'a>>,
    pub(super) begun: Instant,
    /// Of whoever wants it.
    pub(super) trace: Option<RequestTrace>,
}

impl Serving<'_> {
    async fn serve(
        mut self,
        request: Request<Incoming>,
        exchange: Box<Exchange>,
    ) -> Result<Response<ResponseBody>, Refused> {
        let now = self.core.unix_ms();
        let need = match self.look(now) {
            Look::Answer(entry, outcome) => {
                let response = self.hit(entry, outcome, now, exchange);
                if let Some(wish) = Rc::into_inner(self.wish) {
                    self.core.give_back_key(wish.key);
                }
                return Ok(response);
            }
            Look::OnlyIfCached => {
                self.note(Outcome::OnlyIfCached);
                return Err(Refused {
                    reason: Reason::NotCached,
                    exchange,
                });
            }
            Look::Ask(need) => need,
        };
        if self.wish.is_hop && waiting::is_needed(self.routed.service()) {
            return Err(not_ready(exchange));
        }
        self.introduce();
        // On the heap, so that what memory answers carries nothing of it.
        Box::pin(self.ask(request, need, exchange)).await
    }

    /// Asks others than memory.
    async fn ask(
        self,
        request: Request<Incoming>,
        need: Need,
        exchange: Box<Exchange>,
    ) -> Result<Response<ResponseBody>, Refused> {
        let is_alone = self.wish.method == Method::HEAD || self.wish.lookup.is_unkept_part();
        let passes = need.stale.is_none() && is_alone;
        self.count_fetch();
        let answered = match passes {
            true => self.alone(request, need.forwarded, None, exchange).await,
            false => self.fetch(request, need, exchange).await,
        };
        answered.map(|mut response| {
            // What is kept has tags that are known.
            keep_from_cdns(response.headers_mut());
            response
        })
    }

    pub(super) fn hit(
        &self,
        entry: Arc<Entry>,
        outcome: Outcome,
        now: UnixMs,
        mut exchange: Box<Exchange>,
    ) -> Response<ResponseBody> {
        self.note(outcome);
        self.count(&entry);
        self.trace(&mut exchange, outcome);
        let ttl_s = entry.stored.ttl_s(now);
        // What was purged softly is stale before its time.
        let ttl_s = if outcome == Outcome::Hit {
            ttl_s
        } else {
            ttl_s.min(0)
        };
        let status = self.core.with_phrases(|phrases| phrases.hit(ttl_s));
        answer(&self.wish, Held::Whole(entry), status, now, exchange)
    }

    /// Fetches beside the answer, unless somebody does.
    pub(super) fn refresh(&mut self, entry: &Arc<Entry>) {
        self.introduce();
        let variant = entry.stored.variant.as_ref().map(|variant| variant.key());
        let wish = self.wish.anonymous();
        if !entry.stored.matches(&wish.headers) {
            // What depends on who asks is asked for by them alone.
            return;
        }
        let id = wish.flight_id(variant);
        let store = &self.core.parts.cache;
        if let Joined::Leader(leader) = store.flights.join(&store.since_purges(&id)) {
            let current = store.peek(wish.key.as_str(), &wish.headers);
            if current.is_some_and(|current| current.fetched_at > entry.fetched_at) {
                // Another flight landed between the look at memory and the join.
                return;
            }
            let fallback = Fallback {
                conditional: entry.stored.has_validator(),
                on_error_until: UnixMs::default(),
                disconnected_until: UnixMs::default(),
            };
            let Some(place) = leader.refreshing() else {
                self.core.cache_metrics().fetches_given_up.increment();
                return;
            };
            self.core.cache_metrics().refreshes.increment();
            let stale = (Some((Arc::clone(entry), fallback)), false);
            let mut fetch = self.prepare(Rc::new(wish), id, stale);
            fetch.trace = self.branch("cache.refresh");
            tokio::task::spawn_local(async move {
                let (first, _) = oneshot::channel();
                fetch.run(Audience { leader, first }).await;
                drop(place);
            });
        }
    }

    pub(super) fn begin(
        &self,
        wish: Rc<Wish>,
        flight_id: Vec<u8>,
        stale: (Option<(Arc<Entry>, Fallback)>, bool),
        leader: Leader<Reason>,
        first: oneshot::Sender<Fetched>,
    ) {
        let fetch = self.prepare(wish, flight_id, stale);
        tokio::task::spawn_local(fetch.run_while_wanted(Audience { leader, first }));
    }

    fn prepare(
        &self,
        wish: Rc<Wish>,
        flight_id: Vec<u8>,
        (stale, asks_beneath): (Option<(Arc<Entry>, Fallback)>, bool),
    ) -> Fetch {
        Fetch {
            core: Rc::clone(self.core),
            limits: Arc::clone(self.limits),
            routed: self.routed.clone(),
            wish,
            stale,
            asks_beneath,
            flight_id,
            l2_ttl: self.core.parts.cache.l2_ttl(),
            trace: self.branch("cache.fetch"),
        }
    }

    fn branch(&self, name: &'static str) -> Option<RequestTrace> {
        let trace = self.trace.as_ref()?;
        Some(trace.branch(name, Instant::now()))
    }

    /// The request as it is, for this client alone. `solo`: because others were of no use to anybody else; if this one
    /// might be, the next request is everybody's again.
    pub(super) async fn alone(
        &self,
        request: Request<Incoming>,
        forwarded: Forwarded,
        solo: Option<&[u8]>,
        mut exchange: Box<Exchange>,
    ) -> Result<Response<ResponseBody>, Refused> {
        self.note(Outcome::Alone);
        self.trace(&mut exchange, Outcome::Alone);
        let requested_at = self.core.unix_ms();
        let fetched_at = self.core.parts.cache.fetch_time(requested_at);
        let mut request = request.map(Some);
        request.headers_mut().clone_from(&self.wish.headers);
        if let Some(offer) = &self.wish.offer {
            offer.tell_origin(request.headers_mut());
        }
        let forwarded_request =
            origin::send(self.core, self.limits, self.routed, request, exchange, None);
        let mut response = forwarded_request.await?;
        strip_told(response.headers_mut());
        let why = solo.and_then(|_| self.why_not_for_all(&response, requested_at));
        if let (Some(id), None) = (solo, why) {
            self.core.parts.cache.fetch_shared(id);
        }
        if self.wish.method == Method::HEAD {
            self.heed_head(&response, requested_at, fetched_at);
        }
        let detail = why.map(|why| why.to_string());
        let status = CacheStatus {
            detail: detail.as_deref(),
            ..self.forwarded(forwarded)
        };
        mark(response.headers_mut(), &status);
        tell_key(&self.wish, response.headers_mut());
        Ok(response)
    }

    /// Why the answer would not have been kept for everybody.
    fn why_not_for_all(
        &self,
        response: &Response<ResponseBody>,
        requested_at: UnixMs,
    ) -> Option<NotStored> {
        cache::store(&self.seen(response, requested_at), &self.wish.policy).err()
    }

    /// The request of this client alone and its answer.
    pub(super) fn seen<'b>(
        &'b self,
        response: &'b Response<ResponseBody>,
        requested_at: UnixMs,
    ) -> cache::Exchange<'b> {
        cache::Exchange {
            method: &self.wish.method,
            path_and_query: self.wish.target.as_str(),
            request: &self.wish.headers,
            status: response.status(),
            response: response.headers(),
            requested_at,
            responded_at: self.core.unix_ms(),
        }
    }

    pub(super) fn forwarded(&self, why: Forwarded) -> CacheStatus<'_> {
        CacheStatus::forwarded(&self.core.parts.name, why)
    }

    pub(super) fn note(&self, outcome: Outcome) {
        self.core.cache_metrics().requests(outcome).increment();
    }

    pub(super) fn trace(&self, exchange: &mut Exchange, outcome: Outcome) {
        exchange.cache = outcome.name();
        if let Some(trace) = &exchange.trace {
            let step = trace.step("cache", self.begun);
            trace.tell(step, Fact::Text("weir.cache.outcome", outcome.name()));
            if let Some(tier) = outcome.tier() {
                trace.tell(step, Fact::Text("weir.cache.tier", tier));
            }
        }
    }
}
