//! Cares for engines: takes what was seen of them, does what follows.

use actix::{Context, Handler};
use tokio::time::Instant;
use weir_core::ids::{EngineId, ServiceName};
use weir_core::provision::{Action, Care, CareState, EndReason, Observation, Turn};

use super::engines::{Engine, is_leaving, loads, state_name, unix_ms};
use super::messages::{
    Look, Looked, Ready, Started, StopEngine, StopRefused, VpnEvent, VpnHappened,
};
use super::publish::{InTraffic, backend};
use super::settle::tell_looked;
use super::spec::Lot;
use super::whose::{Asked, Whose};
use super::{ProvisionSupervisor, settle};
use crate::events::Kind;
use crate::link::Carried;

impl ProvisionSupervisor {
    /// Lets time pass for every engine.
    pub(super) fn care(&mut self, now: Instant) {
        self.reservations.tick(now);
        let loads = loads(&self.parts.routing.load(), &self.plan);
        self.choose_next(&loads, now);
        let ids: Vec<String> = self.engines.ids().map(str::to_owned).collect();
        for id in ids {
            self.ask_elsewhere(&id);
            let Some(engine) = self.engines.get_mut(&id) else {
                continue;
            };
            let is_given = self.parts.outlet.has_given(&id);
            let used = engine.used(loads.get(&id).copied().unwrap_or_default(), is_given);
            let lost = engine.held.iter().any(|held| held.kept.is_lost());
            self.observe(&id, used, now);
            if lost {
                self.hold_again(&id);
            }
            self.care_for_vpn(&id, now);
            self.care_for_network(&id, now);
            self.observe(&id, Observation::Tick, now);
        }
    }

    /// Takes an observation of an engine and does what follows.
    pub(super) fn observe(&mut self, id: &str, seen: Observation, now: Instant) {
        let drain_timeout = self.drain_timeout(id);
        let Some(engine) = self.engines.get_mut(id) else {
            return;
        };
        // A job that has not handed it over yet cares for it.
        if engine.job.is_some() {
            return;
        }
        let before = (engine.care.state(), engine.care.is_published());
        let rules = engine.rules(&self.plan.limits, drain_timeout);
        let actions = engine.care.observe(seen, &rules, now.into_std());
        let state = engine.care.state();
        let (before, was_up) = before;
        if state.was_asked_to_end()
            && let Some(successor) = &mut engine.succession
        {
            successor.is_not_wanted();
        }
        engine.tell_traffic(was_up, &self.parts.events);
        if std::mem::discriminant(&before) != std::mem::discriminant(&state) {
            engine.since = (state, unix_ms(&self.parts));
            let reason = state.ends_for().map(EndReason::as_str);
            let state = state_name(state, engine.care.is_published());
            tracing::info!(engine = id, state, reason, why = engine.why, "engine");
        }
        for action in actions {
            self.act(id, action, now);
        }
    }

    fn act(&mut self, id: &str, action: Action, now: Instant) {
        match action {
            // The picture tells who is in traffic.
            Action::Publish | Action::Hide => {}
            Action::Replace(reason) => self.replace(id, reason, now),
            Action::Stop(reason) => self.stop_now(id, reason),
            Action::Remove { reason, .. } => self.gone(id, reason, now),
        }
    }

    /// Replaces an engine when it is its turn.
    fn replace(&mut self, id: &str, reason: EndReason, now: Instant) {
        let Some(engine) = self.engines.get_mut(id) else {
            return;
        };
        let (plan, turn_of) = (engine.plan.clone(), EngineId::from(id));
        if reason == EndReason::Outdated && !self.is_next(id) {
            return;
        }
        if self.engines.turn(&turn_of, &plan, now) == Turn::Granted {
            self.succeed(id, reason, now);
        }
    }

    fn stop_now(&mut self, id: &str, reason: EndReason) {
        let Some(engine) = self.engines.get_mut(id) else {
            return;
        };
        if engine.why.is_empty() {
            engine.why = reason.as_str().to_owned();
        }
        engine.no_more_probes();
        let asked = Asked::of(engine);
        let (grace, fence) = (
            engine.plan.settings.launch.stop_timeout,
            engine.running.fence,
        );
        let (parts, engine) = (self.parts.clone(), id.to_owned());
        tokio::task::spawn_local(async move {
            let result = match asked.whose(&parts).await {
                Ok(Whose::Ours) => {
                    let driver = parts.drivers.of(asked.driver);
                    let stopped = driver.stop(&asked.name, fence, grace).await;
                    stopped.map_err(|error| error.to_string())
                }
                Ok(Whose::Theirs) => {
                    return tell_looked(&parts.links, Look::IsTheirs { engine, fence }).await;
                }
                Err(why) => Err(why),
            };
            let look = Look::Stopped {
                engine,
                fence,
                result,
            };
            tell_looked(&parts.links, look).await;
        });
    }

    /// What runs goes on under another node: only what is this node's is given back.
    fn is_theirs(&mut self, id: &str, fence: u64, now: Instant) {
        let engine = self.engines.get_mut(id);
        if engine.is_none_or(|engine| engine.running.fence != fence) {
            return;
        }
        tracing::info!(engine = id, "the engine is another node's by now");
        let Some(engine) = self.forget(id, now) else {
            return;
        };
        let parts = self.parts.clone();
        tokio::task::spawn_local(async move {
            for held in engine.held {
                settle::release(&parts, held).await;
            }
        });
    }

    /// Takes an engine out of the accounts.
    fn forget(&mut self, id: &str, now: Instant) -> Option<Engine> {
        let engine = self.engines.remove(id)?;
        self.reservations.engine_gone(id);
        self.parts.outlet.keep_no_longer(id);
        let service = ServiceName::from(engine.lot.service.as_str());
        if let Some(turns) = self.engines.replacements.get_mut(&service) {
            turns.ended(&EngineId::from(id), now.into_std());
        }
        self.claims.nudge();
        Some(engine)
    }

    /// An engine is gone: what it had is given back.
    fn gone(&mut self, id: &str, reason: EndReason, now: Instant) {
        let Some(engine) = self.forget(id, now) else {
            return;
        };
        tracing::info!(
            engine = id,
            reason = reason.as_str(),
            why = engine.why,
            "engine gone"
        );
        engine.tell_gone(reason, &self.parts.events);
        let (parts, driver) = (self.parts.clone(), engine.driver);
        let (name, fence) = (engine.lot.name(), engine.running.fence);
        tokio::task::spawn_local(async move {
            // Removes what is left of one that ended by itself.
            let left = parts
                .drivers
                .of(driver)
                .stop(&name, fence, std::time::Duration::ZERO)
                .await;
            if let Err(error) = left {
                tracing::warn!(name, %error, "what is left of an engine stays");
            }
            for held in engine.held {
                settle::release(&parts, held).await;
            }
        });
    }

    fn drain_timeout(&self, id: &str) -> std::time::Duration {
        let in_force = self.parts.in_force.load();
        let service = id.rsplit_once('-').map_or(id, |(service, _)| service);
        let service = in_force
            .config
            .services
            .iter()
            .find(|known| known.name.as_str() == service);
        service.map_or(std::time::Duration::from_secs(30), |service| {
            service.health.drain_timeout
        })
    }

    /// Stops an engine because somebody says so.
    pub(super) fn stop_engine(
        &mut self,
        stop: &StopEngine,
        now: Instant,
    ) -> Result<(), StopRefused> {
        let Some(engine) = self.engines.get_mut(&stop.engine) else {
            return Err(StopRefused::Unknown(stop.engine.clone()));
        };
        engine.why.clone_from(&stop.reason);
        let seen = match stop.now {
            true => Observation::StopAsked,
            false => Observation::DrainAsked,
        };
        self.observe(&stop.engine, seen, now);
        Ok(())
    }

    /// An engine whose job is somebody else's by now: one too many.
    pub(super) fn disown(&mut self, id: &str, why: &str, now: Instant) {
        let stop = StopEngine {
            engine: id.to_owned(),
            now: false,
            reason: why.to_owned(),
        };
        // It may be gone already.
        let _ = self.stop_engine(&stop, now);
    }

    /// Engines of services that are no longer here, or live otherwise.
    pub(super) fn engines_of_plan(&mut self, now: Instant) {
        let mut gone = Vec::new();
        for engine in self.engines.all_mut() {
            let service = ServiceName::from(engine.lot.service.as_str());
            match self.plan.services.get(&service) {
                Some(plan) if *plan == engine.plan => {}
                Some(plan) => {
                    engine.plan = plan.clone();
                    if !engine.awaits_renewal(&self.plan) {
                        engine.address = engine.address_now(&self.plan);
                        engine.probe(&self.parts, &self.plan);
                    }
                }
                None => gone.push(engine.id()),
            }
        }
        for id in gone {
            self.disown(&id, "the service has no engines here any more", now);
        }
    }

    /// Engines in traffic.
    pub(super) fn in_traffic(&self) -> Vec<InTraffic> {
        let published = self
            .engines
            .all()
            .filter(|engine| engine.care.is_published());
        published.map(|engine| self.traffic_of(engine)).collect()
    }

    fn traffic_of(&self, engine: &Engine) -> InTraffic {
        let Lot {
            vpn,
            is_forwarded,
            service,
            ..
        } = engine.lot.clone();
        InTraffic {
            service: ServiceName::from(service.as_str()),
            id: weir_core::ids::BackendId::from(engine.id().as_str()),
            backend: backend(engine.address.clone(), &self.parts.node, vpn, is_forwarded),
        }
    }
}

impl Handler<Carried<Started>> for ProvisionSupervisor {
    type Result = ();

    fn handle(&mut self, started: Carried<Started>, _: &mut Context<Self>) {
        let Started {
            job,
            lot,
            running,
            plan,
        } = started.message;
        let now = Instant::now();
        let mut care = Care::starting(lot.is_forwarded, now.into_std());
        let mut engine = Engine::new(lot, running, plan, care.clone(), &self.parts, &self.plan);
        care.observe(
            Observation::Running,
            &engine.rules(&self.plan.limits, std::time::Duration::ZERO),
            now.into_std(),
        );
        engine.since = (care.state(), unix_ms(&self.parts));
        engine.care = care;
        engine.job = Some(job);
        engine.tell(Kind::EngineStarted, &self.parts.events);
        let id = engine.id();
        self.engines.insert(engine);
        self.compare(&id);
        self.publish();
    }
}

impl Handler<Carried<Ready>> for ProvisionSupervisor {
    type Result = ();

    fn handle(&mut self, ready: Carried<Ready>, _: &mut Context<Self>) {
        let now = Instant::now();
        let Ready {
            job,
            lot,
            running,
            plan,
            held,
        } = ready.message;
        let id = lot.engine_id();
        self.findings.forget(&id);
        self.reservations.job_became(&job, &lot);
        if !self.engines.contains(&id) {
            // Started under an earlier life of this actor.
            let care = Care::adopted(lot.is_forwarded, now.into_std());
            self.engines.insert(Engine::new(
                lot,
                running,
                plan,
                care,
                &self.parts,
                &self.plan,
            ));
        }
        self.compare(&id);
        if let Some(engine) = self.engines.get_mut(&id) {
            engine.job = None;
            self.parts.outlet.keep(&id, &held);
            engine.held = held;
            engine.probe(&self.parts, &self.plan);
        }
        self.observe(&id, Observation::ProbePassed, now);
        self.start_succeeded(&id);
        self.publish();
    }
}

impl Handler<Carried<Looked>> for ProvisionSupervisor {
    type Result = ();

    fn handle(&mut self, looked: Carried<Looked>, _: &mut Context<Self>) {
        let now = Instant::now();
        match looked.message.0 {
            Look::Probed {
                engine,
                fence,
                result,
            } => self.probed(&engine, fence, result, now),
            Look::Ended(ended) => {
                let id = super::spec::id_of(&ended.name).to_owned();
                self.ended(&id, ended.fence, ended.code, now);
            }
            Look::Stopped {
                engine,
                fence,
                result,
            } => self.stopped(&engine, fence, result, now),
            Look::Succeeded {
                engine,
                fence,
                result,
            } => self.has_successor(&engine, fence, result, now),
            Look::Elsewhere {
                engine,
                fence,
                in_flight,
            } => self.runs_elsewhere(&engine, fence, in_flight),
            Look::UsedElsewhere { service, requests } => self.used_elsewhere(&service, &requests),
            Look::IsTheirs { engine, fence } => self.is_theirs(&engine, fence, now),
            Look::Listed { driver, running } => self.listed(driver, running, now),
            Look::JobAdded => {
                self.claims.nudge();
                self.claim(now);
            }
            Look::PortIsNobodys { vpn } => self.port_is_nobodys(&vpn, now),
            Look::MayRebalance { service, held } => self.may_rebalance(&service, held, now),
            Look::MayEndFirst { service, held } => self.has_right_to_end(service, held, now),
            Look::Found { engine, found } => self.take_in(&engine, found, now),
            Look::LetGo { engine, is_gone } => self.was_let_go(&engine, is_gone),
            Look::Image {
                engine,
                fence,
                has_drifted,
            } => self.image_looked_at(&engine, fence, has_drifted),
            Look::HeldAgain { engine, held } => self.held_again(&engine, held, now),
        }
        self.publish();
    }
}

impl ProvisionSupervisor {
    fn probed(&mut self, id: &str, fence: u64, result: Result<(), String>, now: Instant) {
        let Some(engine) = self
            .engines
            .get_mut(id)
            .filter(|engine| engine.running.fence == fence)
        else {
            return;
        };
        let seen = match result {
            Ok(()) => {
                if !is_leaving(engine.care.state()) {
                    engine.why.clear();
                    engine.elsewhere = None;
                }
                Observation::ProbePassed
            }
            Err(why) => {
                if !is_leaving(engine.care.state()) {
                    engine.why = why;
                }
                self.ask_while_it_fails(id);
                Observation::ProbeFailed
            }
        };
        self.observe(id, seen, now);
    }

    pub(super) fn ended(&mut self, id: &str, fence: u64, code: Option<i64>, now: Instant) {
        let Some(engine) = self
            .engines
            .get_mut(id)
            .filter(|engine| engine.running.fence == fence)
        else {
            return;
        };
        if !matches!(engine.care.state(), CareState::Stopping { .. }) {
            engine.why = match code {
                Some(code) => format!("it ended with code {code}"),
                None => "it ended".to_owned(),
            };
        }
        self.observe(id, Observation::Ended, now);
    }

    fn stopped(&mut self, id: &str, fence: u64, result: Result<(), String>, now: Instant) {
        match result {
            Ok(()) => self.ended(id, fence, None, now),
            Err(why) => {
                tracing::warn!(engine = id, why, "an engine is not stopped; tried again");
                if let Some(engine) = self.engines.get_mut(id) {
                    engine.why = why;
                }
            }
        }
    }
}

impl Handler<Carried<VpnHappened>> for ProvisionSupervisor {
    type Result = ();

    fn handle(&mut self, happened: Carried<VpnHappened>, _: &mut Context<Self>) {
        let now = Instant::now();
        let VpnHappened { vpn, what } = happened.message;
        match what {
            VpnEvent::Stable => tracing::info!(vpn, "VPN of engines is stable"),
        }
        let replaces_all = self
            .plan
            .vpns
            .get(&vpn)
            .is_some_and(|vpn| vpn.replace_on_reconnect);
        let behind: Vec<String> = self
            .engines
            .all()
            .filter(|engine| engine.lot.vpn.as_deref() == Some(vpn.as_str()))
            .map(Engine::id)
            .collect();
        for id in behind {
            match what {
                VpnEvent::Stable if replaces_all => self.disown(&id, "the VPN was down", now),
                VpnEvent::Stable => {}
            }
        }
        self.claims.nudge();
        self.publish();
    }
}
