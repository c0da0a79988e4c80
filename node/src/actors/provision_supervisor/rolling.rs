//! Replaces engines that are not what their service's configuration makes by now, one after the other.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;
use weir_core::ids::ServiceName;
use weir_core::provision::{EndReason, Outdated, Rolling, Seen, is_outdated, next_outdated};

use super::ends_first::EndsFirst;
use super::engines::{Engine, Load, REPLACEMENT_LIMIT, is_leaving};
use super::spec::{address, made, made_of, spec};
use super::{EnginePlan, Plan, ProvisionSupervisor};
use crate::config::{DriverKind, VpnSettings};
use crate::events::Kind;

impl Engine {
    fn vpn<'a>(&self, plan: &'a Plan) -> Option<&'a VpnSettings> {
        let name = self.lot.vpn.as_ref();
        name.and_then(|name| plan.vpns.get(name))
    }

    /// What it would carry if it were started now.
    pub(super) fn wanted(&self, plan: &Plan) -> String {
        made(&self.plan, self.vpn(plan))
    }

    /// Whether another engine would be started now.
    fn differs(&self, plan: &Plan) -> bool {
        let launch = &self.plan.settings.launch;
        let may_be_there = match &self.lot.vpn {
            None => launch.vpns.is_empty(),
            Some(vpn) => launch.vpns.contains(vpn),
        };
        if !may_be_there || launch.driver != self.driver {
            return true;
        }
        let vpn = self.vpn(plan);
        let would_run = spec(&self.plan, &self.lot, self.running.fence, vpn);
        let is_container = self.driver == DriverKind::Docker;
        let would_run = Seen {
            image: is_container.then_some(&would_run.image),
            // Without a command of its own a container has its image's, which nobody knows here.
            command: (!would_run.command.is_empty()).then_some(&would_run.command),
        };
        let runs = Seen {
            image: self.running.image.as_deref(),
            command: Some(&self.running.command),
        };
        is_outdated(
            made_of(&self.running),
            &self.wanted(plan),
            (runs, would_run),
        )
    }

    /// Whether it is to be replaced as the plan says now. Until then it is probed as it was: what the next one answers
    /// it need not.
    pub(super) fn awaits_renewal(&self, plan: &Plan) -> bool {
        self.plan.settings.care.replace_outdated && self.differs(plan)
    }

    /// Whether it is to be replaced because it is out of date.
    pub(super) fn is_to_be_renewed(&self) -> bool {
        self.is_outdated && self.plan.settings.care.replace_outdated
    }

    /// Where it is reached as its configuration says now.
    pub(super) fn address_now(&self, plan: &Plan) -> String {
        address(&self.lot, &self.running, &self.plan, self.vpn(plan))
    }

    /// A successor that is on its way may not be what is wanted by now.
    fn looks_after_successor(&mut self, plan: &Plan) {
        let wanted = self.is_to_be_renewed().then(|| self.wanted(plan));
        if let Some(successor) = &mut self.succession
            && !successor.is_wanted(wanted.as_deref())
        {
            successor.is_not_wanted();
        }
    }
}

/// How far each service is, and who is replaced next.
#[derive(Debug, Default)]
pub(super) struct Rollings {
    by_service: BTreeMap<ServiceName, Rolling>,
    next: BTreeSet<String>,
    pub(super) ends_first: EndsFirst,
}

impl ProvisionSupervisor {
    /// Begins anew with each service that is another one by now.
    pub(super) fn roll_anew(&mut self, next: &Plan) {
        let before = &self.plan;
        let rollings = &mut self.rollings.by_service;
        rollings.retain(|service, _| next.services.contains_key(service));
        for (service, rolling) in rollings {
            let is_same = before.services.get(service) == next.services.get(service);
            if !is_same || before.vpns != next.vpns {
                rolling.anew();
            }
        }
    }

    /// Looks at all engines after a change of the configuration.
    pub(super) fn compare_all(&mut self) {
        let ids: Vec<String> = self.engines.ids().map(str::to_owned).collect();
        ids.iter().for_each(|id| self.compare(id));
    }

    /// Whether an engine is what would be started now.
    pub(super) fn compare(&mut self, id: &str) {
        let Some(engine) = self.engines.get_mut(id) else {
            return;
        };
        let service = ServiceName::from(engine.lot.service.as_str());
        if let Some(plan) = self.plan.services.get(&service) {
            engine.plan = plan.clone();
        }
        let is_outdated = engine.differs(&self.plan);
        let was_outdated = std::mem::replace(&mut engine.is_outdated, is_outdated);
        if was_outdated && !is_outdated && !is_leaving(engine.care.state()) && engine.job.is_none()
        {
            engine.probe(&self.parts, &self.plan);
        }
        engine.looks_after_successor(&self.plan);
        if is_outdated && !was_outdated {
            let image = engine.running.image.clone().unwrap_or_default();
            let attributes = [("service", service.to_string()), ("image", image)];
            self.parts
                .events
                .record(Kind::EngineOutdated, id, attributes);
        }
    }

    /// Chooses one outdated engine of each service, as far as any is to be replaced.
    pub(super) fn choose_next(&mut self, loads: &BTreeMap<String, Load>, now: Instant) {
        self.let_others_end_first(now);
        let mut waiting = Vec::new();
        let next = self
            .outdated(loads)
            .into_iter()
            .filter_map(|(service, engines)| {
                let turns = self.engines.replacements.get(&service);
                if let Some(current) = turns.and_then(|turns| turns.current()) {
                    return Some(current.to_string());
                }
                let waits = self.rollings.ends_first.waits(&service, now);
                if waits || !self.may_go_on(&service, now) {
                    return None;
                }
                let next = self.engines.get(next_outdated(&engines)?.as_str())?;
                let room = self.room_for(next, now);
                waiting.push((next.id(), room.as_ref().err().cloned()));
                room.is_ok().then(|| next.id())
            });
        self.rollings.next = next.collect();
        for engine in self.engines.all_mut() {
            engine
                .waits
                .take_if(|(reason, _)| *reason == EndReason::Outdated);
        }
        for (id, why) in waiting {
            if let Some(engine) = self.engines.get_mut(&id) {
                engine.waits = why.map(|why| (EndReason::Outdated, why));
            }
        }
    }

    /// Whether the next outdated engine of a service may be replaced.
    pub(super) fn may_go_on(&self, service: &ServiceName, now: Instant) -> bool {
        let rolling = self.rollings.by_service.get(service);
        let plan = self.plan.services.get(service);
        rolling.zip(plan).is_none_or(|(rolling, plan)| {
            let (serve, least) = self.serving(plan);
            rolling.may_go_on(serve, least, now.into_std())
        })
    }

    /// Whether this outdated engine is the one to be replaced.
    pub(super) fn is_next(&self, id: &str) -> bool {
        self.rollings.next.contains(id)
    }

    /// Outdated engines of this node that are in traffic.
    fn outdated(&self, loads: &BTreeMap<String, Load>) -> BTreeMap<ServiceName, Vec<Outdated>> {
        let mut outdated: BTreeMap<ServiceName, Vec<Outdated>> = BTreeMap::new();
        // A hidden one would hold up those that are in traffic, until its VPN is back.
        let serves = |engine: &&Engine| engine.job.is_none() && engine.care.is_published();
        for engine in self.engines.all().filter(serves) {
            if !engine.is_to_be_renewed() {
                continue;
            }
            let id = engine.id();
            let load = loads.get(&id).copied().unwrap_or_default();
            let of_service = outdated.entry(engine.plan.service.clone()).or_default();
            of_service.push(Outdated {
                id: id.as_str().into(),
                in_flight: load.in_flight,
                idle_since: engine.care.idle_since(),
                forwarded: engine.lot.is_forwarded,
            });
        }
        outdated
    }

    /// Engines of a service that serve in the mesh, and how many it has at least.
    fn serving(&self, plan: &EnginePlan) -> (usize, usize) {
        let view = self.service_view(plan);
        (view.ready as usize, view.min as usize)
    }

    /// An outdated engine ends before there is another one.
    pub(super) fn renewed_in_place(&mut self, plan: &EnginePlan, now: Instant) {
        let (serve, _) = self.serving(plan);
        let until = (now + REPLACEMENT_LIMIT).into_std();
        let rolling = self
            .rollings
            .by_service
            .entry(plan.service.clone())
            .or_default();
        rolling.ended_first(serve, until);
    }

    /// An engine did not get ready that was started as this plan says: no other one makes way for its like.
    pub(super) fn start_failed(&mut self, plan: &EnginePlan, why: &str) {
        let service = &plan.service;
        let is_as_wanted = self
            .plan
            .services
            .get(service)
            .is_some_and(|now| **now == *plan);
        if !is_as_wanted {
            return;
        }
        let rolling = self.rollings.by_service.entry(service.clone()).or_default();
        let is_news = rolling.failed(why);
        let mut engines = self.engines.all();
        let is_missed = |engine: &Engine| {
            engine.is_to_be_renewed() && engine.job.is_none() && engine.plan.service == *service
        };
        if is_news && engines.any(is_missed) {
            tracing::warn!(%service, why, "no engine is replaced as outdated any more");
            let why = [("why", why.to_owned())];
            let events = &self.parts.events;
            events.record(Kind::ReplacementStopped, service.as_str(), why);
        }
    }

    /// An engine is ready.
    pub(super) fn start_succeeded(&mut self, id: &str) {
        let Some(engine) = self
            .engines
            .get_mut(id)
            .filter(|engine| !engine.is_outdated)
        else {
            return;
        };
        if let Some(rolling) = self.rollings.by_service.get_mut(&engine.plan.service) {
            rolling.proved();
        }
    }

    /// Why an outdated engine stays, for people; empty when it is only not its turn.
    pub(super) fn why_it_stays(&self, engine: &Engine) -> String {
        if !engine.is_outdated {
            return self.why_it_waits(engine);
        }
        if !engine.plan.settings.care.replace_outdated {
            return "outdated, and replace_outdated is off".to_owned();
        }
        let rolling = self.rollings.by_service.get(&engine.plan.service);
        let why = rolling.and_then(Rolling::stopped);
        let stays =
            why.map(|why| format!("outdated, and stays because no other one got ready: {why}"));
        stays.unwrap_or_else(|| self.why_it_waits(engine))
    }

    /// Why nobody can take the place of an engine that is to be replaced, for people.
    fn why_it_waits(&self, engine: &Engine) -> String {
        // It may have become up to date, or be on its way, meanwhile.
        let is_meant = |reason: &EndReason| match reason {
            EndReason::Outdated => engine.is_to_be_renewed(),
            _ => engine.care.is_published(),
        };
        let waits = engine.waits.as_ref().filter(|(reason, _)| is_meant(reason));
        let waits = waits.filter(|_| engine.succession.is_none());
        waits.map_or_else(String::new, |(reason, why)| {
            format!(
                "to be replaced ({}) once one can be started: {why}",
                reason.as_str()
            )
        })
    }
}
