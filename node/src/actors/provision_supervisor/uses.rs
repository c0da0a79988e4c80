//! Uses of engines through other nodes of the mesh, where an engine is replaced after so many: its own node counts only
//! what goes through itself.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;
use weir_core::ids::ServiceName;

use super::engines::Task;
use super::messages::Look;
use super::settle::tell_looked;
use super::{Parts, ProvisionSupervisor};
use crate::peers::Loads;

/// Between two questions to all nodes.
const ASK_INTERVAL: Duration = Duration::from_secs(5);

/// Who asks, by service.
pub(super) type Asking = BTreeMap<ServiceName, Task>;

impl ProvisionSupervisor {
    /// Asks for the services of which there are such engines here, and for no others.
    pub(super) fn ask_for_uses(&mut self) {
        if !self.parts.registers {
            return;
        }
        let wanted = self.engines.recycled(&self.plan.limits);
        self.asking_for_uses
            .retain(|service, _| wanted.contains(service));
        for service in wanted {
            let parts = &self.parts;
            self.asking_for_uses
                .entry(service)
                .or_insert_with_key(|service| {
                    let asking = keep_asking(parts.clone(), service.clone());
                    Task(tokio::task::spawn_local(asking).abort_handle())
                });
        }
    }

    /// Takes what others counted for a service's engines.
    pub(super) fn used_elsewhere(
        &mut self,
        service: &ServiceName,
        requests: &BTreeMap<String, u64>,
    ) {
        for engine in self.engines.of_service_mut(service) {
            let count = requests.get(&engine.id()).copied().unwrap_or_default();
            engine.uses_elsewhere.see(count);
        }
    }
}

async fn keep_asking(parts: Parts, service: ServiceName) {
    loop {
        let loads = parts.peers.loads(&service, Loads::default()).await;
        // Of a node that does not answer what it counted is not known; with its answer it would count twice.
        if loads.complete {
            let look = Look::UsedElsewhere {
                service: service.clone(),
                requests: loads.requests,
            };
            tell_looked(&parts.links, look).await;
        }
        sleep(ASK_INTERVAL).await;
    }
}
