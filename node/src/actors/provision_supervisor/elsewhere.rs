//! What runs on an engine through other nodes of the mesh. One that drains ends it: they had it as a backend, and
//! hear a moment later that it leaves. One whose probes fail is given more time for it: work slows its answers.

use std::time::Duration;

use tokio::time::sleep;
use weir_core::ids::{BackendId, ServiceName};
use weir_core::provision::CareState;

use super::engines::{Task, is_leaving};
use super::messages::Look;
use super::settle::tell_looked;
use super::{Parts, ProvisionSupervisor};
use crate::peers::Loads;

/// Between two questions; also what another node may hear later than this one.
const ASK_INTERVAL: Duration = Duration::from_millis(250);
/// Answers that are not whole, until nobody is waited for any more who does not answer.
const SILENCES_MAX: u32 = 4;

/// What is known of it.
#[derive(Debug)]
pub(super) struct Elsewhere {
    pub(super) in_flight: u64,
    drains: bool,
    _task: Task,
}

impl ProvisionSupervisor {
    /// Asks what runs on an engine that drains, where other nodes know of it.
    pub(super) fn ask_elsewhere(&mut self, id: &str) {
        if !self.parts.registers {
            return;
        }
        let Some(engine) = self.engines.get_mut(id) else {
            return;
        };
        let drains = matches!(engine.care.state(), CareState::Draining { .. });
        let is_asked = engine.elsewhere.as_ref().is_some_and(|one| one.drains);
        if !drains || is_asked {
            return;
        }
        let parts = self.parts.clone();
        let (engine_id, fence) = (id.to_owned(), engine.running.fence);
        let service = ServiceName::from(engine.lot.service.as_str());
        let task = tokio::task::spawn_local(ask(parts, service, engine_id, fence));
        engine.elsewhere = Some(Elsewhere {
            // Until somebody has said otherwise.
            in_flight: 1,
            drains,
            _task: Task(task.abort_handle()),
        });
    }

    /// Asks what runs on an engine whose probes fail, until one passes, where other nodes know of it.
    pub(super) fn ask_while_it_fails(&mut self, id: &str) {
        let engine = self.engines.get_mut(id).filter(|_| self.parts.registers);
        let engine = engine.filter(|engine| engine.elsewhere.is_none());
        let Some(engine) = engine.filter(|engine| !is_leaving(engine.care.state())) else {
            return;
        };
        let (engine_id, fence) = (id.to_owned(), engine.running.fence);
        let service = ServiceName::from(engine.lot.service.as_str());
        let interval = engine.plan.settings.care.interval.max(ASK_INTERVAL);
        let asking = keep_asking(self.parts.clone(), service, (engine_id, fence), interval);
        engine.elsewhere = Some(Elsewhere {
            in_flight: 0,
            drains: false,
            _task: Task(tokio::task::spawn_local(asking).abort_handle()),
        });
    }

    /// Takes what runs on it elsewhere.
    pub(super) fn runs_elsewhere(&mut self, id: &str, fence: u64, in_flight: u64) {
        let engine = self.engines.get_mut(id);
        let engine = engine.filter(|engine| engine.running.fence == fence);
        if let Some(elsewhere) = engine.and_then(|engine| engine.elsewhere.as_mut()) {
            elsewhere.in_flight = in_flight;
        }
    }
}

/// Asks until nothing runs on it. The drain's deadline ends this as well.
async fn ask(parts: Parts, service: ServiceName, engine: String, fence: u64) {
    let id = BackendId::from(engine.as_str());
    let is_registered = || {
        let in_force = parts.in_force.load();
        let registered = in_force.config.given().endpoints.get(&service);
        registered.is_some_and(|registered| registered.contains_key(&id))
    };
    while is_registered() {
        sleep(ASK_INTERVAL).await;
    }
    let mut silences = 0;
    loop {
        sleep(ASK_INTERVAL).await;
        let loads = parts.peers.loads(&service, Loads::default()).await;
        let in_flight = loads.in_flight.get(&engine).copied().unwrap_or_default();
        silences += u32::from(!loads.complete);
        let is_known = loads.complete || silences >= SILENCES_MAX;
        if in_flight > 0 || is_known {
            let look = Look::Elsewhere {
                engine: engine.clone(),
                fence,
                in_flight,
            };
            tell_looked(&parts.links, look).await;
        }
        if in_flight == 0 && is_known {
            return;
        }
    }
}

/// Asks again and again. What is not known of a node that does not answer is left as it was.
async fn keep_asking(
    parts: Parts,
    service: ServiceName,
    (engine, fence): (String, u64),
    interval: Duration,
) {
    loop {
        let loads = parts.peers.loads(&service, Loads::default()).await;
        let in_flight = loads.in_flight.get(&engine).copied().unwrap_or_default();
        if in_flight > 0 || loads.complete {
            let look = Look::Elsewhere {
                engine: engine.clone(),
                fence,
                in_flight,
            };
            tell_looked(&parts.links, look).await;
        }
        sleep(interval).await;
    }
}
