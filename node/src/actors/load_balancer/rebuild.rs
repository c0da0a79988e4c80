//! What a new life of the actor starts from: the picture that the last one published.

use std::sync::Arc;

use weir_core::health::BackendHealth;

use super::Parts;
use super::state::{BackendState, ServiceState, Services};
use crate::data_plane::routing::{BackendView, Routing, Service};

/// Everything as it was published; checks begin anew.
pub(super) fn from_routing(parts: &Parts) -> Services {
    let routing: Arc<Routing> = parts.outlet.routing().load();
    let serials = routing
        .services
        .iter()
        .flat_map(|service| &service.backends)
        .map(|view| view.backend.serial);
    Services {
        next_serial: serials.max().unwrap_or(0),
        configured: routing.revision > 0,
        routes: Arc::clone(&routing.table),
        route_settings: Arc::clone(&routing.routes),
        route_metrics: Arc::clone(&routing.route_metrics),
        zone: routing.zone.clone(),
        by_name: routing
            .services
            .iter()
            .map(|service| (service.settings.name.clone(), state_of(service, parts)))
            .collect(),
    }
}

fn state_of(service: &Service, parts: &Parts) -> ServiceState {
    let (leaving, staying): (Vec<_>, Vec<_>) =
        service.backends.iter().partition(|view| view.leaving);
    let mut state = ServiceState {
        settings: Arc::clone(&service.settings),
        backends: staying
            .into_iter()
            .map(|view| backend_of(view, service))
            .collect(),
        leaving: leaving
            .into_iter()
            .map(|view| backend_of(view, service))
            .collect(),
        removed: service.removed,
        metrics: Arc::clone(&service.metrics),
    };
    for at in 0..state.backends.len() {
        let backend = Arc::clone(&state.backends[at].backend);
        state.backends[at].probing = state.start_probing(&backend, parts);
    }
    state
}

fn backend_of(view: &BackendView, service: &Service) -> BackendState {
    let configured = service
        .settings
        .backends
        .iter()
        .find(|settings| settings.id == view.backend.id);
    let settings = configured
        .cloned()
        .unwrap_or_else(|| crate::config::BackendSettings {
            id: view.backend.id.clone(),
            endpoint: view.backend.endpoint.clone(),
            weight: view.weight,
            zone: view.zone.clone(),
            priority: view.priority,
            group: None,
        });
    BackendState {
        backend: Arc::clone(&view.backend),
        weight_override: (settings.weight != view.weight).then_some(view.weight),
        settings,
        health: BackendHealth::clone(&view.health),
        probing: None,
    }
}
