//! Has cores fetch what will be asked for: at the start, by schedules, before it ends, and when somebody says so.
//!
//! Owns      what is asked for most, the turns of schedules, orders under way, the list on disk.
//! Receives  [`Configure`] from `config_agent`; [`Order`] from whoever wants something fetched; [`Save`] from a node
//!           that ends; its own tick, at which it takes what cores have counted.
//! Sends     jobs to cores (`run.rs`), events; says when the start's list was fetched.
//! Bound     64 messages; when full one is refused, and whoever sent it is told.
//! Restarts  with counts from nothing and schedules from their next turn, so that none runs twice. The start's list is
//!           fetched once in a process.
//!
//! A fetch goes the way of a client's request: through this node's routes, to the key's owner if that is another node,
//! so of all nodes that want something at the same time one asks the origin.

mod handle;
mod heat;
mod run;
mod saved;
mod start;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Actor, AsyncContext as _, Context, Handler, Message, ResponseFuture};
use tokio::sync::{mpsc, watch};
use weir_cache::Store;
use weir_core::vpn;
use weir_core::warming::{Asked, Timetable, TooManyRequests, Wanted, requests};

pub use self::handle::{CacheWarmerHandle, NotWarmed};
use self::heat::Heat;
pub use self::run::{Done, Tally};
use self::run::{Gate, Item, Run};
use self::saved::Saved;
use self::start::Start;
use crate::actors::config_agent::control_plane::LinkStatus;
use crate::config::{Config, WarmSettings, cached_hosts};
use crate::data_plane::answer::Reason;
use crate::data_plane::routing::Routing;
use crate::data_plane::warming::Warming;
use crate::events::Events;
use crate::link::{Carried, Link, Permits};
use crate::peers::Peers;
use crate::ports::clock::WallClock;
use crate::snapshot::Snapshot;
use crate::telemetry::cache::WarmSource;

/// Messages that may wait.
pub const MESSAGES_WAITING_MAX: usize = 64;
/// Between two looks at what is due.
const TICK: Duration = Duration::from_secs(1);
/// Between two times that the list on disk is written, if it is another one.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);
/// Orders under way at a time.
const ORDERS_MAX: usize = 4;
/// How long a schedule's fetches, or an order's, may take together.
const RUN_TIMEOUT: Duration = Duration::from_secs(600);
/// More than any lifetime: whatever is kept is fetched again.
const ANEW_S: u32 = 1 << 31;

/// What is fetched when.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Configure {
    /// As the configuration says.
    pub settings: WarmSettings,
}

impl Configure {
    /// The warming's part of a configuration.
    pub fn of(config: &Config) -> Self {
        let settings = config.cache.warm.clone();
        Self { settings }
    }
}

/// Somebody wants something fetched now.
#[derive(Message)]
#[rtype(result = "Result<usize, NotWarmed>")]
pub struct Order {
    pub(crate) wanted: Vec<Wanted>,
    /// Besides, what is asked for most.
    pub(crate) hot: bool,
    /// Told of each one that is done.
    pub(crate) told: mpsc::Sender<Done>,
}

/// As many orders are under way as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ORDERS_MAX} orders are under way already")]
pub struct Busy;

/// The node ends: what is asked for most is written to disk now.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct Save;

/// The ways to the actor.
#[derive(Clone)]
pub struct Links {
    pub(crate) configure: Link<Configure>,
    pub(crate) order: Link<Order>,
    pub(crate) save: Link<Save>,
}

impl Links {
    fn new() -> Self {
        let permits = Permits::new(MESSAGES_WAITING_MAX);
        Self {
            configure: Link::new(&permits),
            order: Link::new(&permits),
            save: Link::new(&permits),
        }
    }

    pub(crate) fn point_at(&self, life: &actix::Addr<CacheWarmer>) {
        self.configure.point_at(life);
        self.order.point_at(life);
        self.save.point_at(life);
    }
}

/// What the actor is made of.
#[derive(Clone)]
pub struct Parts {
    /// The cores, and what they count.
    pub warming: Warming,
    /// What is kept.
    pub store: Arc<Store<Reason>>,
    /// The routes, whose hosts paths are of.
    pub routing: Snapshot<Routing>,
    /// The other nodes.
    pub peers: Peers,
    /// No control plane tells of others.
    pub is_alone: bool,
    /// How the stream to the control plane is, which tells of them.
    pub control_plane: Snapshot<LinkStatus>,
    /// Wall-clock time.
    pub clock: WallClock,
    /// What happens.
    pub events: Events,
    /// Where the list is kept; nowhere without.
    pub folder: Option<PathBuf>,
    /// What holds, for whoever shows it.
    pub settings: Snapshot<WarmSettings>,
    /// True once the start's list was fetched, or given up.
    pub warm: Arc<watch::Sender<bool>>,
    /// The start has begun in an earlier life.
    pub has_begun: Arc<AtomicBool>,
}

impl Parts {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.unix_now().as_millis()).unwrap_or(u64::MAX)
    }

    /// What is wanted, as requests to this node's routes; too much of it is refused before it is made.
    fn items(&self, wanted: &[Wanted]) -> Result<Vec<Item>, TooManyRequests> {
        let routing = self.routing.load();
        let hosts = cached_hosts(&routing.table, &routing.routes);
        if hosts.is_empty() && wanted.iter().any(|one| matches!(one, Wanted::Path(_))) {
            let why =
                "paths are fetched on the hosts that routes with a cache name, and none names one";
            tracing::warn!(why, "paths are not fetched ahead");
        }
        let asked = requests(wanted, &hosts)?;
        Ok(asked.into_iter().map(Item::of).collect())
    }

    /// What the configuration lists. The routes of a moment may be others than those with which it was checked.
    fn listed(&self, wanted: &[Wanted], source: WarmSource) -> Vec<Item> {
        self.items(wanted).unwrap_or_else(|why| {
            tracing::warn!(source = source.name(), %why, "nothing is fetched ahead");
            Vec::new()
        })
    }

    fn publish(&self, settings: &WarmSettings) {
        let counts = settings.is_predictive || settings.hot_keys > 0;
        self.warming.board.want(counts);
        self.settings.publish(settings.clone());
    }
}

/// The actor.
pub struct CacheWarmer {
    parts: Parts,
    settings: WarmSettings,
    gate: Arc<Gate>,
    heat: Heat,
    timetable: Timetable,
    saved: Saved,
    /// One is held by each order under way.
    orders: Arc<()>,
    /// One is held by each refresh under way.
    refreshes: Arc<()>,
}

impl CacheWarmer {
    /// A life that has counted nothing.
    pub fn new(parts: Parts, configure: Configure) -> Self {
        let Configure { settings } = configure;
        parts.publish(&settings);
        let now_ms = parts.now_ms();
        Self {
            gate: Arc::new(Gate::new(&settings)),
            heat: Heat::new(&settings, now_ms),
            timetable: Timetable::new(&settings.schedules, now_ms),
            saved: Saved::new(parts.folder.as_deref()),
            orders: Arc::default(),
            refreshes: Arc::default(),
            settings,
            parts,
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now_ms = self.parts.now_ms();
        self.heat.take(self.parts.warming.board.take(), now_ms);
        if self.settings.is_predictive {
            self.refresh(now_ms);
        }
        for schedule in self.timetable.take_due(now_ms) {
            let alive = self.parts.peers.alive();
            let owner = vpn::owner(&format!("warm/{}", schedule.name()), &alive);
            if owner.is_some_and(|owner| *owner != *self.parts.peers.node()) {
                continue;
            }
            let wanted = match schedule.wanted.is_empty() {
                true => &self.settings.on_start,
                false => &schedule.wanted,
            };
            let items = self.parts.listed(wanted, WarmSource::Schedule);
            self.begin(items, WarmSource::Schedule);
        }
        ctx.run_later(TICK, Self::tick);
    }

    /// What is asked for often and ends soon is fetched anew, unless those before it fill the gate: more would only
    /// wait.
    fn refresh(&mut self, now_ms: u64) {
        let under_way = Arc::strong_count(&self.refreshes) - 1;
        if under_way >= self.settings.concurrent_max {
            return;
        }
        let rules = self.settings.rules;
        for due in self.heat.due(&rules, &self.parts.store, now_ms) {
            let run = self.run(vec![due.item], WarmSource::Predictive, due.min_fresh_s);
            let run = Run {
                within: due.within,
                ..run
            };
            let under_way = Arc::clone(&self.refreshes);
            tokio::task::spawn_local(async move {
                run.run(None).await;
                drop(under_way);
            });
        }
    }

    fn begin(&self, items: Vec<Item>, source: WarmSource) {
        if items.is_empty() {
            return;
        }
        let run = self.run(items, source, ANEW_S);
        let events = self.parts.events.clone();
        tokio::task::spawn_local(async move {
            run.run(None).await.tell(&events, source);
        });
    }

    fn run(&self, items: Vec<Item>, source: WarmSource, min_fresh_s: u32) -> Run {
        Run {
            desk: self.parts.warming.desk.clone(),
            gate: Arc::clone(&self.gate),
            source,
            items,
            min_fresh_s,
            within: RUN_TIMEOUT,
            tries: 1,
        }
    }

    /// What is asked for most, the first first, as far as it may be told.
    fn hottest(&mut self) -> Vec<Asked> {
        let now_ms = self.parts.now_ms();
        self.heat.hottest(self.settings.hot_keys, now_ms)
    }

    fn save(&mut self, ctx: &mut Context<Self>) {
        let hottest = self.hottest();
        tokio::task::spawn_local(self.saved.write(hottest));
        ctx.run_later(SAVE_INTERVAL, Self::save);
    }

    /// The first life in a process fetches what the configuration lists, then what was asked for most before.
    fn start_up(&mut self) {
        let list = self.saved.read(self.settings.hot_keys, &self.parts.events);
        self.heat.remember(list.clone(), self.parts.now_ms());
        if self.parts.has_begun.swap(true, Ordering::Relaxed) {
            return;
        }
        let hot = list.into_iter().map(Item::of).collect();
        let start = Start {
            parts: self.parts.clone(),
            wanted: self.settings.on_start.clone(),
            listed: self.run(Vec::new(), WarmSource::Start, 0),
            hot: self.run(hot, WarmSource::Hot, 0),
            within: self.settings.start_timeout,
        };
        tokio::task::spawn_local(start.warm());
    }
}

impl Actor for CacheWarmer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.start_up();
        ctx.run_later(TICK, Self::tick);
        ctx.run_later(SAVE_INTERVAL, Self::save);
    }
}

impl Handler<Carried<Configure>> for CacheWarmer {
    type Result = ();

    fn handle(&mut self, configure: Carried<Configure>, _: &mut Context<Self>) {
        configure.taken();
        let Configure { settings } = configure.message;
        self.parts.publish(&settings);
        let now_ms = self.parts.now_ms();
        self.heat.configure(&settings);
        self.timetable.change(&settings.schedules, now_ms);
        let bounds = |settings: &WarmSettings| (settings.concurrent_max, settings.rate_max);
        if bounds(&settings) != bounds(&self.settings) {
            // What is under way ends by the bounds under which it began.
            self.gate = Arc::new(Gate::new(&settings));
        }
        self.settings = settings;
    }
}

impl Handler<Carried<Order>> for CacheWarmer {
    type Result = Result<usize, NotWarmed>;

    fn handle(&mut self, order: Carried<Order>, _: &mut Context<Self>) -> Self::Result {
        let Order { wanted, hot, told } = order.message;
        if Arc::strong_count(&self.orders) > ORDERS_MAX {
            return Err(Busy.into());
        }
        let mut items = self.parts.items(&wanted)?;
        if hot {
            items.extend(self.hottest().into_iter().map(Item::of));
        }
        let count = items.len();
        let run = self.run(items, WarmSource::Order, ANEW_S);
        let (events, under_way) = (self.parts.events.clone(), Arc::clone(&self.orders));
        tokio::task::spawn_local(async move {
            let tally = run.run(Some(told)).await;
            tally.tell(&events, WarmSource::Order);
            drop(under_way);
        });
        Ok(count)
    }
}

impl Handler<Carried<Save>> for CacheWarmer {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Carried<Save>, _: &mut Context<Self>) -> Self::Result {
        let now_ms = self.parts.now_ms();
        self.heat.take(self.parts.warming.board.take(), now_ms);
        let hottest = self.hottest();
        Box::pin(self.saved.write(hottest))
    }
}
