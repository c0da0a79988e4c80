//! Services and backends as the actor knows them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_core::balance::BackendLoad;
use weir_core::health::{BackendHealth, Check, HealthConfig, Standing, may_eject};
use weir_core::ids::ServiceName;
use weir_core::route::RouteTable;

use super::probe::{self, Probing};
use super::{Change, Command, CommandError, Configure, Parts};
use crate::config::{BackendSettings, RouteSettings, ServiceSettings};
use crate::data_plane::routing::Backend;
use crate::prober;
use crate::telemetry::http_client::HttpClient;
use crate::telemetry::http_server::{OfRoutes, RouteMetrics};
use crate::telemetry::metrics::ServiceMetrics;

/// Everything that the actor owns.
pub(super) struct Services {
    pub(super) by_name: BTreeMap<ServiceName, ServiceState>,
    pub(super) routes: Arc<RouteTable>,
    pub(super) route_settings: Arc<[RouteSettings]>,
    pub(super) route_metrics: OfRoutes,
    pub(super) zone: String,
    /// False until the first configuration: its backends are trusted at once.
    pub(super) configured: bool,
    pub(super) next_serial: u64,
}

/// One service.
pub(super) struct ServiceState {
    pub(super) settings: Arc<ServiceSettings>,
    pub(super) backends: Vec<BackendState>,
    /// Backends that left the configuration and finish what runs.
    pub(super) leaving: Vec<BackendState>,
    /// The service itself left the configuration.
    pub(super) removed: bool,
    pub(super) metrics: Arc<ServiceMetrics>,
}

/// One backend.
pub(super) struct BackendState {
    pub(super) backend: Arc<Backend>,
    pub(super) settings: BackendSettings,
    /// Set by an operator; holds until the configured weight changes.
    pub(super) weight_override: Option<u32>,
    pub(super) health: BackendHealth,
    pub(super) probing: Option<Probing>,
}

impl BackendState {
    pub(super) fn weight(&self) -> u32 {
        self.weight_override.unwrap_or(self.settings.weight)
    }
}

impl Services {
    /// Makes the configured services and backends the ones there are. Backends that stay keep their
    /// connections, counters, health and overrides.
    pub(super) fn configure(&mut self, configure: Configure, now: Instant, parts: &Parts) {
        let at_start = !std::mem::replace(&mut self.configured, true);
        self.routes = configure.routes;
        self.route_settings = configure.route_settings;
        self.route_metrics = RouteMetrics::of(&self.routes, &self.route_metrics, parts.cores);
        self.zone = configure.zone;
        for service in self.by_name.values_mut() {
            service.removed = true;
        }
        for settings in configure.services {
            let service = self
                .by_name
                .entry(settings.name.clone())
                .or_insert_with(|| ServiceState {
                    settings: Arc::clone(&settings),
                    backends: Vec::new(),
                    leaving: Vec::new(),
                    removed: false,
                    metrics: Arc::new(ServiceMetrics::new(parts.cores)),
                });
            service.removed = false;
            service.configure(settings, now, at_start, parts, &mut self.next_serial);
        }
        for service in self.by_name.values_mut().filter(|service| service.removed) {
            let backends = std::mem::take(&mut service.backends);
            service.leave(backends, now);
        }
        self.forget_gone(now);
    }

    /// Applies an operator's change.
    pub(super) fn command(&mut self, command: &Command, now: Instant) -> Result<(), CommandError> {
        let service = self
            .by_name
            .get_mut(&command.service)
            .ok_or_else(|| CommandError::UnknownService(command.service.clone()))?;
        let drain_timeout = service.settings.health.drain_timeout;
        let backend = service
            .backends
            .iter_mut()
            .find(|backend| backend.backend.id == command.backend)
            .ok_or_else(|| CommandError::UnknownBackend {
                service: command.service.clone(),
                backend: command.backend.clone(),
            })?;
        match command.change {
            Change::Weight(weight) => backend.weight_override = Some(weight),
            Change::Drain(deadline) => {
                backend.health.drain(now, deadline.unwrap_or(drain_timeout));
            }
            Change::Undrain => {
                backend.health.undrain(now);
            }
            Change::Eject(duration) => {
                backend.health.eject_by_hand(now, duration);
            }
            Change::Restore => {
                backend.health.restore(now);
            }
        }
        Ok(())
    }

    /// Takes note of a check; true when the backend's standing changed.
    pub(super) fn probed(
        &mut self,
        serial: u64,
        result: &Result<(), String>,
        now: Instant,
    ) -> bool {
        let all = self
            .by_name
            .values_mut()
            .flat_map(|service| &mut service.backends);
        let Some(backend) = all
            .into_iter()
            .find(|backend| backend.backend.serial == serial)
        else {
            return false; // It left while the check ran.
        };
        let detail = result.as_ref().err().map_or("", String::as_str);
        let changed = backend.health.probed(now, result.is_ok(), detail);
        if changed {
            log_standing(&backend.backend, &backend.health, now);
        }
        changed
    }

    /// Looks at what the cores counted and lets time pass; true when anything changed.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for service in self.by_name.values_mut() {
            changed |= service.eject_failing(now);
            for backend in service.backends.iter_mut().chain(&mut service.leaving) {
                if backend.health.tick(now, backend.backend.load.in_flight()) {
                    changed = true;
                    log_standing(&backend.backend, &backend.health, now);
                }
            }
        }
        self.forget_gone(now) || changed
    }

    /// Drops what has left and has nothing running any more; true when there was something.
    fn forget_gone(&mut self, now: Instant) -> bool {
        let mut forgot = false;
        self.by_name.retain(|_, service| {
            let before = service.leaving.len();
            service.leaving.retain(|backend| {
                !matches!(backend.health.standing(now), Standing::Drained { .. })
            });
            let gone = service.removed && service.leaving.is_empty();
            forgot |= gone || service.leaving.len() < before;
            !gone
        });
        forgot
    }
}

impl ServiceState {
    fn configure(
        &mut self,
        settings: Arc<ServiceSettings>,
        now: Instant,
        at_start: bool,
        parts: &Parts,
        next_serial: &mut u64,
    ) {
        let same_protocol = self.settings.protocol == settings.protocol;
        let same_checks = checks(&self.settings.health) == checks(&settings.health);
        self.settings = settings;
        let mut before = std::mem::take(&mut self.backends);
        for wanted in self.settings.backends.clone() {
            let kept = before.iter().position(|backend| {
                same_protocol
                    && backend.backend.id == wanted.id
                    && backend.backend.endpoint == wanted.endpoint
            });
            let mut backend = match kept {
                Some(at) => before.swap_remove(at),
                None => self.new_backend(&wanted, now, at_start, parts, next_serial),
            };
            backend
                .health
                .configure(now, Arc::clone(&self.settings.health));
            if backend.settings.weight != wanted.weight {
                backend.weight_override = None;
            }
            backend.settings = wanted;
            if backend.probing.is_none() || !same_checks {
                backend.probing = self.start_probing(&backend.backend, parts);
            }
            self.backends.push(backend);
        }
        self.leave(before, now);
    }

    fn new_backend(
        &self,
        wanted: &BackendSettings,
        now: Instant,
        at_start: bool,
        parts: &Parts,
        next_serial: &mut u64,
    ) -> BackendState {
        *next_serial += 1;
        let health = Arc::clone(&self.settings.health);
        BackendState {
            backend: Arc::new(Backend {
                id: wanted.id.clone(),
                serial: *next_serial,
                endpoint: wanted.endpoint.clone(),
                load: Arc::new(BackendLoad::new(parts.cores, now)),
                client: HttpClient::new(parts.cores),
            }),
            settings: wanted.clone(),
            weight_override: None,
            health: match at_start {
                true => BackendHealth::at_node_start(health),
                false => BackendHealth::added(health, now),
            },
            probing: None,
        }
    }

    pub(super) fn start_probing(&self, backend: &Backend, parts: &Parts) -> Option<Probing> {
        let check = self.settings.health.check.clone()?;
        let target = probe::Target {
            serial: backend.serial,
            whom: prober::Target {
                endpoint: backend.endpoint.clone(),
                protocol: self.settings.protocol,
                check,
                timeout: self.settings.health.timeout,
            },
            interval: self.settings.health.interval,
        };
        let rng = fastrand::Rng::with_seed(parts.seed ^ backend.serial);
        Some(probe::start(
            target,
            Arc::clone(&parts.net),
            parts.probed.clone(),
            rng,
        ))
    }

    /// Lets backends finish what runs on them, up to the drain timeout.
    fn leave(&mut self, backends: Vec<BackendState>, now: Instant) {
        let drain_timeout: Duration = self.settings.health.drain_timeout;
        for mut backend in backends {
            backend.probing = None;
            backend.health.drain(now, drain_timeout);
            backend.health.tick(now, backend.backend.load.in_flight());
            self.leaving.push(backend);
        }
    }

    /// Ejects backends that failed too often in a row, as far as the pool can spare them.
    fn eject_failing(&mut self, now: Instant) -> bool {
        let pool_size = self.backends.len();
        let is_ejected = |backend: &BackendState| {
            matches!(
                backend.health.standing(now),
                Standing::Ejected { by_hand: false, .. }
            )
        };
        let mut ejected = self
            .backends
            .iter()
            .filter(|backend| is_ejected(backend))
            .count();
        let config = self.settings.health.ejection;
        let mut changed = false;
        for backend in &mut self.backends {
            let wants = backend
                .health
                .failure_run(now, backend.backend.load.failure_run());
            if wants && may_eject(&config, pool_size, ejected) && backend.health.eject(now) {
                log_standing(&backend.backend, &backend.health, now);
                ejected += 1;
                changed = true;
            }
        }
        changed
    }
}

/// What a running series of checks depends on; everything else changes without disturbing it.
fn checks(health: &HealthConfig) -> (&Option<Check>, Duration, Duration) {
    (&health.check, health.interval, health.timeout)
}

fn log_standing(backend: &Backend, health: &BackendHealth, now: Instant) {
    let standing = health.standing(now);
    if matches!(standing, Standing::SlowStart { .. }) {
        return; // It moves with every tick.
    }
    let reason = health.reason(now);
    tracing::info!(backend = %backend.id, takes_work = standing.takes_work(), reason, "backend standing");
}
