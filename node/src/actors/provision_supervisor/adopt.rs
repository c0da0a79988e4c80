//! Takes over what drivers run: after a start, after a node died, after a lease was lost.
//!
//! Whoever gets the hold of an engine's slot has the engine. So nothing is lost with a node, and nothing is had twice.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_control_plane::jobs::{DEFAULT_QUEUE, Error, Hold, State as JobState};
use weir_core::ids::ServiceName;
use weir_core::provision::{Care, Observation};
use weir_engines::driver::{Running, State};

use super::engines::Engine;
use super::holds::{
    HELD_BY_NOBODY_MARGIN, HELD_LOOK_INTERVAL, Held, forwarded_name, held, port_name, slot_name,
};
use super::messages::Look;
use super::places::hold_place_of;
use super::settle::{self, tell_looked};
use super::spec::Lot;
use super::{Parts, ProvisionSupervisor};
use crate::config::DriverKind;
use crate::events::Kind;

/// What nobody wants has this long to end.
const LEFTOVER_GRACE: Duration = Duration::from_secs(10);

/// When what was found was seen to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A moment ago.
    Now,
    /// A while ago; whoever had it may have stopped it since.
    Before,
}

/// What was found running, and the holds that make it this node's.
#[derive(Debug)]
pub struct Found {
    pub(super) lot: Lot,
    pub(super) running: Running,
    pub(super) driver: DriverKind,
    pub(super) held: Vec<Held>,
    /// Its job was done with it, and nobody else has its ports. If not, it is what is left of an attempt.
    pub(super) is_wanted: bool,
}

impl ProvisionSupervisor {
    /// Tries to get what runs and is nobody's.
    pub(super) fn find(&self, lot: Lot, running: Running, driver: DriverKind, seen: Seen) {
        let parts = self.parts.clone();
        tokio::task::spawn_local(async move {
            let engine = lot.engine_id();
            let found = look_into(&parts, lot, (running, seen), driver)
                .await
                .map(Box::new);
            tell_looked(&parts.links, Look::Found { engine, found }).await;
        });
    }

    /// Tries again to get what runs and was somebody else's.
    pub(super) fn find_again(&mut self, now: Instant) {
        for (lot, running, driver) in self.findings.again(now) {
            self.find(lot, running, driver, Seen::Before);
        }
    }

    /// Takes in what was found, or lets it go.
    pub(super) fn take_in(&mut self, id: &str, found: Result<Box<Found>, Error>, now: Instant) {
        // Somebody else has it, or nobody can tell now: the next look asks again.
        let Ok(found) = found else {
            self.findings.is_not_ours(id, now);
            return;
        };
        let Found {
            lot,
            running,
            driver,
            held,
            is_wanted,
        } = *found;
        let has = |engine: &Engine| engine.running.fence == running.fence;
        if self.engines.get_mut(id).is_some_and(|engine| has(engine)) {
            // Found by an earlier life of this actor as well: what it holds is the engine's.
            self.findings.forget(id);
            return;
        }
        let service = ServiceName::from(lot.service.as_str());
        let plan = self
            .plan
            .services
            .get(&service)
            .filter(|plan| plan.settings.launch.driver == driver)
            .cloned();
        // What was made and never started does not start by itself: whoever made it is gone.
        let runs = is_wanted && matches!(running.state, State::Running);
        let (Some(plan), true, false) = (plan, runs, self.engines.contains(id)) else {
            self.let_go(Found {
                lot,
                running,
                driver,
                held,
                is_wanted,
            });
            return;
        };
        tracing::info!(engine = id, node = lot.node, "engine taken over");
        self.findings.forget(id);
        self.reservations.engine_has(&lot);
        let care = Care::adopted(lot.is_forwarded, now.into_std());
        let mut engine = Engine::new(lot, running, plan, care, &self.parts, &self.plan);
        self.parts.outlet.keep(id, &held);
        engine.held = held;
        engine.probe(&self.parts, &self.plan);
        engine.tell(Kind::EngineAdopted, &self.parts.events);
        self.engines.insert(engine);
        self.compare(id);
    }

    /// Removes what was found and serves nobody. Another node's engine of a service that this node does not know is
    /// left to nodes that do.
    fn let_go(&mut self, found: Found) {
        let Found {
            lot,
            running,
            driver,
            held,
            is_wanted,
        } = found;
        let id = lot.engine_id();
        let service = ServiceName::from(lot.service.as_str());
        let is_known =
            !is_wanted || lot.node == self.parts.node || self.plan.services.contains_key(&service);
        if is_known {
            tracing::info!(engine = id, "what is left of an engine is removed");
            self.findings.leaves(&id);
        }
        let (parts, name) = (self.parts.clone(), lot.name());
        tokio::task::spawn_local(async move {
            let removed = match is_known {
                true => {
                    let driver = parts.drivers.of(driver);
                    driver.stop(&name, running.fence, LEFTOVER_GRACE).await
                }
                false => Ok(()),
            };
            for held in held {
                settle::release(&parts, held).await;
            }
            let is_gone = is_known && removed.is_ok();
            if let Err(error) = removed {
                tracing::warn!(engine = id, %error, "what is left of an engine stays");
            }
            tell_looked(
                &parts.links,
                Look::LetGo {
                    engine: id,
                    is_gone,
                },
            )
            .await;
        });
    }

    /// What was found is no engine of this node.
    pub(super) fn was_let_go(&mut self, id: &str, is_gone: bool) {
        match is_gone {
            true => self.findings.forget(id),
            false => self.findings.stays(id),
        }
        self.claims.nudge();
    }

    /// Takes the holds of an engine anew after they were lost.
    pub(super) fn hold_again(&mut self, id: &str) {
        let Some(engine) = self.engines.get_mut(id).filter(|engine| !engine.adopting) else {
            return;
        };
        let lost: Vec<Hold> = engine
            .held
            .iter()
            .filter(|held| held.kept.is_lost())
            .map(|held| held.hold.clone())
            .collect();
        engine.adopting = true;
        let (parts, engine) = (self.parts.clone(), id.to_owned());
        tokio::task::spawn_local(async move {
            let held = again(&parts, lost).await;
            tell_looked(&parts.links, Look::HeldAgain { engine, held }).await;
        });
    }

    /// Takes the new holds, or gives the engine up when they are somebody else's.
    pub(super) fn held_again(&mut self, id: &str, held: Result<Vec<Held>, Error>, now: Instant) {
        let Some(engine) = self.engines.get_mut(id) else {
            return;
        };
        engine.adopting = false;
        match held {
            Ok(held) => {
                engine.held.retain(|old| !old.kept.is_lost());
                engine.held.extend(held);
                self.parts.outlet.keep(id, &engine.held);
            }
            // An earlier life of this actor is taking it.
            Err(Error::Held { by, .. }) if by == self.parts.holder => {}
            Err(Error::Held { name, by }) => {
                tracing::warn!(
                    engine = id,
                    hold = name,
                    by = by.node_id,
                    "an engine is somebody else's by now"
                );
                engine.taken_by = Some(by);
                self.disown(id, "its slot is another engine's by now", now);
                // What was lost is not asked for again.
                if let Some(engine) = self.engines.get_mut(id) {
                    engine.held.retain(|old| !old.kept.is_lost());
                }
            }
            // The store is away; the next tick asks again.
            Err(_) => {}
        }
    }

    /// What follows from what is known of VPNs.
    pub(super) fn care_for_vpn(&mut self, id: &str, now: Instant) {
        let Some(engine) = self.engines.get_mut(id) else {
            return;
        };
        let Some(vpn) = engine
            .lot
            .vpn
            .as_deref()
            .and_then(|name| self.parts.ports.view(name))
        else {
            return;
        };
        let port_is_other = engine.lot.is_forwarded
            && vpn
                .settled
                .is_some_and(|port| engine.lot.p2p_port != Some(port.get()));
        let health = vpn.health;
        if health == weir_core::vpn::State::Unhealthy {
            self.observe(id, Observation::VpnLost, now);
        } else if health.is_steady() {
            self.observe(id, Observation::VpnBack, now);
        }
        if port_is_other {
            self.observe(id, Observation::PortChanged, now);
        }
    }
}

/// Takes the holds of what was found, and asks what became of its job.
async fn look_into(
    parts: &Parts,
    mut lot: Lot,
    (running, seen): (Running, Seen),
    driver: DriverKind,
) -> Result<Found, Error> {
    if let Some(held) = parts.outlet.kept(&lot.engine_id()) {
        return Ok(Found {
            lot,
            running,
            driver,
            held,
            is_wanted: true,
        });
    }
    let mut held = holds(parts, &[slot_name(&lot.engine_id())]).await?;
    let ttl = held.first().map_or(Duration::ZERO, |slot| slot.hold.ttl);
    let until = Instant::now() + ttl + HELD_BY_NOBODY_MARGIN;
    let is_wanted = match still_runs(parts, &running, seen, driver).await {
        Ok(true) => is_wanted(parts, &lot).await,
        other => other,
    };
    let is_ours = match is_wanted {
        Ok(true) => hold_what_it_has(parts, &mut lot, until, &mut held).await,
        other => other,
    };
    match is_ours {
        Ok(is_wanted) => Ok(Found {
            lot,
            running,
            driver,
            held,
            is_wanted,
        }),
        Err(error) => {
            for held in held {
                settle::release(parts, held).await;
            }
            Err(error)
        }
    }
}

/// Whether a driver still runs what was seen before: asked when its slot is ours, so that nobody stops it any more.
async fn still_runs(
    parts: &Parts,
    running: &Running,
    seen: Seen,
    driver: DriverKind,
) -> Result<bool, Error> {
    if seen == Seen::Now {
        return Ok(true);
    }
    let is_it = |one: &Running| {
        (&one.name, one.fence, one.state) == (&running.name, running.fence, State::Running)
    };
    match parts.drivers.of(driver).list().await {
        Ok(listed) => Ok(listed.iter().any(is_it)),
        // Nobody can tell now; it is asked again.
        Err(_) => Err(Error::Contended),
    }
}

/// Takes ports and place of an engine that was found; says whether it has its ports.
async fn hold_what_it_has(
    parts: &Parts,
    lot: &mut Lot,
    until: Instant,
    held: &mut Vec<Held>,
) -> Result<bool, Error> {
    let has_ports = hold_ports(parts, lot, until, held).await?;
    if has_ports {
        hold_place_of(parts, lot, until, held).await?;
    }
    Ok(has_ports)
}

/// Takes its ports for an engine that was found; says whether it has them. Whoever had them may have died a moment
/// later than who had the slot, so that is waited for.
async fn hold_ports(
    parts: &Parts,
    lot: &Lot,
    until: Instant,
    held: &mut Vec<Held>,
) -> Result<bool, Error> {
    let Some(vpn) = &lot.vpn else {
        return Ok(true);
    };
    let mut names = vec![port_name(vpn, lot.port)];
    names.extend(lot.extra_ports.values().map(|port| port_name(vpn, *port)));
    names.extend(lot.p2p_port.map(|port| port_name(vpn, port)));
    names.extend(lot.is_forwarded.then(|| forwarded_name(vpn)));
    for name in names {
        loop {
            match holds(parts, std::slice::from_ref(&name)).await {
                Ok(hold) => {
                    held.extend(hold);
                    break;
                }
                Err(Error::Held { .. }) if Instant::now() < until => {
                    sleep(HELD_LOOK_INTERVAL).await;
                }
                Err(Error::Held { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(true)
}

/// Whether an engine whose slot is ours, so that nobody starts it any more, is what its job was done with.
async fn is_wanted(parts: &Parts, lot: &Lot) -> Result<bool, Error> {
    if lot.job.is_empty() {
        return Ok(true);
    }
    match parts.queue.get(DEFAULT_QUEUE, &lot.job).await {
        Ok(job) => Ok(job.state() == JobState::Done && job.result == lot.engine_id()),
        // Only jobs that ended are forgotten.
        Err(Error::NotFound { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// All of these holds, or none.
async fn holds(parts: &Parts, names: &[String]) -> Result<Vec<Held>, Error> {
    let mut got = Vec::new();
    for name in names {
        match parts
            .queue
            .hold(DEFAULT_QUEUE, name, parts.holder.clone())
            .await
        {
            Ok(hold) => got.push(held(parts, hold)),
            Err(error) => {
                for held in got {
                    settle::release(parts, held).await;
                }
                return Err(error);
            }
        }
    }
    Ok(got)
}

/// Goes on with holds that were not known to be kept, or takes them anew: all, or none.
async fn again(parts: &Parts, lost: Vec<Hold>) -> Result<Vec<Held>, Error> {
    let (mut names, mut kept) = (Vec::new(), Vec::new());
    for hold in lost {
        match parts.queue.extend_hold(&hold).await {
            // Only the answers were lost: it was ours all the time.
            Ok(()) => kept.push(held(parts, hold)),
            Err(Error::Lost { .. }) => names.push(hold.name),
            Err(error) => return Err(error),
        }
    }
    kept.extend(holds(parts, &names).await?);
    Ok(kept)
}
