//! What one data-plane thread owns.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use weir_broadcast::Shard;
use weir_cache::Store;
use weir_core::cache::{Key, Phrases, UnixMs};
use weir_core::logs::LinePace;
use weir_core::proxy::Via;

use super::answer::Reason;
use super::cache::warming::Warming;
use super::cache::{CachePeers, Hits};
use super::compress::Compressors;
use super::files::Files;
use super::leaving::Leaving;
use super::pool::BackendPool;
use super::routing::{Backend, LocalRouting, Routing, Service};
use super::stop::Stop;
use super::trace::CoreTracer;
use super::waiting::WaitSignal;
use crate::broadcast::Broadcast;
use crate::config::Ingress;
use crate::ports::clock::WallClock;
use crate::ports::net::Net;
use crate::snapshot::{Reader, Snapshot};
use crate::telemetry::access::{AccessLines, AccessSink};
use crate::telemetry::cache::CacheCoreMetrics;
use crate::telemetry::metrics::{CoreMetrics, NodeMetrics};
use crate::telemetry::spans::Tracer;

/// How often pools are tended: idle connections closed, missing ones opened, drained ones cut.
const TEND_INTERVAL: Duration = Duration::from_millis(250);

/// What every core is given.
#[derive(Clone, Debug)]
pub struct CoreParts {
    /// Routes, services and backends.
    pub routing: Snapshot<Routing>,
    /// The revision of `routing`; wakes at each change.
    pub revisions: watch::Receiver<u64>,
    /// Limits of client connections.
    pub ingress: Snapshot<Ingress>,
    /// Messages to many.
    pub broadcast: Broadcast,
    /// What is kept of answers.
    pub cache: Arc<Store<Reason>>,
    /// The nodes among which keys of the cache are shared out.
    pub cache_peers: Snapshot<CachePeers>,
    /// What cores are asked to fetch, and what they tell of what is asked for.
    pub warming: Warming,
    /// Says that requests begin to wait for an engine.
    pub wait_signal: WaitSignal,
    /// How backends are reached.
    pub net: Arc<dyn Net>,
    /// All counters of the node.
    pub metrics: NodeMetrics,
    /// Decides what is traced and takes the spans.
    pub tracer: Tracer,
    /// Takes lines of the access log.
    pub access_log: AccessSink,
    /// Wall-clock time.
    pub clock: WallClock,
    /// Says when clients shall leave, and when the node ends.
    pub stop: Stop,
    /// The node's name, as it stands in `Via`.
    pub name: Arc<str>,
}

/// One core's own state. Nothing in it is reached from another thread.
pub(super) struct Core {
    pub(super) index: usize,
    pub(super) parts: CoreParts,
    pub(super) via: Via,
    pub(super) leaving: Leaving,
    pub(super) compressors: Compressors,
    pub(super) files: Files,
    pub(super) hits: Hits,
    /// The subscribers of this core's connections.
    pub(super) shard: Option<Rc<Shard>>,
    has_broadcast: Cell<bool>,
    pub(super) tracer: Rc<CoreTracer>,
    pub(super) access_lines: AccessLines,
    routing: RefCell<Reader<Routing>>,
    newest: RefCell<LocalRouting>,
    ingress: RefCell<Reader<Ingress>>,
    cache_peers: RefCell<Reader<CachePeers>>,
    pools: RefCell<BTreeMap<u64, Rc<BackendPool>>>,
    phrases: RefCell<Phrases>,
    /// Of lines about slow requests, and since when it counts.
    slow_lines: Cell<LinePace>,
    began: Instant,
    /// Memory of the key that was looked up last.
    spare_key: Cell<String>,
    /// What clients asked for last.
    authority: RefCell<Rc<str>>,
    rng: RefCell<fastrand::Rng>,
}

impl Core {
    pub(super) fn new(index: usize, parts: CoreParts, seed: u64) -> Rc<Self> {
        Rc::new(Self {
            index,
            via: Via::new(&parts.name, Via::PASSES_MAX).expect("node names are tokens"),
            leaving: Leaving::default(),
            compressors: Compressors::default(),
            files: Files::new(),
            hits: Hits::new(&parts.warming),
            shard: parts.broadcast.shard(index),
            has_broadcast: Cell::new(takes_messages(&parts.routing.load())),
            tracer: CoreTracer::new(index, &parts.tracer, parts.clock, seed.rotate_left(32)),
            access_lines: AccessLines::new(&parts.access_log),
            routing: RefCell::new(parts.routing.reader()),
            newest: RefCell::new(LocalRouting::new(&parts.routing.load())),
            ingress: RefCell::new(parts.ingress.reader()),
            cache_peers: RefCell::new(parts.cache_peers.reader()),
            phrases: RefCell::new(Phrases::new(&parts.name)),
            slow_lines: Cell::default(),
            began: Instant::now(),
            spare_key: Cell::default(),
            authority: RefCell::default(),
            parts,
            pools: RefCell::default(),
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
        })
    }

    pub(super) fn routing(&self) -> LocalRouting {
        let mut reader = self.routing.borrow_mut();
        let published = reader.load();
        let mut newest = self.newest.borrow_mut();
        if !newest.is(published) {
            *newest = LocalRouting::new(published);
            self.has_broadcast.set(takes_messages(published));
        }
        newest.clone()
    }

    /// Whether subscribers come in on a route, as of the last look at [`Self::routing`].
    pub(super) fn has_broadcast(&self) -> bool {
        self.has_broadcast.get()
    }

    pub(super) fn ingress(&self) -> Arc<Ingress> {
        Arc::clone(self.ingress.borrow_mut().load())
    }

    /// Whether a request comes from another node that asks for a key which this one owns.
    pub(super) fn is_hop(&self, from: IpAddr, headers: &HeaderMap) -> bool {
        self.cache_peers.borrow_mut().load().is_hop(from, headers)
    }

    pub(super) fn cache_peers(&self) -> Arc<CachePeers> {
        Arc::clone(self.cache_peers.borrow_mut().load())
    }

    pub(super) fn metrics(&self) -> &CoreMetrics {
        self.parts.metrics.core(self.index)
    }

    pub(super) fn cache_metrics(&self) -> &CacheCoreMetrics {
        &self.metrics().cache
    }

    /// Wall-clock time as caches count it.
    pub(super) fn unix_ms(&self) -> UnixMs {
        let now = self.parts.clock.unix_now().as_millis();
        UnixMs(u64::try_from(now).unwrap_or(u64::MAX))
    }

    pub(super) fn with_rng<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.rng.borrow_mut())
    }

    pub(super) fn with_phrases<T>(&self, say: impl FnOnce(&mut Phrases) -> T) -> T {
        say(&mut self.phrases.borrow_mut())
    }

    /// Whether a line about a slow request may be written at `now`, and how many were left out since the last one.
    pub(super) fn may_tell_slow(&self, now: Instant) -> Option<u64> {
        let mut pace = self.slow_lines.get();
        let told = pace.take(now.saturating_duration_since(self.began));
        self.slow_lines.set(pace);
        if told.is_none() {
            self.metrics().slow_lines_left_out.increment();
        }
        told
    }

    /// Memory for the next key.
    pub(super) fn spare_key(&self) -> String {
        self.spare_key.take()
    }

    /// An authority; the next request is mostly for the same.
    pub(super) fn authority(&self, text: &str) -> Rc<str> {
        let mut last = self.authority.borrow_mut();
        if **last != *text {
            *last = text.into();
        }
        Rc::clone(&last)
    }

    /// A key that nobody needs any more.
    pub(super) fn give_back_key(&self, key: Key) {
        self.spare_key.set(key.into_text());
    }

    /// This core's connections to a backend, under the service's newest limits.
    pub(super) fn pool(&self, service: &Service, backend: &Backend) -> Rc<BackendPool> {
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(backend.serial).or_insert_with(|| {
            BackendPool::new(
                Arc::clone(&self.parts.net),
                backend.endpoint.clone(),
                service.settings.protocol,
                service.settings.pool,
                self.parts.metrics.clone(),
                self.index,
            )
        });
        pool.configure(service.settings.pool);
        Rc::clone(pool)
    }

    /// Tends the pools until the core ends.
    pub(super) async fn tend_pools(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(TEND_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.access_lines.hand_over();
            self.tend_once();
        }
    }

    fn tend_once(self: &Rc<Self>) {
        let routing = self.routing();
        let now = Instant::now();
        let mut known = BTreeMap::new();
        let peers = self.cache_peers();
        for peer in peers
            .routing()
            .services
            .iter()
            .flat_map(|peer| &peer.candidates)
        {
            known.insert(peer.serial, true);
        }
        for service in &routing.services {
            for view in &service.backends {
                let keep = view.cut_at.is_none_or(|cut_at| now < cut_at);
                known.insert(view.backend.serial, keep);
                if keep && view.standing.takes_work() {
                    self.tend_backend(service, &view.backend);
                }
            }
        }
        self.pools
            .borrow_mut()
            .retain(|serial, pool| match known.get(serial) {
                Some(true) => true,
                Some(false) => {
                    pool.cut();
                    true
                }
                None => {
                    pool.cut();
                    false
                }
            });
    }

    fn tend_backend(self: &Rc<Self>, service: &Service, backend: &Backend) {
        let has_pool = self.pools.borrow().contains_key(&backend.serial);
        if !has_pool && service.settings.pool.idle_min == 0 {
            return;
        }
        self.pool(service, backend)
            .tend(service.settings.timeouts.connect);
    }
}

fn takes_messages(routing: &Routing) -> bool {
    routing.routes.iter().any(|route| route.broadcast)
}
