//! The engines of this node: what each one is, and what is done about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use weir_control_plane::jobs::Holder;
use weir_core::health::Check;
use weir_core::ids::{EngineId, ServiceName};
use weir_core::provision::{
    Care, CareRules, CareState, EndReason, Observation, Replacements, UsesElsewhere,
};
use weir_engines::driver::Running;

use super::elsewhere::Elsewhere;
use super::holds::Held;
use super::messages::{Look, Looked};
use super::plan::EnginePlan;
use super::publish::EngineView;
use super::runner::target;
use super::spec::{Lot, address};
use super::succession::Successor;
use super::{Links, Parts, Plan};
use crate::config::{DriverKind, ProvisionSettings};
use crate::data_plane::routing::Routing;
use crate::prober::{Target, probe};

/// A replacement that takes longer does not keep others waiting.
pub(super) const REPLACEMENT_LIMIT: std::time::Duration = std::time::Duration::from_secs(300);

/// One engine.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) lot: Lot,
    pub(super) running: Running,
    /// What runs it, whatever its service says by now.
    pub(super) driver: DriverKind,
    pub(super) plan: Arc<EnginePlan>,
    pub(super) care: Care,
    pub(super) address: String,
    /// The job that starts it, until it is ready.
    pub(super) job: Option<String>,
    /// Its slot, and its VPN's forwarded port if it has that.
    pub(super) held: Vec<Held>,
    /// The name of its image means another image by now.
    pub(super) has_drifted: bool,
    /// Another engine would be started now.
    pub(super) is_outdated: bool,
    /// A hold is being taken for it.
    pub(super) adopting: bool,
    pub(super) since: (CareState, u64),
    pub(super) why: String,
    probing: Option<Task>,
    /// Its successor is being started.
    pub(super) succession: Option<Successor>,
    /// For what it is to be replaced, and why nobody can take its place now.
    pub(super) waits: Option<(EndReason, String)>,
    /// What runs on it through other nodes, while it drains.
    pub(super) elsewhere: Option<Elsewhere>,
    /// Who was told to have its slot.
    pub(super) taken_by: Option<Holder>,
    uses_before: u64,
    requests_seen: u64,
    pub(super) uses_elsewhere: UsesElsewhere,
}

/// What runs on a backend through this node, and what ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) in_flight: u64,
    requests: u64,
}

/// The loads of every backend of services with engines, by id.
pub(super) fn loads(routing: &Routing, plan: &Plan) -> BTreeMap<String, Load> {
    let mut loads: BTreeMap<String, Load> = BTreeMap::new();
    let services = plan
        .services
        .keys()
        .filter_map(|name| routing.service(name));
    for view in services.flat_map(|service| &service.backends) {
        let load = loads.entry(view.backend.id.to_string()).or_default();
        load.in_flight += view.backend.load.in_flight();
        load.requests += view.backend.load.requests();
    }
    loads
}

/// Something that is done about an engine; ends when dropped.
#[derive(Debug)]
pub(super) struct Task(pub(super) AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Engines {
    by_id: BTreeMap<String, Engine>,
    restarts: BTreeMap<String, u32>,
    pub(super) replacements: BTreeMap<ServiceName, Replacements>,
}

impl Engine {
    pub(super) fn new(
        lot: Lot,
        running: Running,
        plan: Arc<EnginePlan>,
        care: Care,
        parts: &Parts,
        vpns: &Plan,
    ) -> Self {
        let vpn = lot.vpn.as_ref().and_then(|name| vpns.vpns.get(name));
        let state = care.state();
        Self {
            address: address(&lot, &running, &plan, vpn),
            driver: plan.settings.launch.driver,
            lot,
            running,
            plan,
            care,
            job: None,
            held: Vec::new(),
            has_drifted: false,
            is_outdated: false,
            adopting: false,
            since: (state, unix_ms(parts)),
            why: String::new(),
            probing: None,
            succession: None,
            waits: None,
            elsewhere: None,
            taken_by: None,
            uses_before: 0,
            requests_seen: 0,
            uses_elsewhere: UsesElsewhere::default(),
        }
    }

    pub(super) fn id(&self) -> String {
        self.lot.engine_id()
    }

    /// Probes it from now on, with what its plan says now.
    pub(super) fn probe(&mut self, parts: &Parts, plan: &Plan) {
        let vpn = self.lot.vpn.as_ref().and_then(|name| plan.vpns.get(name));
        let Ok(mut target) = target(&self.plan, &self.lot, vpn) else {
            return;
        };
        if let Ok(endpoint) = self.address.parse() {
            target.endpoint = endpoint;
        }
        // How it was probed is not known any more, and what the next one answers it need not.
        if self.awaits_renewal(plan) {
            target.check = Check::Tcp;
        }
        let (engine, fence) = (self.id(), self.running.fence);
        let interval = self.plan.settings.care.interval;
        let (net, links) = (Arc::clone(&parts.net), parts.links.clone());
        let task = tokio::task::spawn_local(async move {
            loop {
                tell_probe(&links, &engine, fence, &target, &*net).await;
                sleep(interval).await;
            }
        });
        self.probing = Some(Task(task.abort_handle()));
    }

    pub(super) fn no_more_probes(&mut self) {
        self.probing = None;
    }

    /// What rules its care.
    pub(super) fn rules(
        &self,
        limits: &ProvisionSettings,
        drain_timeout: std::time::Duration,
    ) -> CareRules {
        let care = &self.plan.settings.care;
        CareRules {
            readiness_timeout: care.ready_timeout,
            failures_max: care.failures_max,
            unhealthy_grace: care.unhealthy_grace,
            in_use_patience: care.in_use_patience,
            recycle_after_uses: self.uses_max(limits),
            outdated: self.is_to_be_renewed(),
            drain_timeout,
            vpn_lost_grace: Some(care.unhealthy_grace),
            stop_retry: self.plan.settings.launch.stop_timeout.saturating_mul(3),
        }
    }

    /// Uses after which it is replaced; 0 for any number.
    fn uses_max(&self, limits: &ProvisionSettings) -> u64 {
        let own = self.plan.settings.care.uses_max;
        own.unwrap_or(limits.uses_max)
    }

    /// What runs on it, and what ran.
    pub(super) fn used(&mut self, load: Load, is_given: bool) -> Observation {
        // A backend that left took its counters along, and counts anew when it is back.
        if load.requests < self.requests_seen {
            self.uses_before += self.requests_seen;
        }
        self.requests_seen = load.requests;
        // The load balancer hears a moment later that it is out of traffic, and until then may give it more.
        let least = u64::from(is_given && !self.care.is_published());
        let elsewhere = self.elsewhere.as_ref().map_or(0, |one| one.in_flight);
        let in_flight = load.in_flight.max(least) + elsewhere;
        Observation::Used {
            in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            uses: self.uses(),
        }
    }

    fn uses(&self) -> u64 {
        self.uses_before + self.requests_seen + self.uses_elsewhere.uses()
    }

    pub(super) fn view(&self, restarts: u32, load: Load) -> EngineView {
        EngineView {
            id: self.id(),
            service: self.lot.service.clone(),
            state: state_name(self.care.state(), self.care.is_published()),
            address: self.address.clone(),
            driver: self.driver.name(),
            pid: self.running.pid,
            container_id: self.running.container_id.clone(),
            vpn: self.lot.vpn.clone(),
            port: self.lot.port,
            extra_ports: self.lot.extra_ports.clone(),
            p2p_port: self.lot.p2p_port,
            is_forwarded: self.lot.is_forwarded,
            since_unix_ms: self.since.1,
            restarts,
            uses: self.uses(),
            in_flight: load.in_flight,
            image: self.running.image.clone().unwrap_or_default(),
            image_digest: self.running.image_digest.clone(),
            image_drifted: self.has_drifted,
            outdated: self.is_outdated,
            fence: self.running.fence,
            reason: self.why.clone(),
            has_job: self.job.is_some(),
        }
    }
}

impl Engines {
    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Engine> {
        self.by_id.get_mut(id)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Engine> {
        self.by_id.get(id)
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.by_id.keys().map(String::as_str)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Engine> {
        self.by_id.values()
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Engine> {
        self.by_id.values_mut()
    }

    /// Takes an engine in; an older life of the same id counts as a restart.
    pub(super) fn insert(&mut self, engine: Engine) {
        let id = engine.id();
        match self.restarts.get_mut(&id) {
            Some(restarts) => *restarts += 1,
            None => drop(self.restarts.insert(id.clone(), 0)),
        }
        self.by_id.insert(id, engine);
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Engine> {
        self.by_id.remove(id)
    }

    pub(super) fn restarts(&self, id: &str) -> u32 {
        self.restarts.get(id).copied().unwrap_or_default()
    }

    /// Services whose engines here are replaced after so many uses.
    pub(super) fn recycled(&self, limits: &ProvisionSettings) -> BTreeSet<ServiceName> {
        let recycled = self.all().filter(|engine| engine.uses_max(limits) > 0);
        recycled.map(|engine| engine.plan.service.clone()).collect()
    }

    pub(super) fn of_service_mut(
        &mut self,
        service: &ServiceName,
    ) -> impl Iterator<Item = &mut Engine> {
        let all = self.by_id.values_mut();
        all.filter(move |engine| engine.plan.service == *service)
    }

    /// Engines behind a VPN, and whether one has its port.
    pub(super) fn behind(&self, vpn: &str) -> (usize, bool) {
        let behind = self
            .all()
            .filter(|engine| engine.lot.vpn.as_deref() == Some(vpn));
        let counted =
            behind.filter(|engine| !is_leaving(engine.care.state()) && engine.job.is_none());
        counted.fold((0, false), |(count, led), engine| {
            (count + 1, led || engine.lot.is_forwarded)
        })
    }

    /// The job is over; an engine that it had not handed over is its own to clean up.
    pub(super) fn job_over(&mut self, job: &str) {
        self.by_id
            .retain(|_, engine| engine.job.as_deref() != Some(job));
    }

    /// The turns of a service's replacements.
    pub(super) fn turn(
        &mut self,
        engine: &EngineId,
        plan: &EnginePlan,
        now: Instant,
    ) -> weir_core::provision::Turn {
        let cooldown = plan.settings.care.replacement_cooldown;
        let turns = self.replacements.entry(plan.service.clone());
        let turns = turns.or_insert_with(|| Replacements::new(cooldown, REPLACEMENT_LIMIT));
        turns.set_times(cooldown, REPLACEMENT_LIMIT);
        turns.ask(engine, now.into_std())
    }
}

/// One probe, and the word of it.
async fn tell_probe(
    links: &Links,
    engine: &str,
    fence: u64,
    target: &Target,
    net: &dyn crate::ports::net::Net,
) {
    let result = probe(net, target).await;
    // A full or restarting supervisor misses one result; the next probe tells it again.
    let _ = links.looked.offer(Looked(Look::Probed {
        engine: engine.to_owned(),
        fence,
        result,
    }));
}

pub(super) fn unix_ms(parts: &Parts) -> u64 {
    u64::try_from(parts.clock.unix_now().as_millis()).unwrap_or(u64::MAX)
}

/// Whether it is on its way out.
pub(super) const fn is_leaving(state: CareState) -> bool {
    matches!(
        state,
        CareState::Draining { .. } | CareState::Stopping { .. } | CareState::Gone { .. }
    )
}

pub(super) fn state_name(state: CareState, is_published: bool) -> &'static str {
    match state {
        CareState::Starting => "starting",
        CareState::Probing => "probing",
        CareState::Ready if is_published => "ready",
        CareState::Ready => "hidden",
        CareState::Unhealthy { .. } => "unhealthy",
        CareState::Draining { .. } => "draining",
        CareState::Stopping { .. } => "stopping",
        CareState::Gone { .. } => "gone",
    }
}
