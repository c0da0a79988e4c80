//! Gives a VPN's forwarded port to an engine when none has it: it came after the engines, or the one that had it was
//! still leaving when the next one started.

use std::time::Duration;

use tokio::time::Instant;
use weir_control_plane::jobs::DEFAULT_QUEUE;
use weir_core::ids::{BackendId, EngineId};
use weir_core::provision::{Turn, VpnState};

use super::ProvisionSupervisor;
use super::holds::{forwarded_name, held};
use super::messages::Look;
use super::settle::{self, tell_looked};

/// A port is nobody's for this long before an engine is replaced for it: what other nodes have is told a moment later.
const NOBODYS_FOR: Duration = Duration::from_secs(5);
/// The next engine has this long to be on its way before another one is replaced.
const REPLACED_FOR: Duration = Duration::from_secs(60);

impl ProvisionSupervisor {
    /// Replaces one engine of each VPN whose port has been nobody's for a while: whatever is started next gets it.
    pub(super) fn use_forwarded_ports(&mut self, now: Instant) {
        let vpns: Vec<String> = self.plan.vpns.keys().cloned().collect();
        self.unused_ports.retain(|vpn, _| vpns.contains(vpn));
        for vpn in vpns {
            if !self.is_port_nobodys(&vpn) {
                self.unused_ports.remove(&vpn);
                continue;
            }
            let not_before = self.unused_ports.entry(vpn.clone());
            let is_time = now >= *not_before.or_insert(now + NOBODYS_FOR);
            if is_time && self.makes_way(&vpn).is_some() {
                self.unused_ports.insert(vpn.clone(), now + REPLACED_FOR);
                self.ask_whose(vpn);
            }
        }
    }

    /// What this node does not know the store does: a forwarded port that is held is somebody's.
    fn ask_whose(&self, vpn: String) {
        let parts = self.parts.clone();
        tokio::task::spawn_local(async move {
            let name = forwarded_name(&vpn);
            let hold = parts
                .queue
                .hold(DEFAULT_QUEUE, &name, parts.holder.clone())
                .await;
            if let Ok(hold) = hold {
                settle::release(&parts, held(&parts, hold)).await;
                tell_looked(&parts.links, Look::PortIsNobodys { vpn }).await;
            }
        });
    }

    /// Replaces an engine of this VPN, unless an engine got its port meanwhile.
    pub(super) fn port_is_nobodys(&mut self, vpn: &str, now: Instant) {
        let engine = self.makes_way(vpn).filter(|_| self.is_port_nobodys(vpn));
        if !engine.is_some_and(|engine| self.replace_for_port(&engine, now)) {
            self.unused_ports.insert(vpn.to_owned(), now + NOBODYS_FOR);
        }
    }

    /// False when it is not its turn.
    fn replace_for_port(&mut self, id: &str, now: Instant) -> bool {
        let Some(plan) = self.engines.get_mut(id).map(|engine| engine.plan.clone()) else {
            return false;
        };
        let is_its_turn = self.engines.turn(&EngineId::from(id), &plan, now) == Turn::Granted;
        if is_its_turn {
            self.disown(id, "no engine has the VPN's forwarded port", now);
        }
        is_its_turn
    }

    /// Whether a VPN forwards a port that no engine has, is about to have, or has not let go of.
    fn is_port_nobodys(&self, vpn: &str) -> bool {
        let forwards = self.plan.vpns.get(vpn).is_some_and(|vpn| vpn.forwards_port);
        let known = self.parts.ports.vpn(vpn);
        let is_there =
            known.is_some_and(|known| known.state == VpnState::Stable && known.port.is_ok());
        let is_ours = self
            .engines
            .all()
            .any(|engine| engine.lot.is_forwarded && engine.lot.vpn.as_deref() == Some(vpn));
        forwards
            && is_there
            && !is_ours
            && !self.reservations.wants_forwarded(vpn)
            && !self.engines_behind(vpn).1
    }

    /// The engine that makes way, if it is one of this node: the one that listens on the very number, else one of all.
    fn makes_way(&self, vpn: &str) -> Option<String> {
        let port = self.parts.ports.grant(vpn).ok()?.get();
        let own = self
            .engines
            .all()
            .filter(|engine| engine.lot.vpn.as_deref() == Some(vpn) && engine.care.is_published());
        let mut in_the_way = own.filter(|engine| engine.lot.listens_on(port));
        let in_the_way = in_the_way.next().map(super::engines::Engine::id);
        in_the_way.or_else(|| self.first_behind(vpn))
    }

    /// Of all in traffic behind the VPN the first by id, if it is one of this node.
    fn first_behind(&self, vpn: &str) -> Option<String> {
        let own = self
            .engines
            .all()
            .filter(|engine| engine.lot.vpn.as_deref() == Some(vpn) && engine.care.is_published());
        let first = own.map(super::engines::Engine::id).min()?;
        let in_force = self.parts.in_force.load();
        let registered = in_force.config.given().endpoints.values().flatten();
        let mut others = registered.filter(|(_, backend)| {
            backend.engine.as_ref().is_some_and(|facts| {
                facts.node != self.parts.node && facts.vpn.as_deref() == Some(vpn)
            })
        });
        let id = BackendId::from(first.as_str());
        others.all(|(other, _)| *other > id).then_some(first)
    }
}
