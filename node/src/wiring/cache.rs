//! The cache: what is kept, Redis, and the other nodes.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_cache::{MemoryLimits, PurgeLimits, Purges, Store};
use weir_core::purge::{DEFAULT_DRIFT_MAX_MS, HlcClock};

use super::Env;
use crate::actors::cache_tier::{self, CacheTier, CacheTierHandle};
use crate::actors::cache_warmer::{self, CacheWarmer, CacheWarmerHandle};
use crate::actors::config_agent::InForce;
use crate::actors::config_agent::control_plane::LinkStatus;
use crate::config::Config;
use crate::data_plane::CoreParts;
use crate::data_plane::answer::Reason;
use crate::events::Events;
use crate::guardian::{Budget, BudgetSpent, guard};
use crate::peers::{self, Peers};
use crate::snapshot::Snapshot;

/// What is kept, and with whom it is shared.
pub(super) fn new_store(config: &Config, env: &Env) -> Arc<Store<Reason>> {
    let limits = MemoryLimits {
        bytes_max: config.cache.l1_bytes_max,
        entry_bytes_max: config.cache.l1_entry_bytes_max,
    };
    let clock = HlcClock::new(env.seed as u32, DEFAULT_DRIFT_MAX_MS);
    let purges = Purges::new(env.seed, clock, PurgeLimits::default());
    if !config.control_plane.endpoints.is_empty() {
        purges.mesh_is_unknown();
    }
    Arc::new(Store::new(limits, config.node.cores, purges))
}

/// The actor that tells other nodes of purges, and who those nodes are.
pub(super) fn wire(
    core_parts: &CoreParts,
    peers: &Peers,
    env: &Env,
    in_force: &Snapshot<InForce>,
    guardians: &mut JoinSet<Result<(), BudgetSpent>>,
) -> CacheTierHandle {
    let cores = in_force.load().config.node.cores;
    let told = core_parts.cache_peers.clone();
    tokio::task::spawn_local(peers::cache::publish(peers.clone(), cores, told));
    let parts = cache_tier::Parts {
        store: Arc::clone(&core_parts.cache),
        peers: peers.clone(),
        clock: env.clock,
        table: Snapshot::new(Vec::new()),
        seed: env.seed,
    };
    let handle = CacheTierHandle::new(&parts);
    let (links, in_force) = (handle.links.clone(), in_force.clone());
    guardians.spawn_local(guard(
        "cache_tier",
        cache_tier::MESSAGES_WAITING_MAX,
        Budget::default(),
        move || {
            let part = cache_tier::Configure::of(&in_force.load().config);
            CacheTier::new(parts.clone(), part)
        },
        move |life| links.point_at(life),
    ));
    handle
}

/// The actor that has cores fetch what will be asked for.
pub(super) fn wire_warmer(
    core_parts: &CoreParts,
    peers: &Peers,
    (control_plane, events): (&Snapshot<LinkStatus>, &Events),
    in_force: &Snapshot<InForce>,
    guardians: &mut JoinSet<Result<(), BudgetSpent>>,
) -> CacheWarmerHandle {
    let store = Arc::clone(&core_parts.cache);
    tokio::task::spawn_local(crate::events::redis::run(events.clone(), store));
    let config = Arc::clone(&in_force.load().config);
    let settings = &config.cache.warm;
    let parts = cache_warmer::Parts {
        warming: core_parts.warming.clone(),
        store: Arc::clone(&core_parts.cache),
        routing: core_parts.routing.clone(),
        peers: peers.clone(),
        is_alone: config.control_plane.endpoints.is_empty(),
        control_plane: control_plane.clone(),
        clock: core_parts.clock,
        events: events.clone(),
        folder: config.node.data_dir.clone(),
        settings: Snapshot::new(settings.clone()),
        warm: Arc::new(watch::Sender::new(settings.on_start.is_empty())),
        has_begun: Arc::default(),
    };
    let handle = CacheWarmerHandle::new(&parts);
    let (links, in_force) = (handle.links.clone(), in_force.clone());
    guardians.spawn_local(guard(
        "cache_warmer",
        cache_warmer::MESSAGES_WAITING_MAX,
        Budget::default(),
        move || {
            let part = cache_warmer::Configure::of(&in_force.load().config);
            CacheWarmer::new(parts.clone(), part)
        },
        move |life| links.point_at(life),
    ));
    handle
}
