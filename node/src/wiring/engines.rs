//! The actors that start engines, and the tasks beside them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::task::JoinSet;
use weir_control_plane::jobs::Holder;

use super::Env;
use crate::actors::config_agent::{ConfigAgentHandle, InForce};
use crate::actors::port_cache::{self, PortCache, PortCacheHandle, Table};
use crate::actors::provision_supervisor::{
    self, Outlet, Pacer, Parts, Plan, ProvisionHandle, ProvisionSupervisor, Scale,
};
use crate::config::Config;
use crate::data_plane::WaitSignal;
use crate::data_plane::routing::Routing;
use crate::events::Events;
use crate::guardian::{Budget, BudgetSpent, guard};
use crate::peers::{self, Peers};
use crate::snapshot::Snapshot;

/// What the actors are connected with.
pub(super) struct EngineLinks<'a> {
    pub(super) config: &'a Config,
    pub(super) env: &'a Env,
    pub(super) peers: &'a Peers,
    pub(super) in_force: &'a Snapshot<InForce>,
    pub(super) agent: &'a ConfigAgentHandle,
    pub(super) routing: &'a Snapshot<Routing>,
    pub(super) wait_signal: &'a WaitSignal,
    pub(super) events: &'a Events,
}

/// The actors, running.
pub(super) struct Engines {
    pub(super) provision: ProvisionHandle,
    pub(super) port_cache: PortCacheHandle,
}

/// Starts both actors and what carries their news.
pub(super) fn wire(
    links: &EngineLinks<'_>,
    guardians: &mut JoinSet<Result<(), BudgetSpent>>,
) -> Engines {
    let room = &links.env.engines;
    let outlet = Outlet::default();
    let table = Snapshot::new(Table::default());
    let port_cache = PortCacheHandle::new(table.clone());
    let provision = ProvisionHandle::new(
        &outlet,
        Arc::clone(&room.queue),
        room.drivers.clone(),
        links.in_force.clone(),
        room.registry.is_some(),
    );
    let node = links.config.node.name.clone();
    let tracer = links.env.tracer.weak();
    let boot_ms = links.env.clock.unix_now().as_millis();
    let parts = Parts {
        links: provision.links.clone(),
        queue: Arc::clone(&room.queue),
        holder: Holder {
            node_id: node.clone(),
            boot_id: format!("{boot_ms:012x}-{:016x}", links.env.seed),
        },
        drivers: room.drivers.clone(),
        ports: port_cache.clone(),
        net: Arc::clone(&links.env.net),
        routing: links.routing.clone(),
        in_force: links.in_force.clone(),
        outlet: outlet.clone(),
        pacer: Pacer::default(),
        peers: links.peers.clone(),
        registers: room.registry.is_some(),
        node: node.clone(),
        clock: links.env.clock,
        events: links.events.clone(),
        tracer: tracer.clone(),
    };
    let (actor_links, in_force) = (provision.links.clone(), links.in_force.clone());
    guardians.spawn_local(guard(
        "provision_supervisor",
        provision_supervisor::MESSAGES_WAITING_MAX,
        Budget::default(),
        move || ProvisionSupervisor::new(parts.clone(), Plan::of(&in_force.load().config)),
        move |life| actor_links.point_at(life),
    ));
    guard_port_cache(links, &port_cache, &provision, table, guardians);
    start_tasks(links, &provision, &outlet);
    let scale = Scale {
        node,
        in_force: links.in_force.clone(),
        outlet,
        queue: Arc::clone(&room.queue),
        links: provision.links.clone(),
        peers: links.peers.clone(),
        ports: port_cache.clone(),
        routing: links.routing.clone(),
        wait_signal: links.wait_signal.clone(),
        events: links.events.clone(),
        tracer,
    };
    tokio::task::spawn_local(scale.run());
    tokio::task::spawn_local(peers::run(links.peers.clone(), links.in_force.clone()));
    Engines {
        provision,
        port_cache,
    }
}

/// Starts what carries news of engines to and fro.
fn start_tasks(links: &EngineLinks<'_>, provision: &ProvisionHandle, outlet: &Outlet) {
    let room = &links.env.engines;
    tokio::task::spawn_local(provision_supervisor::give(
        outlet.clone(),
        links.agent.clone(),
    ));
    if let Some(registry) = &room.registry {
        tokio::task::spawn_local(provision_supervisor::register(
            Arc::clone(registry),
            outlet.clone(),
        ));
    }
    tokio::task::spawn_local(provision_supervisor::watch_images(
        outlet.clone(),
        room.drivers.clone(),
        provision.links.clone(),
    ));
    let lost = provision_supervisor::count_lost_lines(room.drivers.clone(), links.events.clone());
    tokio::task::spawn_local(lost);
}

fn guard_port_cache(
    links: &EngineLinks<'_>,
    handle: &PortCacheHandle,
    provision: &ProvisionHandle,
    table: Snapshot<Table>,
    guardians: &mut JoinSet<Result<(), BudgetSpent>>,
) {
    let parts = port_cache::Parts {
        links: handle.links.clone(),
        connect: Arc::clone(&links.env.engines.connect),
        containers: Arc::clone(&links.env.engines.containers),
        peers: links.peers.clone(),
        table,
        to_supervisor: provision.links.vpn.clone(),
        events: links.events.clone(),
        incarnations: Arc::new(AtomicU64::new(links.env.seed)),
    };
    let (actor_links, in_force) = (handle.links.clone(), links.in_force.clone());
    guardians.spawn_local(guard(
        "port_cache",
        port_cache::MESSAGES_WAITING_MAX,
        Budget::default(),
        move || {
            PortCache::new(
                parts.clone(),
                port_cache::Configure::of(&in_force.load().config),
            )
        },
        move |life| actor_links.point_at(life),
    ));
}
