//! Which slot, port and VPN a job gets: choosing and taking is one step, and what is under way counts.

mod ports;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use weir_core::ids::{ServiceName, VpnName};
use weir_core::provision::{
    BreakerState, Placement, PoolName, Ports, Refusal, RefusalCode, Role, VpnFacts, VpnState, place,
};

use super::ProvisionSupervisor;
use super::engines::{Engine, is_leaving};
use super::messages::{Reserve, Reserved};
use super::plan::{EnginePlan, Plan};
use super::spec::{Lot, slot_of};

/// Slots that a job may try.
const SLOTS_OFFERED: usize = 16;
/// How long a slot is left alone whose container's name is a stranger's: to find that out costs a job a try.
const NAME_TAKEN_FOR: Duration = Duration::from_secs(600);

/// What jobs under way have taken.
#[derive(Debug)]
pub(super) struct Reservations {
    ports: Ports<Holder>,
    pending: BTreeMap<String, Pending>,
    elsewhere: u64,
    /// Engines whose containers' names are strangers', and until when that is believed.
    names_taken: BTreeMap<String, Instant>,
}

/// Who has a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Holder {
    Job(String),
    Engine(String),
    /// A further port of a job or an engine, and what for.
    JobAlso(String, String),
    EngineAlso(String, String),
    /// Somebody whom this node does not know, until then.
    Elsewhere(u64, Instant),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(job) => write!(f, "job {job}"),
            Self::Engine(engine) => write!(f, "engine {engine}"),
            Self::JobAlso(job, port) => write!(f, "job {job} ({port})"),
            Self::EngineAlso(engine, port) => write!(f, "engine {engine} ({port})"),
            Self::Elsewhere(..) => f.write_str("somebody else"),
        }
    }
}

/// Whether there is a place for the successor of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is one beside it.
    Now,
    /// Its own: there are as many engines as there may be.
    OnceItEnds,
}

/// A job under way.
#[derive(Clone, Debug)]
struct Pending {
    service: ServiceName,
    /// The slot that it holds, once it waits for its turn to start.
    slot: Option<u32>,
    vpn: Option<VpnName>,
    wants_forwarded: bool,
}

impl Reservations {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut reservations = Self {
            ports: Ports::default(),
            pending: BTreeMap::new(),
            elsewhere: 0,
            names_taken: BTreeMap::new(),
        };
        reservations.configure(plan);
        reservations
    }

    /// Takes new ranges; what is held stays held.
    pub(super) fn configure(&mut self, plan: &Plan) {
        self.ports
            .set_range(PoolName::Host, plan.limits.host_ports.clone());
        for vpn in plan.vpns.values() {
            let pool = PoolName::Vpn(VpnName::from(vpn.name.as_str()));
            self.ports.set_range(pool, vpn.ports.clone());
        }
    }

    /// The job took nothing with it.
    pub(super) fn job_over(&mut self, job: &str) {
        self.pending.remove(job);
        self.ports.retain(|holder| match holder {
            Holder::Job(of) | Holder::JobAlso(of, _) => of != job,
            _ => true,
        });
    }

    /// What the job had is the engine's now.
    pub(super) fn job_became(&mut self, job: &str, lot: &Lot) {
        self.job_over(job);
        self.engine_has(lot);
    }

    /// An engine that runs has these ports.
    pub(super) fn engine_has(&mut self, lot: &Lot) {
        let engine = lot.engine_id();
        let further = lot.extra_ports.iter();
        let further =
            further.map(|(name, port)| (Holder::EngineAlso(engine.clone(), name.clone()), *port));
        let all = std::iter::once((Holder::Engine(engine.clone()), lot.port)).chain(further);
        for (holder, port) in all {
            if let Err(taken) = self.ports.adopt(pool_of(lot.vpn.as_deref()), holder, port) {
                tracing::warn!(engine, port, by = %taken.holder, "two engines have one port");
            }
        }
    }

    /// The engine is gone.
    pub(super) fn engine_gone(&mut self, engine: &str) {
        self.ports.retain(|holder| match holder {
            Holder::Engine(of) | Holder::EngineAlso(of, _) => of != engine,
            _ => true,
        });
    }

    /// A job is under way.
    pub(super) fn is_anything_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The job holds this slot.
    pub(super) fn holds_slot(&mut self, job: &str, slot: u32) {
        if let Some(pending) = self.pending.get_mut(job) {
            pending.slot = Some(slot);
        }
    }

    /// Slots of a service that jobs under way hold.
    fn slots_held<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = u32> + 'a {
        let pending = self.pending.values().filter(|one| one.service == *service);
        pending.filter_map(|pending| pending.slot)
    }

    /// The job was to be behind one of these VPNs.
    fn is_behind_one_of(&self, job: &str, vpns: &BTreeSet<String>) -> bool {
        let vpn = self.pending.get(job).and_then(|job| job.vpn.as_ref());
        vpn.is_some_and(|vpn| vpns.contains(vpn.as_str()))
    }

    /// A job under way is to have this VPN's forwarded port.
    pub(super) fn wants_forwarded(&self, vpn: &str) -> bool {
        let mut pending = self.pending.values();
        pending.any(|pending| {
            pending.wants_forwarded
                && pending
                    .vpn
                    .as_ref()
                    .is_some_and(|name| name.as_str() == vpn)
        })
    }

    /// A container that is none of ours has the name that this engine's would have.
    pub(super) fn name_is_taken(&mut self, engine: String, now: Instant) {
        self.names_taken.insert(engine, now + NAME_TAKEN_FOR);
    }

    /// Gives up ports and names of others whose time is over.
    pub(super) fn tick(&mut self, now: Instant) {
        self.names_taken.retain(|_, until| *until > now);
        self.ports
            .retain(|holder| !matches!(holder, Holder::Elsewhere(_, until) if *until <= now));
    }

    /// Jobs under way, and ports that somebody here has.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        (self.pending.len(), self.ports.held())
    }
}

fn pool_of(vpn: Option<&str>) -> PoolName {
    vpn.map_or(PoolName::Host, |vpn| PoolName::Vpn(VpnName::from(vpn)))
}

impl ProvisionSupervisor {
    /// Slot, port and VPN for a job; `None` when the service has engines enough without.
    pub(super) fn reserve(&mut self, wanted: &Reserve) -> Result<Option<Reserved>, Refusal> {
        let now = Instant::now();
        let Reserve {
            job,
            service,
            other_port,
            engines_wanted,
            slots_after,
            full_vpns,
            other_extras,
        } = wanted;
        let holder = Holder::Job(job.clone());
        if engines_wanted.is_some_and(|wanted| self.engines_of(service) >= wanted) {
            return Ok(None);
        }
        if self.reservations.is_behind_one_of(job, full_vpns) {
            self.reservations.job_over(job);
        }
        let before = self.reservations.pending.get(job).cloned();
        if let (true, Some(before)) = (*other_port, &before) {
            let pool = pool_of(before.vpn.as_ref().map(VpnName::as_str));
            self.reservations.not_ours(&holder, &pool, now);
        }
        let placement = match before {
            Some(Pending {
                vpn,
                wants_forwarded,
                ..
            }) => vpn.map(|vpn| (vpn, wants_forwarded)),
            None => self
                .placed_behind_none_of(service, full_vpns)?
                .map(|placed| (placed.vpn, placed.role == Role::Leader)),
        };
        let (vpn, wants_forwarded) =
            placement.map_or((None, false), |(vpn, leads)| (Some(vpn), leads));
        let slots = match self.free_slots(service, *slots_after) {
            Err(_) if *slots_after > 0 => Vec::new(),
            slots => slots?,
        };
        let pool = pool_of(vpn.as_ref().map(VpnName::as_str));
        let port = self.reservations.port(&holder, &pool, now)?;
        let plan = self.plan.services.get(service);
        let names = plan.map_or(&[][..], |plan| plan.settings.launch.extra_ports.as_slice());
        let extra_ports =
            self.reservations
                .extra_ports((job, names), other_extras, (&pool, now))?;
        let pending = Pending {
            service: service.clone(),
            slot: None,
            vpn: vpn.clone(),
            wants_forwarded,
        };
        self.reservations.pending.insert(job.clone(), pending);
        let settings = vpn.and_then(|vpn| self.plan.vpns.get(vpn.as_str()).cloned());
        let places = settings.as_ref().map(|vpn| self.places(vpn));
        Ok(Some(Reserved {
            slots,
            port,
            extra_ports,
            vpn: settings,
            wants_forwarded,
            places: places.unwrap_or_default(),
        }))
    }

    /// Engines of a service in the whole mesh that are there to stay, without those that jobs are starting.
    fn engines_of(&self, service: &ServiceName) -> usize {
        let name = service.as_str();
        let own = self.engines.all().filter(|engine| {
            let stays = engine.job.is_none() && !is_leaving(engine.care.state());
            stays && engine.lot.service == name
        });
        let found = self.findings.serving().filter(|(of, _)| *of == name);
        let ids = own
            .map(Engine::id)
            .chain(found.map(|(_, id)| id.to_owned()));
        let given = self.parts.in_force.load();
        let registered = given.config.given().endpoints.get(service);
        let others = registered.into_iter().flatten().filter(|(_, backend)| {
            let facts = backend.engine.as_ref();
            facts.is_some_and(|facts| facts.node != self.parts.node)
        });
        let all: BTreeSet<String> = ids.chain(others.map(|(id, _)| id.to_string())).collect();
        all.len()
    }

    /// Whether the next engine of a service could be started here.
    pub(super) fn has_room(&self, service: &ServiceName) -> bool {
        let plan = self.plan.services.get(service);
        let is_known =
            plan.is_some_and(|plan| self.findings.is_listed(plan.settings.launch.driver));
        is_known && self.placed(service).is_ok() && self.free_slots(service, 0).is_ok()
    }

    /// The place for another engine in the stead of this one.
    ///
    /// # Errors
    /// Why none could be started now, whether this one ends or not.
    pub(super) fn room_for(&self, engine: &Engine, now: Instant) -> Result<Room, String> {
        let service = &engine.plan.service;
        let Some(plan) = self.plan.services.get(service) else {
            return Err("the service has no engines here any more".to_owned());
        };
        let driver = plan.settings.launch.driver;
        let ran = (service.clone(), driver);
        if let BreakerState::Open { .. } = self.breakers.state(&ran, now.into_std()) {
            return Err("too many starts failed, and none begins for a while".to_owned());
        }
        if !self.findings.is_listed(driver) || !self.problems.answers(driver) {
            return Err(format!("{} does not say what runs", driver.name()));
        }
        let behind_one_too_many = match self.placed(service) {
            Ok(_) => false,
            Err(refusal) => {
                let is_full = refusal.code == RefusalCode::MaxCapacity;
                if !is_full || !self.leaves_a_place(engine, plan) {
                    return Err(refusal.message);
                }
                true
            }
        };
        match behind_one_too_many || self.free_slots(service, 0).is_err() {
            true => Ok(Room::OnceItEnds),
            false => Ok(Room::Now),
        }
    }

    /// Whether the next engine may be behind the VPN that this one is behind.
    fn leaves_a_place(&self, engine: &Engine, plan: &EnginePlan) -> bool {
        let vpn = engine.lot.vpn.as_ref();
        let vpn = vpn.filter(|name| plan.settings.launch.vpns.contains(name));
        let vpn = vpn.and_then(|name| self.plan.vpns.get(name));
        vpn.is_some_and(|vpn| self.vpn_facts(vpn).state == VpnState::Stable)
    }

    /// The VPN for the next engine; `None` for a service that needs none.
    fn placed(&self, service: &ServiceName) -> Result<Option<Placement>, Refusal> {
        self.placed_behind_none_of(service, &BTreeSet::new())
    }

    /// The same, where there is no place behind these VPNs.
    fn placed_behind_none_of(
        &self,
        service: &ServiceName,
        full: &BTreeSet<String>,
    ) -> Result<Option<Placement>, Refusal> {
        let Some(plan) = self.plan.services.get(service) else {
            let message = format!("service `{service}` has no engines here");
            return Err(Refusal::new(RefusalCode::UnknownService, message));
        };
        let names = &plan.settings.launch.vpns;
        if names.is_empty() {
            return Ok(None);
        }
        let vpns = names.iter().filter_map(|name| self.plan.vpns.get(name));
        let all: Vec<(VpnFacts, usize)> = vpns
            .map(|vpn| (self.vpn_facts(vpn), vpn.engines_max as usize))
            .collect();
        let has_room = |(facts, max): &&(VpnFacts, usize)| {
            facts.engines + facts.pending < *max && !full.contains(facts.name.as_str())
        };
        let open: Vec<VpnFacts> = all
            .iter()
            .filter(has_room)
            .map(|(facts, _)| facts.clone())
            .collect();
        if open.is_empty() && all.iter().any(|(facts, _)| facts.state == VpnState::Stable) {
            let message = "every VPN of the service has as many engines as it may have";
            return Err(Refusal::new(RefusalCode::MaxCapacity, message));
        }
        place(&open, usize::MAX).map(Some)
    }

    pub(super) fn vpn_facts(&self, vpn: &crate::config::VpnSettings) -> VpnFacts {
        let known = self.parts.ports.vpn(&vpn.name);
        let pending = self.reservations.pending.values();
        let pending: Vec<_> = pending
            .filter(|pending| {
                pending
                    .vpn
                    .as_ref()
                    .is_some_and(|name| name.as_str() == vpn.name)
            })
            .collect();
        let (engines, led) = self.engines_behind(&vpn.name);
        VpnFacts {
            name: VpnName::from(vpn.name.as_str()),
            state: known.as_ref().map_or(VpnState::Down, |known| known.state),
            engines,
            pending: pending.len(),
            has_leader: led || pending.iter().any(|pending| pending.wants_forwarded),
            has_port: vpn.forwards_port && known.is_some_and(|known| known.may_have_port()),
        }
    }

    /// Engines behind a VPN in the whole mesh, and whether one has its port.
    pub(super) fn engines_behind(&self, vpn: &str) -> (usize, bool) {
        let own = self.engines.behind(vpn);
        let given = self.parts.in_force.load();
        let endpoints = &given.config.given().endpoints;
        let facts = endpoints
            .values()
            .flatten()
            .filter_map(|(_, backend)| backend.engine.as_ref());
        let others: Vec<_> = facts
            .filter(|facts| facts.node != self.parts.node && facts.vpn.as_deref() == Some(vpn))
            .collect();
        (
            own.0 + others.len(),
            own.1 || others.iter().any(|facts| facts.is_forwarded),
        )
    }

    /// Slots of a service after this one that nobody is known to have. For one whose container's name is a stranger's
    /// there is another one beyond the last.
    fn free_slots(&self, service: &ServiceName, after: u32) -> Result<Vec<u32>, Refusal> {
        let max = self
            .plan
            .services
            .get(service)
            .map_or(0, |plan| plan.settings.scale.max);
        let given = self.parts.in_force.load();
        let registered = given.config.given().endpoints.get(service);
        let others = registered.into_iter().flatten().map(|(id, _)| id.as_str());
        let own = self.engines.ids().chain(self.findings.ids());
        let taken: BTreeSet<u32> = own
            .chain(others)
            .filter_map(|id| slot_of(service.as_str(), id))
            .chain(self.reservations.slots_held(service))
            .collect();
        let strangers = self.reservations.names_taken.keys();
        let strangers: BTreeSet<u32> = strangers
            .filter_map(|id| slot_of(service.as_str(), id))
            .collect();
        let last = max.saturating_add(u32::try_from(strangers.len()).unwrap_or(u32::MAX));
        let free: Vec<u32> = (after.saturating_add(1)..=last)
            .filter(|slot| !taken.contains(slot) && !strangers.contains(slot))
            .take(SLOTS_OFFERED)
            .collect();
        if free.is_empty() {
            let message = format!("service `{service}` has {max} engines, as many as it may have");
            return Err(Refusal::new(RefusalCode::MaxCapacity, message));
        }
        Ok(free)
    }
}
