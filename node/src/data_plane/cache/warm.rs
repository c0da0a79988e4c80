//! What is fetched before anybody asks for it: as a client of no name would ask, on one of the cores.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::Empty;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use weir_cache::{Entry, FillReader, Found, Joined, Landed, Leader};
use weir_core::proxy::{Presence, address_value};
use weir_core::purge::Verdict;

use super::fetch::Fetched;
use super::look::{Look, Need};
use super::serve::Serving;
use super::warming::{WarmJob, Warmed};
use super::wish::Wish;
use crate::data_plane::answer::Reason;
use crate::data_plane::core::Core;
use crate::data_plane::facing::{Caller, Introduction};
use crate::data_plane::request::{Asked, admit};
use crate::data_plane::trace::{Fact, RequestTrace};
use crate::telemetry::cache::WarmOutcome;

/// Between two times that a core tells what it counted.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// How often one job joins the fetch of somebody else.
const JOINS_MAX: usize = 3;
/// Another core keeps what it fetched a moment after the last byte was read here.
const KEEP_WAIT: Duration = Duration::from_millis(10);

/// Does the jobs of a core, and tells what is asked for on it, until the core ends.
pub(in super::super) async fn warm(core: Rc<Core>) {
    let Some(mut jobs) = core.parts.warming.desk.take(core.index) else {
        return;
    };
    let mut ticks = interval(TELL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            job = jobs.recv() => {
                let Some((job, answer)) = job else {
                    return;
                };
                let core = Rc::clone(&core);
                tokio::task::spawn_local(async move {
                    let _ = answer.send(run(&core, &job).await);
                });
            }
            _ = ticks.tick() => core.hits.tell(),
        }
    }
}

async fn run(core: &Rc<Core>, job: &WarmJob) -> Warmed {
    let started = Instant::now();
    let trace = core
        .tracer
        .begin("cache.warm", &mut HeaderMap::new(), started, |_| true);
    let warmed = timeout(job.within, fetch(core, job, trace.as_ref())).await;
    let warmed = warmed.unwrap_or_else(|_| Warmed::failed("no answer in time"));
    core.cache_metrics()
        .warmed(job.source, warmed.outcome)
        .increment();
    if let Some(trace) = trace {
        trace.fact(Fact::Target(job.asked.target().clone()));
        trace.fact(Fact::Text("weir.warm.source", job.source.name()));
        trace.fact(Fact::Text("weir.warm.outcome", warmed.outcome.name()));
        let now = Instant::now();
        trace.ended((None, None), (now, Duration::ZERO));
    }
    warmed
}

/// Goes the way of a client's request, through the routes of this node and nowhere else.
async fn fetch(core: &Rc<Core>, job: &WarmJob, trace: Option<&RequestTrace>) -> Warmed {
    let limits = core.ingress();
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let caller = Caller {
        ip,
        ip_value: &address_value(ip),
        scheme: job.asked.scheme(),
        limits: &limits,
    };
    let Some(mut request) = request(job) else {
        return Warmed::failed("it is no request");
    };
    let asked = Asked {
        presence: Presence::of(request.headers()),
        grpc: false,
        upgrade: false,
    };
    let routed = match admit(core, &caller, &mut request, asked) {
        Ok(routed) => routed,
        Err(reason) => return Warmed::failed(reason.as_str()),
    };
    if !routed.is_introduced {
        let version = request.version();
        Introduction { caller, version }.write(core, request.headers_mut());
    }
    if routed.settings().cache.is_none() {
        return Warmed::not_kept(0, 0, "its route has no cache");
    }
    let wish = match Wish::of(&routed, &mut request, false, core) {
        Ok(wish) => wish.fresh_for(job.min_fresh_s),
        Err(why) => return Warmed::not_kept(0, 0, format!("it passes by: {}", why.name())),
    };
    if job
        .key
        .as_ref()
        .is_some_and(|key| **key != *wish.key.as_str())
    {
        return Warmed::not_kept(0, 0, "another route takes it now");
    }
    let mut serving = Serving {
        core,
        limits: &limits,
        routed: &routed,
        wish: Rc::new(wish),
        introduction: None,
        begun: Instant::now(),
        trace: trace.cloned(),
    };
    serving.warm().await
}

fn request(job: &WarmJob) -> Option<Request<Empty<Bytes>>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = job.asked.target().clone().into();
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(job.asked.authority()).ok()?);
    for (name, value) in job.asked.fields() {
        headers.append(name, value.clone());
    }
    Some(request)
}

impl Serving<'_> {
    async fn warm(&mut self) -> Warmed {
        let need = match self.look(self.core.unix_ms()) {
            Look::Answer(entry, _) => {
                return Warmed {
                    outcome: WarmOutcome::Fresh,
                    ..kept(&entry)
                };
            }
            Look::OnlyIfCached => return Warmed::failed("nothing is kept"),
            Look::Ask(need) => need,
        };
        self.fetch_or_join(need).await
    }

    async fn fetch_or_join(&self, need: Need) -> Warmed {
        let store = &self.core.parts.cache;
        let variant = need
            .stale
            .as_ref()
            .and_then(|(entry, _)| entry.stored.variant.as_ref());
        let id = self.wish.flight_id(variant.map(|variant| variant.key()));
        for _ in 0..JOINS_MAX {
            if let Some(why) = store.why_solo(&id, self.core.unix_ms()) {
                return Warmed::not_kept(0, 0, format!("the last answer was not kept: {why}"));
            }
            let follower = match store.flights.join(&store.since_purges(&id)) {
                Joined::Leader(leader) => match self.unless_landed(leader).await {
                    Ok(leader) => return self.fetch_ahead(id, need, leader).await,
                    Err(entry) => return kept(&entry),
                },
                Joined::Follower(follower) => follower,
                Joined::Full(_) => return Warmed::failed("too many wait for it"),
            };
            match follower.landed(false).await {
                Landed::Filling(fill) => match fill.read() {
                    Some(reader) => {
                        return self.read(reader.with(follower.into_interested())).await;
                    }
                    None => return Warmed::not_kept(fill.stored.status.as_u16(), 0, "too long"),
                },
                Landed::Kept(entry) => return self.is_there(&entry),
                Landed::Unshared => return Warmed::not_kept(0, 0, "the answer is not shared"),
                Landed::Failed(reason) => return Warmed::failed(reason.as_str()),
                Landed::Abandoned => {}
            }
        }
        Warmed::failed("who fetched it gave up")
    }

    async fn fetch_ahead(&self, id: Vec<u8>, need: Need, leader: Leader<Reason>) -> Warmed {
        let (first, fetched) = oneshot::channel();
        // A fetch ahead is wanted until it was read to its end, whatever clients of other fetches do.
        let _interested = leader.interested();
        let stale = (need.stale, need.asks_beneath);
        self.begin(Rc::clone(&self.wish), id, stale, leader, first);
        match fetched.await {
            Ok(fetched) => self.fetched(fetched).await,
            Err(_) => Warmed::failed("the fetch broke off"),
        }
    }

    async fn fetched(&self, fetched: Fetched) -> Warmed {
        match fetched {
            Fetched::Coming(reader, ..) => self.read(reader).await,
            Fetched::InRedis(entry) | Fetched::Renewed(entry, _) => self.is_there(&entry),
            Fetched::Stale(_) => Warmed::failed("the origin failed"),
            Fetched::Own(response, why) => {
                Warmed::not_kept(response.status().as_u16(), 0, why.to_string())
            }
            Fetched::Failed(reason) => Warmed::failed(reason.as_str()),
        }
    }

    /// Reads to the end, so that whoever waits for this knows that it is there.
    async fn read(&self, mut reader: FillReader) -> Warmed {
        let status = reader.fill().stored.status.as_u16();
        let mut bytes = 0;
        while let Some(piece) = poll_fn(|cx| reader.poll_piece(cx)).await {
            match piece {
                Ok(piece) => bytes += piece.len() as u64,
                Err(_) => {
                    return Warmed {
                        status,
                        bytes,
                        ..Warmed::failed("the body broke off")
                    };
                }
            }
        }
        if !self.is_kept() {
            sleep(KEEP_WAIT).await;
        }
        match self.is_kept() {
            true => Warmed::kept(status, bytes),
            false => Warmed::not_kept(status, bytes, "too long, or purged meanwhile"),
        }
    }

    fn is_kept(&self) -> bool {
        let store = &self.core.parts.cache;
        let now = self.core.unix_ms();
        let found = store.find(self.wish.key.as_str(), &self.wish.headers, now);
        matches!(found, Found::Entry(_, Verdict::Valid))
    }

    fn is_there(&self, entry: &Entry) -> Warmed {
        match self.is_kept() {
            true => kept(entry),
            false => Warmed {
                outcome: WarmOutcome::NotKept,
                why: "not stored any more, or purged meanwhile".to_owned(),
                ..kept(entry)
            },
        }
    }
}

fn kept(entry: &Entry) -> Warmed {
    Warmed::kept(entry.stored.status.as_u16(), entry.body_bytes)
}
