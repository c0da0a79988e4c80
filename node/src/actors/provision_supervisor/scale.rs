//! Decides how many engines each service has: on one node of the mesh for each service.
//!
//! Wishes go to the queue of jobs like anybody's; engines that are too many are stopped by the node that runs them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use weir_control_plane::jobs::{Error, JobQueue, State};
use weir_core::ids::{EngineId, ServiceName, VpnName};
use weir_core::provision::{Demand, EngineFacts, EngineStanding, Scaling, ScalingRules, VpnState};

use super::demand::{Due, Memory};
use super::handle::refusal;
use super::messages::{Look, Looked};
use super::publish::{EngineView, Leave, Outlet};
use super::waits::fleet_limit;
use super::{EnginePlan, Links, Plan, StopEngine, Wish, room, told, wishes};
use crate::actors::config_agent::InForce;
use crate::actors::port_cache::PortCacheHandle;
use crate::config::ProvisionSettings;
use crate::data_plane::WaitSignal;
use crate::data_plane::routing::Routing;
use crate::events::Events;
use crate::peers::{Loads, Peers};
use crate::snapshot::Snapshot;
use crate::telemetry::spans::Tracer;

/// Between two decisions.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two decisions that requests bring about by beginning to wait.
const WAITERS_INTERVAL: Duration = Duration::from_millis(250);
/// How long it is waited for what runs here to be known. Another node may start engines without.
const LISTED_WITHIN: Duration = Duration::from_secs(30);
/// Services whose loads are asked for at a time.
const SERVICES_AT_ONCE: usize = 4;

/// What decisions are made of.
pub struct Scale {
    /// This node.
    pub node: String,
    /// What is configured and registered.
    pub in_force: Snapshot<InForce>,
    /// Engines of this node.
    pub outlet: Outlet,
    /// Jobs under way.
    pub queue: Arc<dyn JobQueue>,
    /// The way to the supervisor.
    pub links: Links,
    /// The other nodes.
    pub peers: Peers,
    /// How VPNs are.
    pub ports: PortCacheHandle,
    /// What runs on backends.
    pub routing: Snapshot<Routing>,
    /// Requests begin to wait on this node.
    pub wait_signal: WaitSignal,
    /// Where everything goes that happens.
    pub events: Events,
    /// Takes what wishes were spent on.
    pub tracer: Tracer,
}

/// Open jobs of a service.
#[derive(Default)]
struct OpenJobs {
    /// Their ids and keys.
    keys: BTreeMap<String, String>,
    /// Why one that is ready may not begin because of others in the mesh, if so.
    fleet: Option<String>,
}

impl Scale {
    /// Decides until the node ends.
    pub async fn run(self) {
        let mut memory: BTreeMap<ServiceName, Memory> = BTreeMap::new();
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut problem = String::new();
        let mut waiters_not_before = Instant::now();
        loop {
            let begin_to_wait = async {
                sleep_until(waiters_not_before).await;
                self.wait_signal.given().await;
            };
            let due = tokio::select! {
                _ = ticks.tick() => Due::Tick,
                () = begin_to_wait => Due::Waiters,
            };
            waiters_not_before = Instant::now() + WAITERS_INTERVAL;
            if *self.outlet.leave.borrow() != Leave::Stays {
                return;
            }
            let plan = Plan::of(&self.in_force.load().config);
            let problem_now = self.decide_all(&plan, &mut memory, due).await;
            self.tell_waits(&memory);
            let problem_now = problem_now.err().unwrap_or_default();
            if problem_now != problem && !problem_now.is_empty() {
                tracing::warn!(why = problem_now, "engines are not scaled");
            }
            problem = problem_now;
        }
    }

    /// Tells people for what engines wait.
    fn tell_waits(&self, memory: &BTreeMap<ServiceName, Memory>) {
        let waits = memory
            .iter()
            .filter_map(|(service, memory)| Some((service.clone(), memory.waits.clone()?)));
        let waits: BTreeMap<ServiceName, String> = waits.collect();
        self.outlet.waits.send_if_modified(|before| {
            let is_other = *before != waits;
            *before = waits;
            is_other
        });
    }

    /// One decision for each service that this node decides for.
    async fn decide_all(
        &self,
        plan: &Plan,
        memory: &mut BTreeMap<ServiceName, Memory>,
        due: Due,
    ) -> Result<(), String> {
        let is_ours = |service: &ServiceName| self.peers.owner_of_service(service) == self.node;
        memory.retain(|service, _| plan.services.contains_key(service) && is_ours(service));
        let mut ours = Vec::new();
        for (service, engines) in plan.services.iter().filter(|(service, _)| is_ours(service)) {
            let memory = memory.entry(service.clone()).or_default();
            let since = *memory.since.get_or_insert_with(Instant::now);
            let is_listed = self.is_listed(service) || since.elapsed() >= LISTED_WITHIN;
            if is_listed && (due == Due::Tick || self.own_loads(service).waiting > 0) {
                ours.push(engines);
            }
        }
        if ours.is_empty() {
            return Ok(());
        }
        let loads = ours.iter().map(async |engines| {
            let own = self.own_loads(&engines.service);
            match due {
                Due::Tick => self.peers.loads(&engines.service, own).await,
                // Those that wait here need nobody's word.
                Due::Waiters => Loads {
                    complete: false,
                    ..own
                },
            }
        });
        let loads: Vec<Loads> = stream::iter(loads)
            .buffered(SERVICES_AT_ONCE)
            .collect()
            .await;
        let mut open = self.open_jobs(&plan.limits).await?;
        let mut decided = Ok(());
        for (engines, loads) in ours.into_iter().zip(loads) {
            let open = open.remove(engines.service.as_str()).unwrap_or_default();
            let memory = memory.entry(engines.service.clone()).or_default();
            let done = self
                .decide(plan, engines, (memory, due), (&loads, &open))
                .await;
            decided = decided.and(done);
        }
        decided
    }

    async fn decide(
        &self,
        plan: &Plan,
        engines: &EnginePlan,
        (memory, due): (&mut Memory, Due),
        (loads, open): (&Loads, &OpenJobs),
    ) -> Result<(), String> {
        let telling = (&self.events, &self.tracer);
        memory
            .fleet
            .look(open.fleet.as_deref(), &engines.service, telling);
        memory.waits.clone_from(&open.fleet);
        let open = &open.keys;
        let now = Instant::now();
        let begin_to_wait = memory.demand.look(loads, now);
        if begin_to_wait {
            told::waits(&self.events, &engines.service, loads.waiting);
        }
        let demand = memory.demand.now();
        let may_start = memory.vpns.is_over(engines, &self.ports, now);
        let mut facts = self.facts(&engines.service, &loads.in_flight, memory, now);
        let known = facts
            .iter()
            .filter(|fact| !matches!(fact.standing, EngineStanding::Leaving))
            .count();
        let is_nothing = known + open.len() == 0;
        let is_asleep = memory.missing.is_asleep(is_nothing, INTERVAL, now);
        facts.extend(open.keys().map(|job| EngineFacts {
            id: EngineId::from(job.as_str()),
            standing: EngineStanding::Starting,
            in_flight: 0,
            vpn: None,
            forwarded: false,
        }));
        match memory
            .scaler
            .decide(&rules(engines), &facts, demand, now.into_std())
        {
            Scaling::Start(missing) if may_start => {
                // An engine of another node is seen a moment after its job is done: missing is what is missing twice.
                let lasting = memory.missing.lasting(missing, due);
                let at_once = is_asleep && begin_to_wait;
                let lasting = if at_once { missing } else { lasting };
                let wanted = known + open.len() + lasting;
                let keys = unused_keys(&engines.service, open, lasting);
                let started = self.start(plan, engines, keys, (wanted, demand)).await;
                if at_once {
                    // A busy supervisor asks for it by itself a moment later.
                    let _ = self.links.looked.offer(Looked(Look::JobAdded));
                }
                return self.wished(started, plan, engines, memory);
            }
            Scaling::Start(_) | Scaling::Keep => {}
            // Who did not answer may have work for them.
            Scaling::Stop(_) if !loads.complete => {}
            Scaling::Stop(surplus) => {
                for engine in surplus {
                    self.stop(engine.as_str()).await;
                }
            }
        }
        memory.missing.none();
        Ok(())
    }

    /// Takes note of what became of wishes.
    fn wished(
        &self,
        wished: Result<(), Error>,
        plan: &Plan,
        engines: &EnginePlan,
        memory: &mut Memory,
    ) -> Result<(), String> {
        memory
            .queue
            .look(&wished, engines, &plan.limits, &self.events);
        if let Err(error @ Error::Full { .. }) = &wished {
            memory.waits = Some(refusal(error, &plan.limits).message);
        }
        wished.map_err(|error| error.to_string())
    }

    fn is_up(&self, vpn: &str) -> bool {
        let known = self.ports.vpn(vpn);
        known.is_some_and(|known| known.state == VpnState::Stable)
    }

    /// What an engine of this node counts as; `None` for one whose job is counted.
    fn standing(&self, engine: &EngineView) -> Option<EngineStanding> {
        let vpn_is_up = engine.vpn.as_ref().is_none_or(|vpn| self.is_up(vpn));
        match engine.state {
            "ready" => Some(EngineStanding::Ready { idle_since: None }),
            "unhealthy" => Some(EngineStanding::Unhealthy),
            "starting" | "probing" if engine.has_job => None,
            "starting" | "probing" => Some(EngineStanding::Starting),
            // Its VPN is back: with its next probe it is, too.
            "hidden" if vpn_is_up => Some(EngineStanding::Starting),
            _ => Some(EngineStanding::Leaving),
        }
    }

    /// Whether it is known what of a service runs here.
    fn is_listed(&self, service: &ServiceName) -> bool {
        let picture = self.outlet.picture.load();
        picture.listed.iter().any(|known| known == service.as_str())
    }

    /// What runs on the backends of this service through this node.
    fn own_loads(&self, service: &ServiceName) -> Loads {
        let routing = self.routing.load();
        let Some(service) = routing.service(service) else {
            return Loads::default();
        };
        let backends = service.backends.iter().map(|view| &view.backend);
        Loads {
            in_flight: backends
                .clone()
                .map(|backend| (backend.id.to_string(), backend.load.in_flight()))
                .collect(),
            requests: backends
                .map(|backend| (backend.id.to_string(), backend.load.requests()))
                .collect(),
            waiting: service.metrics.waiting(),
            complete: true,
        }
    }

    /// Jobs that will make engines, by service.
    async fn open_jobs(
        &self,
        limits: &ProvisionSettings,
    ) -> Result<BTreeMap<String, OpenJobs>, String> {
        let listed = room::all_open_jobs(&self.queue).await;
        let listed = listed.map_err(|error| error.to_string())?;
        let fleet = fleet_limit(&listed, limits, self.events.unix_ms_now());
        let mut open: BTreeMap<String, OpenJobs> = BTreeMap::new();
        for job in listed {
            let is_ready = job.state() == State::Ready;
            if let Some(spec) = job.spec {
                let of_service = open.entry(spec.service).or_default();
                if is_ready {
                    of_service.fleet.clone_from(&fleet);
                }
                of_service.keys.insert(job.job_id, job.idempotency_key);
            }
        }
        Ok(open)
    }

    /// Engines of this service on every node.
    fn facts(
        &self,
        service: &ServiceName,
        in_flight: &BTreeMap<String, u64>,
        memory: &mut Memory,
        now: Instant,
    ) -> Vec<EngineFacts> {
        let picture = self.outlet.picture.load();
        let own = picture
            .engines
            .iter()
            .filter(|engine| engine.service == service.as_str());
        let in_force = self.in_force.load();
        let registered = in_force.config.given().endpoints.get(service);
        let others = registered
            .into_iter()
            .flatten()
            .filter_map(|(id, backend)| {
                let facts = backend
                    .engine
                    .as_ref()
                    .filter(|facts| facts.node != self.node)?;
                Some((
                    id.to_string(),
                    EngineStanding::Ready { idle_since: None },
                    facts.vpn.clone(),
                    facts.is_forwarded,
                ))
            });
        let own = own.filter_map(|engine| {
            Some((
                engine.id.clone(),
                self.standing(engine)?,
                engine.vpn.clone(),
                engine.is_forwarded,
            ))
        });
        let found = picture.found.iter();
        let found = found
            .filter(|(of, _)| of == service.as_str())
            .map(|(_, id)| (id.clone(), EngineStanding::Starting, None, false));
        let mut facts: Vec<EngineFacts> = Vec::new();
        for (id, standing, vpn, forwarded) in own.chain(others).chain(found) {
            // What another node has registered may be seen running here as well.
            if facts.iter().any(|known| known.id.as_str() == id) {
                continue;
            }
            let runs = in_flight.get(&id).copied().unwrap_or_default();
            let idle_since = match runs {
                0 => Some(*memory.idle_since.entry(id.clone()).or_insert(now)),
                _ => {
                    memory.idle_since.remove(&id);
                    None
                }
            };
            let standing = match standing {
                EngineStanding::Ready { .. } => EngineStanding::Ready {
                    idle_since: idle_since.map(Instant::into_std),
                },
                other => other,
            };
            facts.push(EngineFacts {
                id: EngineId::from(id.as_str()),
                standing,
                in_flight: u32::try_from(runs).unwrap_or(u32::MAX),
                vpn: vpn.as_deref().map(VpnName::from),
                forwarded,
            });
        }
        let is_there = |id: &String| facts.iter().any(|fact| fact.id.as_str() == id);
        memory.idle_since.retain(|id, _| is_there(id));
        facts
    }

    async fn start(
        &self,
        plan: &Plan,
        engines: &EnginePlan,
        keys: Vec<String>,
        (wanted, demand): (usize, Demand),
    ) -> Result<(), Error> {
        let reason = match demand.waiting {
            0 => format!("{wanted} engines are wanted"),
            waiting => format!("{wanted} engines are wanted, {waiting} requests wait"),
        };
        for key in keys {
            let wish = Wish {
                service: engines.service.clone(),
                key,
                reason: reason.clone(),
                engines_wanted: Some(wanted),
                trace: None,
            };
            let telling = (&self.events, &self.tracer);
            wishes::enqueue(&self.queue, wish, &plan.limits, telling).await?;
        }
        Ok(())
    }

    async fn stop(&self, engine: &str) {
        let stop = StopEngine {
            engine: engine.to_owned(),
            now: false,
            reason: "more engines than the service needs".to_owned(),
        };
        if self
            .outlet
            .picture
            .load()
            .engines
            .iter()
            .any(|own| own.id == engine)
        {
            // A busy supervisor is asked again with the next decision.
            let _ = self.links.stop.offer(stop);
            return;
        }
        let in_force = self.in_force.load();
        let registered = in_force.config.given().endpoints.values().flatten();
        let node = registered
            .filter(|(id, _)| id.as_str() == engine)
            .find_map(|(_, backend)| backend.engine.as_ref().map(|facts| facts.node.clone()));
        if let Some(node) = node
            && let Err(why) = self.peers.stop_engine(&node, engine, false).await
        {
            tracing::warn!(engine, node, why, "an engine too many is not stopped");
        }
    }
}

/// The first keys that no open job has. Two nodes that both take themselves for the owner wish with the same ones.
fn unused_keys(
    service: &ServiceName,
    open: &BTreeMap<String, String>,
    count: usize,
) -> Vec<String> {
    let used: BTreeSet<&str> = open.values().map(String::as_str).collect();
    let keys = (1_usize..).map(|number| format!("scale:{service}:{number}"));
    keys.filter(|key| !used.contains(key.as_str()))
        .take(count)
        .collect()
}

fn rules(engines: &EnginePlan) -> ScalingRules {
    let scale = &engines.settings.scale;
    ScalingRules {
        engines_min: scale.min as usize,
        engines_max: scale.max as usize,
        engines_free: scale.free as usize,
        streams_max: scale.streams_max,
        burst_max: scale.burst_max as usize,
        idle_grace: scale.idle_grace,
        scale_down_cooldown: scale.down_cooldown,
    }
}
