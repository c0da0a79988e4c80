//! Registers engines at the control plane, so that every node has them as backends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use tokio::time::{MissedTickBehavior, interval};
use weir_core::error::chain;
use weir_proto::control::v1 as pb;

use super::publish::{InTraffic, Leave, Outlet};
use crate::config::EngineFacts;

/// Silence for this long removes an engine of a node that died. Holds end sooner: who takes the engine over has it
/// before it leaves traffic.
const TTL: Duration = Duration::from_secs(20);
/// Between two rounds of heartbeats and of what did not succeed.
const ROUND_INTERVAL: Duration = Duration::from_secs(4);
/// Calls at a time.
const CALLS_MAX: usize = 16;

/// Why a call of the registry did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// It does not know the registration.
    #[error("the registration is not known")]
    Unknown,
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

/// The registry, wherever it is.
pub trait Registry: Send + Sync + 'static {
    /// Registers a backend and tells by what it is known.
    fn register(
        &self,
        endpoint: pb::Endpoint,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<String, RegistryError>>;
    /// Says that it is still there.
    fn heartbeat(
        &self,
        service: String,
        backend: String,
        id: String,
    ) -> BoxFuture<'_, Result<(), RegistryError>>;
    /// Takes it back.
    fn deregister(
        &self,
        service: String,
        backend: String,
        id: String,
    ) -> BoxFuture<'_, Result<(), RegistryError>>;
}

/// What is registered, and as what.
struct Registered {
    as_what: InTraffic,
    id: String,
}

/// Keeps the registry as `outlet` says, until the node has taken leave.
pub async fn run(registry: Arc<dyn Registry>, outlet: Outlet) {
    let mut registered: BTreeMap<String, Registered> = BTreeMap::new();
    let (mut in_traffic, mut leave) = (outlet.in_traffic.subscribe(), outlet.leave.subscribe());
    let mut rounds = interval(ROUND_INTERVAL);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut problem = String::new();
    loop {
        let is_round = tokio::select! {
            biased;
            _ = leave.changed() => false,
            _ = in_traffic.changed() => false,
            _ = rounds.tick() => true,
        };
        let is_leaving = *leave.borrow_and_update() != Leave::Stays;
        let wanted = match is_leaving {
            true => Arc::new([]),
            false => Arc::clone(&in_traffic.borrow_and_update()),
        };
        let done = one_round(&*registry, &wanted, &mut registered, is_round).await;
        if is_leaving {
            // What could not be taken back ends by its silence.
            outlet.leave.send_replace(Leave::Left);
            return;
        }
        let now = done
            .err()
            .map(|error| chain(&error).to_string())
            .unwrap_or_default();
        if now != problem && !now.is_empty() {
            tracing::warn!(
                why = now,
                "engines are not registered; other nodes do not know them"
            );
        }
        problem = now;
    }
}

/// Says that what is registered is there, leaves what is not wanted, registers what is new. One that cannot be told
/// keeps no other from being told.
async fn one_round(
    registry: &dyn Registry,
    wanted: &[InTraffic],
    registered: &mut BTreeMap<String, Registered>,
    with_heartbeats: bool,
) -> Result<(), RegistryError> {
    let mut first_error = Ok(());
    if with_heartbeats {
        first_error = beat(registry, registered).await;
    }
    let is_wanted = |known: &Registered| wanted.contains(&known.as_what);
    let gone: Vec<String> = registered
        .iter()
        .filter(|(_, known)| !is_wanted(known))
        .map(|(id, _)| id.clone())
        .collect();
    let new = wanted
        .iter()
        .filter(|engine| !registered.contains_key(engine.id.as_str()));
    let new: Vec<InTraffic> = new.cloned().collect();
    let left = stream::iter(gone)
        .map(|id| leave(registry, &registered[&id]))
        .buffer_unordered(CALLS_MAX);
    for (id, result) in left.collect::<Vec<_>>().await {
        match result {
            Ok(()) | Err(RegistryError::Unknown) => drop(registered.remove(&id)),
            Err(error) => first_error = first_error.and(Err(error)),
        }
    }
    let came = stream::iter(new)
        .map(|engine| come(registry, engine))
        .buffer_unordered(CALLS_MAX);
    for (engine, result) in came.collect::<Vec<_>>().await {
        match result {
            Ok(id) => drop(registered.insert(
                engine.id.to_string(),
                Registered {
                    as_what: engine,
                    id,
                },
            )),
            Err(error) => first_error = first_error.and(Err(error)),
        }
    }
    first_error
}

/// One heartbeat for each; who is not known any more is registered anew in this round.
async fn beat(
    registry: &dyn Registry,
    registered: &mut BTreeMap<String, Registered>,
) -> Result<(), RegistryError> {
    let all: Vec<(String, String, String)> = registered
        .values()
        .map(|known| {
            (
                known.as_what.service.to_string(),
                known.as_what.id.to_string(),
                known.id.clone(),
            )
        })
        .collect();
    let beats = stream::iter(all).map(|(service, engine, id)| async move {
        let result = registry.heartbeat(service, engine.clone(), id).await;
        (engine, result)
    });
    let mut first_error = Ok(());
    for (engine, result) in beats.buffer_unordered(CALLS_MAX).collect::<Vec<_>>().await {
        match result {
            Ok(()) => {}
            Err(RegistryError::Unknown) => drop(registered.remove(&engine)),
            Err(error) => first_error = first_error.and(Err(error)),
        }
    }
    first_error
}

async fn leave(registry: &dyn Registry, known: &Registered) -> (String, Result<(), RegistryError>) {
    let (service, engine) = (
        known.as_what.service.to_string(),
        known.as_what.id.to_string(),
    );
    let result = registry
        .deregister(service, engine.clone(), known.id.clone())
        .await;
    (engine, result)
}

async fn come(
    registry: &dyn Registry,
    engine: InTraffic,
) -> (InTraffic, Result<String, RegistryError>) {
    let result = registry.register(endpoint(&engine), TTL).await;
    (engine, result)
}

fn endpoint(engine: &InTraffic) -> pb::Endpoint {
    pb::Endpoint {
        service: engine.service.to_string(),
        backend_id: engine.id.to_string(),
        address: engine.backend.address.clone(),
        weight: engine.backend.weight,
        zone: engine.backend.zone.clone(),
        priority: engine.backend.priority,
        labels: engine
            .backend
            .engine
            .as_ref()
            .map(EngineFacts::labels)
            .unwrap_or_default(),
    }
}
