//! Engines and ports, told again after each change.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::stream::unfold;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use weir_proto::node::v1 as pb;

use super::EngineApi;
use crate::actors::port_cache::Table;

/// Between two tellings at least.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Between two questions to other nodes whether anything changed.
const MESH_INTERVAL: Duration = Duration::from_secs(1);
/// Ports are told this often though nothing changed, less one look: to who follows, three seconds of silence are death.
const PORTS_INTERVAL: Duration = Duration::from_millis(900);

struct Engines {
    api: EngineApi,
    mesh: bool,
    revisions: watch::Receiver<u64>,
    told: Option<pb::ListEnginesResponse>,
}

impl Engines {
    /// The list when it is another one; `None` when the node ends.
    async fn next(&mut self) -> Option<pb::ListEnginesResponse> {
        loop {
            if self.told.is_some() {
                sleep(INTERVAL_MIN).await;
                self.change().await?;
            }
            self.revisions.borrow_and_update();
            let list = self.api.list(self.mesh).await;
            if self.told.as_ref() != Some(&list) {
                self.told = Some(list.clone());
                return Some(list);
            }
        }
    }

    async fn change(&mut self) -> Option<()> {
        let changed = self.revisions.changed();
        match self.mesh {
            false => changed.await.ok(),
            // What changes elsewhere does not wake anybody here.
            true => timeout(MESH_INTERVAL, changed)
                .await
                .map_or(Some(()), Result::ok),
        }
    }
}

struct Ports {
    api: EngineApi,
    told: Option<(Arc<Table>, Instant)>,
}

impl Ports {
    async fn next(&mut self) -> pb::ListPortsResponse {
        while let Some((told, at)) = &self.told {
            sleep(INTERVAL_MIN).await;
            if !Arc::ptr_eq(told, &self.api.table()) || at.elapsed() >= PORTS_INTERVAL {
                break;
            }
        }
        self.told = Some((self.api.table(), Instant::now()));
        self.api.ports()
    }
}

impl EngineApi {
    /// The list now, and after each change, ten times a second at most.
    pub fn watch_engines(
        &self,
        mesh: bool,
    ) -> impl Stream<Item = pb::ListEnginesResponse> + Send + use<> {
        let engines = Engines {
            api: self.clone(),
            mesh,
            revisions: self.provision.revisions(),
            told: None,
        };
        unfold(engines, async |mut engines| {
            let list = engines.next().await?;
            Some((list, engines))
        })
    }

    /// Ports now, after each change, and once a second at least.
    pub fn watch_ports(&self) -> impl Stream<Item = pb::ListPortsResponse> + Send + use<> {
        let ports = Ports {
            api: self.clone(),
            told: None,
        };
        unfold(ports, async |mut ports| {
            let list = ports.next().await;
            Some((list, ports))
        })
    }
}
