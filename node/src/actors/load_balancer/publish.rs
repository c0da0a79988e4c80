//! From what the actor knows to what the request path reads.

use std::sync::Arc;
use std::time::Instant;

use weir_core::balance::sticky::Sticky;
use weir_core::balance::{
    Candidate, Fitness, GROUPS_MAX, Member, Selector, Spread, TierConfig, choose_tier,
};
use weir_core::health::Standing;

use super::state::{BackendState, ServiceState, Services};
use crate::data_plane::routing::{BackendView, Routing, Service, Stickiness};

/// The picture as of now.
pub(super) fn routing(services: &Services, revision: u64) -> Routing {
    let now = tokio::time::Instant::now().into_std();
    Routing {
        revision,
        zone: services.zone.clone(),
        table: Arc::clone(&services.routes),
        routes: Arc::clone(&services.route_settings),
        route_metrics: Arc::clone(&services.route_metrics),
        services: services
            .by_name
            .values()
            .map(|state| Arc::new(service(state, &services.zone, now)))
            .collect(),
    }
}

fn service(state: &ServiceState, zone: &str, now: Instant) -> Service {
    let members: Vec<Member<'_>> = state
        .backends
        .iter()
        .map(|backend| member(backend, now))
        .collect();
    let config = TierConfig {
        panic_percent: state.settings.health.panic_percent,
        ..TierConfig::default()
    };
    let tier = choose_tier(
        &config,
        Some(zone).filter(|zone| !zone.is_empty()),
        &members,
    );
    let chosen: Vec<&BackendState> = tier.members.iter().map(|at| &state.backends[*at]).collect();
    let candidates = chosen
        .iter()
        .map(|backend| candidate(backend, now))
        .collect();
    Service {
        settings: Arc::clone(&state.settings),
        selector: selector(state, &chosen, candidates),
        candidates: chosen
            .iter()
            .map(|backend| Arc::clone(&backend.backend))
            .collect(),
        backends: views(state, now),
        stickiness: stickiness(state, now),
        panic: tier.panic,
        removed: state.removed,
        metrics: Arc::clone(&state.metrics),
    }
}

fn member(backend: &BackendState, now: Instant) -> Member<'_> {
    let zone = backend.settings.zone.as_str();
    Member {
        priority: backend.settings.priority,
        zone: (!zone.is_empty()).then_some(zone),
        fitness: match backend.weight() {
            0 => Fitness::Withdrawn,
            _ => backend.health.standing(now).fitness(),
        },
    }
}

/// Engines get their work laid out; other backends have no groups, and need no time to settle.
fn selector(
    state: &ServiceState,
    chosen: &[&BackendState],
    candidates: Vec<Candidate>,
) -> Selector {
    let selector = Selector::new(state.settings.policy, candidates);
    let Some(engines) = &state.settings.engines else {
        return selector;
    };
    let mut names: Vec<&str> = Vec::new();
    let groups = chosen.iter().map(|backend| {
        let name = backend.settings.group.as_deref()?;
        let at = names
            .iter()
            .position(|known| *known == name)
            .unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            });
        u8::try_from(at)
            .ok()
            .filter(|at| usize::from(*at) < GROUPS_MAX)
    });
    let groups = groups.collect();
    selector.spread(Spread {
        settle: engines.scale.settle,
        groups,
    })
}

fn candidate(backend: &BackendState, now: Instant) -> Candidate {
    Candidate {
        id: backend.backend.id.clone(),
        weight: backend.weight() * backend.health.standing(now).share_permille(),
        load: Arc::clone(&backend.backend.load),
    }
}

fn stickiness(state: &ServiceState, now: Instant) -> Option<Stickiness> {
    let settings = state.settings.sticky.as_ref()?;
    let secret = Sticky::secret_of(&state.settings.name);
    let sticky = Sticky::new(settings.cookie.clone(), settings.ttl, secret).ok()?;
    let backends: Vec<_> = state
        .backends
        .iter()
        .filter(|backend| backend.health.standing(now).takes_work())
        .map(|backend| Arc::clone(&backend.backend))
        .collect();
    let tags = backends
        .iter()
        .map(|backend| sticky.tag(&backend.id))
        .collect();
    Some(Stickiness {
        sticky,
        tags,
        backends,
    })
}

fn views(state: &ServiceState, now: Instant) -> Vec<BackendView> {
    let staying = state
        .backends
        .iter()
        .map(|backend| view(backend, false, now));
    let leaving = state.leaving.iter().map(|backend| view(backend, true, now));
    staying.chain(leaving).collect()
}

fn view(state: &BackendState, leaving: bool, now: Instant) -> BackendView {
    let standing = state.health.standing(now);
    BackendView {
        backend: Arc::clone(&state.backend),
        weight: state.weight(),
        zone: state.settings.zone.clone(),
        priority: state.settings.priority,
        standing,
        health: state.health.clone(),
        leaving,
        cut_at: match standing {
            Standing::Draining { deadline } => Some(deadline.into()),
            Standing::Drained { .. } => Some(now.into()),
            _ => None,
        },
    }
}
