//! Spreads engines evenly over VPNs again after one was down: one at a time in the whole mesh, in the turn of
//! replacements, and only between VPNs that have been up for a while.
//!
//! Which one is a pure decision of [`weir_core::provision::rebalance()`]. A hold in the store lets one node at a time
//! move an engine of a service; it is kept until the engine is gone and the cooldown is over. Its successor goes where
//! every new engine goes: behind the VPN with the fewest.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use weir_control_plane::jobs::DEFAULT_QUEUE;
use weir_core::ids::{EngineId, ServiceName, VpnName};
use weir_core::provision::{
    EndReason, Movable, Move, Turn, VpnFacts, VpnState, rebalance as next_move,
};

use super::engines::is_leaving;
use super::holds::{Held, held};
use super::messages::Look;
use super::settle::{self, tell_looked};
use super::{EnginePlan, ProvisionSupervisor};
use crate::events::Kind;

/// Between two looks whether an engine should move.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Between two questions for the right to move: another node may have it.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// After a move that came to nothing; twice as long after each that follows.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// The pause is doubled so many times: an hour, about.
const DOUBLINGS_MAX: u32 = 6;

/// How long nobody moves after so many moves in a row that came to nothing, the last one included.
const fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1);
    let doublings = match doublings < DOUBLINGS_MAX {
        true => doublings,
        false => DOUBLINGS_MAX,
    };
    AGAIN_AFTER.saturating_mul(1 << doublings)
}

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Rebalance {
    /// VPNs that are stable, and since when.
    stable_since: BTreeMap<String, Instant>,
    /// Moves under way, by service.
    moves: BTreeMap<ServiceName, UnderWay>,
    /// Services whose engines stay until then.
    not_before: BTreeMap<ServiceName, Instant>,
    /// Moves in a row that came to nothing.
    failures: BTreeMap<ServiceName, u32>,
    looked_at: Option<Instant>,
}

/// A move.
#[derive(Debug)]
struct UnderWay {
    engine: EngineId,
    /// Of the engine's attempt: the next one may have its id.
    fence: u64,
    held: Held,
    /// When the engine was gone, or stayed after all.
    ended_at: Option<Instant>,
}

impl Rebalance {
    fn is_busy(&self, service: &ServiceName, now: Instant) -> bool {
        let stays = self.not_before.get(service).is_some_and(|at| now < *at);
        stays || self.moves.contains_key(service)
    }

    /// A move is over; tells how long none is begun.
    fn moved(&mut self, service: &ServiceName, has_moved: bool) -> Duration {
        if has_moved {
            self.failures.remove(service);
            return LOOK_INTERVAL;
        }
        let failures = self.failures.entry(service.clone()).or_default();
        *failures = failures.saturating_add(1);
        pause(*failures)
    }

    /// Whether this VPN has been stable for so long.
    fn is_stable_for(&self, vpn: &str, wait: Duration, now: Instant) -> bool {
        let since = self.stable_since.get(vpn);
        since.is_some_and(|since| now.saturating_duration_since(*since) >= wait)
    }
}

impl ProvisionSupervisor {
    /// Moves an engine if it should and may.
    pub(super) fn rebalance(&mut self, now: Instant) {
        let is_due = |at: Instant| now.saturating_duration_since(at) >= LOOK_INTERVAL;
        if !self.rebalance.looked_at.is_none_or(is_due) {
            return;
        }
        self.rebalance.looked_at = Some(now);
        self.note_stable_vpns(now);
        self.end_moves(now);
        let services: Vec<ServiceName> = self.plan.services.keys().cloned().collect();
        for service in services {
            if !self.rebalance.is_busy(&service, now) && self.next_move(&service, now).is_some() {
                let again = now + ASK_INTERVAL;
                self.rebalance.not_before.insert(service.clone(), again);
                self.ask_to_move(service);
            }
        }
    }

    fn note_stable_vpns(&mut self, now: Instant) {
        for vpn in self.plan.vpns.keys() {
            let known = self.parts.ports.vpn(vpn);
            let stable = &mut self.rebalance.stable_since;
            match known.is_some_and(|known| known.state == VpnState::Stable) {
                true => drop(stable.entry(vpn.clone()).or_insert(now)),
                false => drop(stable.remove(vpn)),
            }
        }
        let (vpns, services) = (&self.plan.vpns, &self.plan.services);
        self.rebalance
            .stable_since
            .retain(|vpn, _| vpns.contains_key(vpn));
        self.rebalance
            .not_before
            .retain(|name, _| services.contains_key(name));
        self.rebalance
            .failures
            .retain(|name, _| services.contains_key(name));
    }

    /// The next move, if it is an engine of this node's.
    fn next_move(&self, service: &ServiceName, now: Instant) -> Option<Move> {
        let plan = self.plan.services.get(service)?;
        let wait = plan.settings.care.rebalance_after?;
        let names = &plan.settings.launch.vpns;
        if names.len() < 2 || self.is_in_motion(service) {
            return None;
        }
        let vpns = names.iter().filter_map(|name| self.plan.vpns.get(name));
        let facts = vpns.map(|vpn| {
            let mut facts: VpnFacts = self.vpn_facts(vpn);
            if facts.state == VpnState::Stable
                && !self.rebalance.is_stable_for(&vpn.name, wait, now)
            {
                facts.state = VpnState::Recovering;
            }
            (facts, vpn.engines_max as usize)
        });
        next_move(&facts.collect::<Vec<_>>(), &self.movable(service))
    }

    /// Whether engines of the service start or leave here: what they come to is looked at afterwards.
    fn is_in_motion(&self, service: &ServiceName) -> bool {
        let own = self
            .engines
            .all()
            .filter(|one| one.plan.service == *service);
        let mut moving = own.filter(|engine| {
            engine.job.is_some() || engine.succession.is_some() || is_leaving(engine.care.state())
        });
        self.reservations.is_anything_pending() || moving.next().is_some()
    }

    /// Engines of a service in traffic, but those that have their VPN's port.
    fn movable(&self, service: &ServiceName) -> Vec<Movable> {
        let own = self.engines.all().filter(|engine| {
            engine.plan.service == *service
                && engine.care.is_published()
                && !engine.lot.is_forwarded
        });
        let movable = own.filter_map(|engine| {
            Some(Movable {
                id: EngineId::from(engine.id().as_str()),
                vpn: VpnName::from(engine.lot.vpn.as_deref()?),
                in_flight: engine.care.in_flight(),
                idle_since: engine.care.idle_since(),
            })
        });
        movable.collect()
    }

    /// Asks the store for the right to move an engine of this service.
    fn ask_to_move(&self, service: ServiceName) {
        let parts = self.parts.clone();
        tokio::task::spawn_local(async move {
            let name = format!("rebalance:{service}");
            let holder = parts.holder.clone();
            // Another node has it: its move is looked at afterwards.
            if let Ok(hold) = parts.queue.hold(DEFAULT_QUEUE, &name, holder).await {
                let held = held(&parts, hold);
                tell_looked(&parts.links, Look::MayRebalance { service, held }).await;
            }
        });
    }

    /// This node may move an engine of the service, if one still should.
    pub(super) fn may_rebalance(&mut self, service: &ServiceName, held: Held, now: Instant) {
        let plan = self.plan.services.get(service).cloned();
        let step = self.next_move(service, now).zip(plan);
        let step = step.filter(|(step, plan)| self.has_turn(step, plan, now));
        let Some((step, _)) = step else {
            let parts = self.parts.clone();
            tokio::task::spawn_local(async move { settle::release(&parts, held).await });
            return;
        };
        tracing::info!(engine = %step.id, from = %step.from, to = %step.to, "an engine is moved");
        let attributes = [
            ("service", service.to_string()),
            ("from", step.from.to_string()),
            ("to", step.to.to_string()),
        ];
        self.parts
            .events
            .record(Kind::EngineRebalanced, step.id.as_str(), attributes);
        let mut fence = 0;
        if let Some(engine) = self.engines.get_mut(step.id.as_str()) {
            engine.why = format!("moved from VPN `{}` to `{}`", step.from, step.to);
            fence = engine.running.fence;
        }
        let under_way = UnderWay {
            engine: step.id.clone(),
            fence,
            held,
            ended_at: None,
        };
        self.rebalance.moves.insert(service.clone(), under_way);
        self.rebalance.not_before.remove(service);
        self.succeed(step.id.as_str(), EndReason::Rebalanced, now);
    }

    fn has_turn(&mut self, step: &Move, plan: &EnginePlan, now: Instant) -> bool {
        self.engines.turn(&step.id, plan, now) == Turn::Granted
    }

    /// Gives the right to move back when an engine has moved, or stayed after all, and the cooldown is over.
    fn end_moves(&mut self, now: Instant) {
        let services: Vec<ServiceName> = self.rebalance.moves.keys().cloned().collect();
        for service in services {
            let plan = self.plan.services.get(&service);
            let cooldown = plan.map_or(Duration::ZERO, |plan| {
                plan.settings.care.replacement_cooldown
            });
            let Some(under_way) = self.rebalance.moves.get_mut(&service) else {
                continue;
            };
            let engine = self.engines.get_mut(under_way.engine.as_str());
            let engine = engine.filter(|engine| engine.running.fence == under_way.fence);
            let stays = engine.as_ref().is_some_and(|engine| {
                engine.succession.is_none() && !is_leaving(engine.care.state())
            });
            if engine.is_some() && !stays {
                continue;
            }
            let ended_at = *under_way.ended_at.get_or_insert(now);
            let lost = under_way.held.kept.is_lost();
            if !lost && now < ended_at + cooldown {
                continue;
            }
            if let Some(over) = self.rebalance.moves.remove(&service) {
                // The right is given back before it is asked for again.
                let wait = self.rebalance.moved(&service, !stays);
                self.rebalance.not_before.insert(service, now + wait);
                let parts = self.parts.clone();
                tokio::task::spawn_local(async move { settle::release(&parts, over.held).await });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_about_an_hour_while_moves_come_to_nothing() {
        let (mut rebalance, tv) = (Rebalance::default(), ServiceName::from("tv"));
        let pauses = (0..9).map(|_| rebalance.moved(&tv, false).as_secs());
        let pauses: Vec<u64> = pauses.collect();
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1_920, 3_840, 3_840, 3_840]);
        assert_eq!(rebalance.moved(&tv, true), LOOK_INTERVAL);
        assert_eq!(rebalance.moved(&tv, false), AGAIN_AFTER);
    }
}
