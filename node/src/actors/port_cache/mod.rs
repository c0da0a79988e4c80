//! Knows the port that each VPN forwards, and how each VPN is.
//!
//! Owns      one entry a VPN: port, age, epoch, health, alarms.
//! Receives  [`Configure`] from `config_agent`; [`Fetched`] and [`Looked`] from its own questions; [`Ask`] from
//!           whoever looks a port up that is not warm; [`Invalidate`] from operators and from the VPN itself;
//!           [`Confirmed`] when the node that asks knows; what that node says, through [`Peers`]; its own tick.
//! Sends     [`VpnHappened`] to `provision_supervisor`; publishes what is known.
//! Bound     1,024 messages; when full one is refused: callers see it, questions are asked again.
//! Restarts  empty, and asks again. Engines keep running meanwhile.
//!
//! One node asks a VPN's control server for all nodes that have the VPN. Which one, [`Peers`] tells.

mod followed;
mod handle;
mod look;
mod news;
mod table;
#[cfg(test)]
mod tests;
mod vpn;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use actix::{Actor, AsyncContext as _, Context, Handler, Message};
use tokio::sync::oneshot;
use tokio::time::Instant;
use weir_core::port_cache::{Reading, Reason, Ticket};
use weir_core::vpn::Look;
use weir_engines::containers::Containers;
use weir_engines::gluetun::ControlServer;
use weir_proto::node::v1::VpnPort;

pub use self::handle::{Found, How, PortCacheHandle, UnknownVpn};
pub use self::table::{Counts, Table, VpnView};
use self::vpn::Vpn;
use crate::actors::provision_supervisor::VpnHappened;
use crate::config::{Config, PortCacheSettings, VpnSettings};
use crate::events::Events;
use crate::link::{Carried, Link, Permits};
use crate::peers::Peers;
use crate::snapshot::Snapshot;

/// Messages that may wait.
pub const MESSAGES_WAITING_MAX: usize = 1_024;
/// How often questions that are due are asked.
const TICK: Duration = Duration::from_millis(100);
/// Look-ups that may wait for one VPN.
const WAITING_MAX: usize = 4_096;

/// Makes the client of a VPN's control server.
pub type Connect =
    Arc<dyn Fn(&VpnSettings) -> Result<Arc<dyn ControlServer>, String> + Send + Sync>;

/// These VPNs are there, and how they are asked.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Configure {
    /// Limits.
    pub limits: PortCacheSettings,
    /// VPNs in the order of their names.
    pub vpns: Vec<VpnSettings>,
}

impl Configure {
    /// The port cache's part of a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            limits: config.port_cache.clone(),
            vpns: config.vpns.clone(),
        }
    }
}

/// A control server answered.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Fetched {
    pub(crate) vpn: String,
    pub(crate) ticket: Ticket,
    pub(crate) reading: Reading,
    /// What is wrong, in words.
    pub(crate) why: Option<String>,
}

/// A VPN was looked at.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Looked {
    pub(crate) vpn: String,
    pub(crate) look: Look,
}

/// Somebody needs a port that is not warm; answered when it is known.
#[derive(Message)]
#[rtype(result = "Result<(), UnknownVpn>")]
pub struct Ask {
    pub(crate) vpn: String,
    pub(crate) answer: oneshot::Sender<Found>,
}

/// What is known of a VPN's port is void.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<(), UnknownVpn>")]
pub struct Invalidate {
    pub(crate) vpn: String,
    pub(crate) reason: Reason,
}

/// The node that asks a VPN was told of an invalidation here, and answered.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Confirmed {
    pub(crate) vpn: String,
    pub(crate) node: String,
    pub(crate) port: VpnPort,
    /// When it was told.
    pub(crate) at: Instant,
}

/// The ways to the actor.
#[derive(Clone)]
pub struct Links {
    pub(crate) configure: Link<Configure>,
    pub(crate) fetched: Link<Fetched>,
    pub(crate) looked: Link<Looked>,
    pub(crate) ask: Link<Ask>,
    pub(crate) invalidate: Link<Invalidate>,
    pub(crate) confirmed: Link<Confirmed>,
}

impl Links {
    fn new() -> Self {
        let permits = Permits::new(MESSAGES_WAITING_MAX);
        Self {
            configure: Link::new(&permits),
            fetched: Link::new(&permits),
            looked: Link::new(&permits),
            ask: Link::new(&permits),
            invalidate: Link::new(&permits),
            confirmed: Link::new(&permits),
        }
    }

    pub(crate) fn point_at(&self, life: &actix::Addr<PortCache>) {
        self.configure.point_at(life);
        self.fetched.point_at(life);
        self.looked.point_at(life);
        self.ask.point_at(life);
        self.invalidate.point_at(life);
        self.confirmed.point_at(life);
    }
}

/// What the actor is made of.
#[derive(Clone)]
pub struct Parts {
    /// The ways back to the actor.
    pub links: Links,
    /// Makes clients of control servers.
    pub connect: Connect,
    /// Looks at containers of VPNs.
    pub containers: Arc<dyn Containers>,
    /// Who asks which VPN.
    pub peers: Peers,
    /// Where the actor publishes.
    pub table: Snapshot<Table>,
    /// Where what engines depend on goes.
    pub to_supervisor: Link<VpnHappened>,
    /// Where everything goes that happens.
    pub events: Events,
    /// The next entry's number; begins somewhere else with each start of the node.
    pub incarnations: Arc<AtomicU64>,
}

/// The actor.
pub struct PortCache {
    parts: Parts,
    limits: PortCacheSettings,
    vpns: BTreeMap<String, Vpn>,
    /// Events that were not taken yet, oldest first.
    untold: Vec<VpnHappened>,
}

impl PortCache {
    /// A life that knows nothing but what is configured.
    pub fn new(parts: Parts, configure: Configure) -> Self {
        let mut cache = Self {
            parts,
            limits: configure.limits.clone(),
            vpns: BTreeMap::new(),
            untold: Vec::new(),
        };
        cache.configure(configure);
        cache
    }

    fn configure(&mut self, configure: Configure) {
        self.limits = configure.limits;
        let mut before = std::mem::take(&mut self.vpns);
        for settings in configure.vpns {
            let known = before.remove(&settings.name);
            let known = known.and_then(|mut vpn| {
                vpn.reconfigure(settings.clone(), &self.parts)
                    .then_some(vpn)
            });
            let vpn = known.unwrap_or_else(|| Vpn::new(settings, &self.parts));
            self.vpns.insert(vpn.settings.name.clone(), vpn);
        }
        self.publish();
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let heard = self.parts.peers.heard().borrow().clone();
        for vpn in self.vpns.values_mut() {
            let owner = self.parts.peers.owner_of_vpn(&vpn.settings.name);
            vpn.owned_by(now, owner, self.parts.peers.node());
            match vpn.is_ours() {
                true => vpn.ask_what_is_due(now, &self.limits, &self.parts),
                false => vpn.learn(now, &heard, &self.limits, &mut self.untold),
            }
            vpn.answer_waiting(now, &self.limits);
        }
        self.tell();
        self.publish();
        ctx.run_later(TICK, Self::tick);
    }

    /// Hands events on, in order.
    fn tell(&mut self) {
        let refused = self
            .untold
            .iter()
            .position(|event| self.parts.to_supervisor.offer(event.clone()).is_err());
        self.untold.drain(..refused.unwrap_or(self.untold.len()));
    }

    fn publish(&self) {
        let now = Instant::now();
        let views = self.vpns.values().map(|vpn| vpn.view(now, &self.limits));
        let table = Table::of(views, &self.limits);
        let before = self.parts.table.load();
        news::record(&before, &table, &self.parts.events);
        if *before != table {
            self.parts.table.publish(table);
        }
    }
}

impl Actor for PortCache {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(Duration::ZERO, Self::tick);
    }
}

impl Handler<Carried<Configure>> for PortCache {
    type Result = ();

    fn handle(&mut self, configure: Carried<Configure>, _: &mut Context<Self>) {
        configure.taken();
        self.configure(configure.message);
    }
}

impl Handler<Carried<Fetched>> for PortCache {
    type Result = ();

    fn handle(&mut self, fetched: Carried<Fetched>, _: &mut Context<Self>) {
        let now = Instant::now();
        let Fetched {
            vpn,
            ticket,
            reading,
            why,
        } = fetched.message;
        if let Some(vpn) = self.vpns.get_mut(&vpn) {
            vpn.fetched(now, (ticket, reading), why, &self.limits);
            vpn.answer_waiting(now, &self.limits);
        }
        self.tell();
        self.publish();
    }
}

impl Handler<Carried<Looked>> for PortCache {
    type Result = ();

    fn handle(&mut self, looked: Carried<Looked>, _: &mut Context<Self>) {
        let now = Instant::now();
        if let Some(vpn) = self.vpns.get_mut(&looked.message.vpn) {
            vpn.looked(
                now,
                looked.message.look,
                &self.limits,
                &self.parts,
                &mut self.untold,
            );
        }
        self.tell();
        self.publish();
    }
}

impl Handler<Carried<Ask>> for PortCache {
    type Result = Result<(), UnknownVpn>;

    fn handle(&mut self, ask: Carried<Ask>, _: &mut Context<Self>) -> Self::Result {
        let now = Instant::now();
        let Ask { vpn, answer } = ask.message;
        let vpn = self.vpns.get_mut(&vpn).ok_or(UnknownVpn(vpn))?;
        vpn.look_up(now, answer, &self.limits, &self.parts);
        Ok(())
    }
}

impl Handler<Carried<Invalidate>> for PortCache {
    type Result = Result<(), UnknownVpn>;

    fn handle(&mut self, invalidate: Carried<Invalidate>, _: &mut Context<Self>) -> Self::Result {
        let Invalidate { vpn, reason } = invalidate.message;
        let vpn = self.vpns.get_mut(&vpn).ok_or(UnknownVpn(vpn))?;
        vpn.invalidate(Instant::now(), reason);
        self.publish();
        Ok(())
    }
}

impl Handler<Carried<Confirmed>> for PortCache {
    type Result = ();

    fn handle(&mut self, confirmed: Carried<Confirmed>, _: &mut Context<Self>) {
        let now = Instant::now();
        if let Some(vpn) = self.vpns.get_mut(&confirmed.message.vpn) {
            vpn.confirmed(now, &confirmed.message);
            vpn.answer_waiting(now, &self.limits);
        }
        self.publish();
    }
}
