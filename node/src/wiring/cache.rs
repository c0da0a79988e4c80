//! The cache: what is kept, Redis, and the other nodes.

use std::sync::Arc;

use tokio::task::JoinSet;
use weir_cache::redis::L2;
use weir_cache::{MemoryLimits, PurgeLimits, Purges, Store};
use weir_core::cache::UnixMs;
use weir_core::purge::{DEFAULT_DRIFT_MAX_MS, Hlc, HlcClock};

use super::Env;
use crate::actors::cache_tier::{self, CacheTier, CacheTierHandle};
use crate::actors::config_agent::InForce;
use crate::config::Config;
use crate::data_plane::CoreParts;
use crate::data_plane::answer::Reason;
use crate::guardian::{Budget, BudgetSpent, guard};
use crate::peers::{self, Peers};
use crate::ports::clock::WallClock;
use crate::snapshot::Snapshot;

fn unix_ms(clock: WallClock) -> UnixMs {
    UnixMs(u64::try_from(clock.unix_now().as_millis()).unwrap_or(u64::MAX))
}

/// Where all answers are in Redis; keys tell the namespaces of routes apart.
const L2_NAMESPACE: &str = "answers";

/// What is kept, and with whom it is shared.
pub(super) fn new_store(config: &Config, env: &Env) -> Arc<Store<Reason>> {
    let limits = MemoryLimits {
        bytes_max: config.cache.l1_bytes_max,
        entry_bytes_max: config.cache.l1_entry_bytes_max,
    };
    let clock = HlcClock::new(env.seed as u32, DEFAULT_DRIFT_MAX_MS);
    let purges = Purges::new(env.seed, clock, PurgeLimits::default());
    if config.cache.l2.is_some() {
        // Of purges before its start the node knows nothing: what Redis has from then is validated before it is used.
        purges.distrust_before(Hlc::new(unix_ms(env.clock).0, 0, 0));
    }
    let store = Arc::new(Store::new(limits, config.node.cores, purges));
    if let Some(settings) = &config.cache.l2 {
        let clocked = Arc::downgrade(&store);
        let wall = env.clock;
        let now = move || {
            let store = clocked.upgrade();
            store.map_or(0, |store| store.fetch_time(unix_ms(wall)).time())
        };
        let l2 = L2::start(
            settings.clone(),
            Arc::new(now),
            fastrand::Rng::with_seed(env.seed),
        );
        store.use_l2(l2.namespace(L2_NAMESPACE).ok(), config.cache.l2_ttl);
    }
    store
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
