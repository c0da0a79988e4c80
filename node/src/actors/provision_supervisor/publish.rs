//! What everyone else sees of the supervisor, and how its engines come into traffic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use weir_core::ids::{BackendId, ServiceName};
use weir_core::provision::Refusal;
use weir_core::vpn::Network;

use super::engines::loads;
use super::holds::Held;
use super::{EnginePlan, ProvisionSupervisor, breakers};
use crate::actors::config_agent::ConfigAgentHandle;
use crate::config::{Endpoints, EngineFacts, Give, ProvisionSettings, RegisteredBackend};
use crate::snapshot::Snapshot;

/// Between two tries to hand over the engines.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// One engine, as others see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineView {
    /// Its id, unique in the mesh.
    pub id: String,
    /// Its service.
    pub service: String,
    /// In one word.
    pub state: &'static str,
    /// `host:port` of what it serves.
    pub address: String,
    /// `process` or `docker`.
    pub driver: &'static str,
    /// Of its first process.
    pub pid: Option<u32>,
    /// Of its container.
    pub container_id: Option<String>,
    /// The VPN that it is behind.
    pub vpn: Option<String>,
    /// Where it serves.
    pub port: u16,
    /// Its further ports, by what they are for.
    pub extra_ports: BTreeMap<String, u16>,
    /// Its peer-to-peer port.
    pub p2p_port: Option<u16>,
    /// It has the VPN's forwarded port.
    pub is_forwarded: bool,
    /// When it came into its state, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// How often one of its id was started again here.
    pub restarts: u32,
    /// Requests that it served through this node.
    pub uses: u64,
    /// Those that run now.
    pub in_flight: u64,
    /// The name of the image that it was made from.
    pub image: String,
    /// What its image is.
    pub image_digest: Option<String>,
    /// Its image's name means another image by now.
    pub image_drifted: bool,
    /// Another engine would be started now.
    pub outdated: bool,
    /// Of its attempt.
    pub fence: u64,
    /// Why it is in its state.
    pub reason: String,
    /// The job that starts it is still open.
    pub has_job: bool,
}

/// How many engines a service has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    /// The service.
    pub service: String,
    /// In traffic, in the whole mesh.
    pub ready: u32,
    /// At least.
    pub min: u32,
    /// At most.
    pub max: u32,
    /// The node that decides.
    pub owner: String,
    /// `closed`, `open` or `half-open`, here.
    pub breaker: &'static str,
    /// Why none is provisioned here now.
    pub blocked: Option<Refusal>,
    /// Why a job that this node had was refused a moment ago.
    pub refused: Option<Refusal>,
}

/// The supervisor at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Engines of this node, by id.
    pub engines: Vec<EngineView>,
    /// Services that have engines, by name.
    pub services: Vec<ServiceView>,
    /// Service and id of what runs and may become an engine of this node.
    pub found: Vec<(String, String)>,
    /// Services of which it is known what runs here.
    pub listed: Vec<String>,
    /// Starts under way.
    pub in_flight: usize,
    /// Starts that wait.
    pub waiting: usize,
    /// The worst of all services: `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// Why the last job came to nothing.
    pub last_failure: Option<String>,
    /// Why nothing of any service is provisioned now.
    pub blocked: Option<Refusal>,
    /// What keeps engines from being started, or from being known, in words.
    pub problems: Vec<String>,
    /// The limits in force.
    pub limits: ProvisionSettings,
}

/// An engine that is in traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InTraffic {
    /// Its service.
    pub service: ServiceName,
    /// Its id.
    pub id: BackendId,
    /// Where it is.
    pub backend: RegisteredBackend,
}

/// Where the supervisor publishes; outlives its lives.
#[derive(Clone, Debug)]
pub struct Outlet {
    /// Everything, for people.
    pub picture: Snapshot<Picture>,
    /// Rises with each new picture.
    pub revision: Arc<watch::Sender<u64>>,
    /// Engines in traffic.
    pub in_traffic: Arc<watch::Sender<Arc<[InTraffic]>>>,
    /// Those that the load balancer has taken.
    pub given: Arc<watch::Sender<Arc<[InTraffic]>>>,
    /// What engines hold in the store, by id: it is kept while an actor that panicked begins its next life.
    held: Arc<watch::Sender<BTreeMap<String, Vec<Held>>>>,
    /// What services wait for of which this node decides how many engines they have.
    pub(super) waits: Arc<watch::Sender<BTreeMap<ServiceName, String>>>,
    /// Containers that are no VPN's and whose networks engines join, by name.
    pub(super) networks: Arc<watch::Sender<BTreeMap<String, Network>>>,
    /// How the node takes leave.
    pub leave: Arc<watch::Sender<Leave>>,
    /// Claims that were asked for or are in hand.
    claims: Arc<watch::Sender<usize>>,
    /// Lives that the actor has had.
    lives: Arc<AtomicU64>,
}

/// A claim that the store may believe to be this node's, until it is dropped.
#[derive(Debug)]
pub(crate) struct InHand(Arc<watch::Sender<usize>>);

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.send_modify(|claims| *claims -= 1);
    }
}

/// How far a node that stops has taken its engines back from other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leave {
    /// It does not stop.
    #[default]
    Stays,
    /// It stops: nothing new is started, and nobody else is to use its engines.
    Leaving,
    /// Nobody else is told of its engines any more.
    Left,
}

impl Default for Outlet {
    fn default() -> Self {
        Self {
            picture: Snapshot::new(Picture::default()),
            revision: Arc::new(watch::Sender::new(0)),
            in_traffic: Arc::new(watch::Sender::new(Arc::new([]))),
            given: Arc::new(watch::Sender::new(Arc::new([]))),
            waits: Arc::new(watch::Sender::new(BTreeMap::new())),
            networks: Arc::new(watch::Sender::new(BTreeMap::new())),
            leave: Arc::new(watch::Sender::new(Leave::Stays)),
            held: Arc::new(watch::Sender::new(BTreeMap::new())),
            claims: Arc::new(watch::Sender::new(0)),
            lives: Arc::default(),
        }
    }
}

impl Outlet {
    /// Shows a picture, if it is another than before.
    pub(super) fn show(&self, picture: Picture, in_traffic: Vec<InTraffic>) {
        self.in_traffic.send_if_modified(|before| {
            let is_other = **before != *in_traffic;
            if is_other {
                *before = in_traffic.into();
            }
            is_other
        });
        if *self.picture.load() != picture {
            self.picture.publish(picture);
            self.revision.send_modify(|revision| *revision += 1);
        }
    }

    /// The number of a life that begins.
    pub(super) fn next_life(&self) -> u64 {
        self.lives.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a claim until what is returned is dropped.
    pub(super) fn in_hand(&self) -> InHand {
        self.claims.send_modify(|claims| *claims += 1);
        InHand(Arc::clone(&self.claims))
    }

    /// Waits until no claim is in hand.
    pub(super) async fn nothing_in_hand(&self) {
        // The sender is part of this outlet: it cannot be gone.
        drop(
            self.claims
                .subscribe()
                .wait_for(|claims| *claims == 0)
                .await,
        );
    }

    /// Waits until the node takes leave.
    pub(super) async fn leaves(&self) {
        let mut leave = self.leave.subscribe();
        drop(leave.wait_for(|leave| *leave != Leave::Stays).await);
    }

    /// Keeps what an engine holds beyond this life of the actor.
    pub(super) fn keep(&self, engine: &str, held: &[Held]) {
        let (engine, held) = (engine.to_owned(), held.to_vec());
        self.held.send_modify(|all| drop(all.insert(engine, held)));
    }

    /// An engine is gone.
    pub(super) fn keep_no_longer(&self, engine: &str) {
        self.held.send_modify(|all| drop(all.remove(engine)));
    }

    /// What an engine holds, if an earlier life of the actor had it.
    pub(super) fn kept(&self, engine: &str) -> Option<Vec<Held>> {
        self.held.borrow().get(engine).cloned()
    }

    /// Waits until the load balancer has taken this engine.
    pub(super) async fn is_given(&self, engine: &str) {
        let has = |given: &Arc<[InTraffic]>| given.iter().any(|one| one.id.as_str() == engine);
        // The sender is part of this outlet: it cannot be gone.
        drop(self.given.subscribe().wait_for(has).await);
    }

    /// Whether the load balancer has this engine.
    pub(super) fn has_given(&self, engine: &str) -> bool {
        let given = self.given.borrow();
        given.iter().any(|one| one.id.as_str() == engine)
    }

    /// Waits until there is no such engine.
    pub(super) async fn is_gone(&self, engine: &str) {
        let mut revisions = self.revision.subscribe();
        let is_there = || {
            let picture = self.picture.load();
            picture.engines.iter().any(|one| one.id == engine)
        };
        // The sender is part of this outlet: it cannot be gone.
        while is_there() && revisions.changed().await.is_ok() {}
    }
}

/// Gives engines to the load balancer, again until it has taken the newest ones.
pub async fn give(outlet: Outlet, agent: ConfigAgentHandle) {
    let mut in_traffic = outlet.in_traffic.subscribe();
    loop {
        let engines = Arc::clone(&in_traffic.borrow_and_update());
        let mut endpoints = Endpoints::new();
        for engine in &*engines {
            let service = endpoints.entry(engine.service.clone()).or_default();
            service.insert(engine.id.clone(), engine.backend.clone());
        }
        match agent.take(Give::Engines(endpoints)).await {
            Ok(Ok(taken)) => {
                for note in taken
                    .notes
                    .iter()
                    .filter(|note| note.path.starts_with("engines."))
                {
                    tracing::warn!(
                        path = note.path,
                        note.message,
                        "an engine is left out of traffic"
                    );
                }
                outlet.given.send_replace(engines);
            }
            // Never refused by rule; whatever keeps it away passes.
            Ok(Err(_)) | Err(_) => {
                sleep(AGAIN_AFTER).await;
                continue;
            }
        }
        if in_traffic.changed().await.is_err() {
            return;
        }
    }
}

/// What the registry and the load balancer are told of an engine.
pub(super) fn backend(
    address: String,
    node: &str,
    vpn: Option<String>,
    is_forwarded: bool,
) -> RegisteredBackend {
    RegisteredBackend {
        address,
        weight: 1,
        zone: String::new(),
        priority: 0,
        engine: Some(EngineFacts {
            node: node.to_owned(),
            vpn,
            is_forwarded,
        }),
    }
}

impl ProvisionSupervisor {
    /// Shows what there is.
    pub(super) fn publish(&self) {
        let loads = loads(&self.parts.routing.load(), &self.plan);
        let engines = self.engines.all().map(|engine| {
            let id = engine.id();
            let mut view = engine.view(
                self.engines.restarts(&id),
                loads.get(&id).copied().unwrap_or_default(),
            );
            if view.reason.is_empty() {
                view.reason = self.why_it_stays(engine);
            }
            view
        });
        let now = Instant::now();
        let mut blocked_services = self.blocked_services(now);
        let blocked = self.blocked(&blocked_services);
        let problems = self.problems_in_words(blocked.as_ref(), &blocked_services, now);
        let picture = Picture {
            engines: engines.collect(),
            services: self
                .plan
                .services
                .values()
                .map(|plan| ServiceView {
                    blocked: blocked_services.remove(&plan.service),
                    refused: self.problems.refused(&plan.service, now).cloned(),
                    ..self.service_view(plan)
                })
                .collect(),
            found: self
                .findings
                .serving()
                .map(|(service, id)| (service.to_owned(), id.to_owned()))
                .collect(),
            listed: self
                .plan
                .services
                .values()
                .filter(|plan| self.findings.is_listed(plan.settings.launch.driver))
                .map(|plan| plan.service.to_string())
                .collect(),
            in_flight: self.gate.running().len(),
            waiting: self.gate.waiting().len(),
            breaker: breakers::name(self.breakers.worst(now.into_std())),
            last_failure: self.last_failure.clone(),
            problems,
            blocked,
            limits: self.limits(),
        };
        self.parts.outlet.show(picture, self.in_traffic());
    }

    /// The limits as each part holds them.
    fn limits(&self) -> ProvisionSettings {
        let (gate, breaker) = (self.gate.limits(), self.breakers.config());
        ProvisionSettings {
            concurrent_max: gate.concurrent_max,
            interval_min: gate.interval_min,
            breaker_failures: breaker.failures_max,
            breaker_window: breaker.window,
            breaker_recovery: breaker.open_for,
            ..self.plan.limits.clone()
        }
    }

    pub(super) fn service_view(&self, plan: &EnginePlan) -> ServiceView {
        let own = self
            .engines
            .all()
            .filter(|engine| engine.lot.service == plan.service.as_str());
        let own = own.filter(|engine| engine.care.is_published()).count();
        let in_force = self.parts.in_force.load();
        let registered = in_force.config.given().endpoints.get(&plan.service);
        let others = registered.into_iter().flatten().filter(|(_, backend)| {
            backend
                .engine
                .as_ref()
                .is_some_and(|engine| engine.node != self.parts.node)
        });
        let ran = (plan.service.clone(), plan.settings.launch.driver);
        ServiceView {
            service: plan.service.to_string(),
            ready: u32::try_from(own + others.count()).unwrap_or(u32::MAX),
            min: plan.settings.scale.min,
            max: plan.settings.scale.max,
            owner: self.parts.peers.owner_of_service(&plan.service),
            breaker: breakers::name(self.breakers.state(&ran, Instant::now().into_std())),
            blocked: None,
            refused: None,
        }
    }
}
