//! One look at a VPN: at its container where it has one, else at its control server.

use std::sync::Arc;
use std::time::Duration;

use weir_core::port_cache::Port;
use weir_core::vpn::{Container, ContainerHealth, ContainerLook, Look};
use weir_engines::containers::{self, Containers};
use weir_engines::gluetun::ControlServer;

/// Looks. The control server is spared where Docker tells as much.
pub(super) async fn look(
    container: Option<String>,
    server: Option<Arc<dyn ControlServer>>,
    containers: Arc<dyn Containers>,
    timeout: Duration,
    port: Option<Port>,
) -> Look {
    let container = match container {
        Some(name) => look_at(&*containers, &name).await,
        None => ContainerLook::NotSeen,
    };
    let tells = matches!(&container, ContainerLook::Gone)
        || matches!(&container, ContainerLook::Seen(seen)
            if !seen.is_running || seen.health != ContainerHealth::Untold);
    let control = match server {
        Some(server) if !tells => server.look(timeout).await.ok(),
        _ => None,
    };
    Look {
        control,
        container,
        port,
    }
}

async fn look_at(containers: &dyn Containers, name: &str) -> ContainerLook {
    match containers.look(name).await {
        Ok(Some(found)) => ContainerLook::Seen(Container {
            id: found.id,
            started_unix_ms: found.started_unix_ms,
            is_running: found.running,
            health: match found.health {
                containers::Health::Healthy => ContainerHealth::Healthy,
                containers::Health::Unhealthy => ContainerHealth::Unhealthy,
                containers::Health::None | containers::Health::Starting => ContainerHealth::Untold,
            },
        }),
        Ok(None) => ContainerLook::Gone,
        Err(_) => ContainerLook::NotSeen,
    }
}
