//! Processes: a control plane, and nodes that share a VPN.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use weir_fakes::gluetun::FakeGluetun;
use weir_proto::node::v1::port_cache_client::PortCacheClient;
use weir_proto::node::v1::{ListPortsRequest, VpnPort};

use super::process::{Process, free_address, text, weir};
use super::{Options, PATIENCE};

/// The route at which a control server tells its port.
pub(super) const PORT_ROUTE: &str = "GET /v1/portforward";
/// The routes at which it tells how the VPN is.
pub(super) const HEALTH_ROUTES: [&str; 2] = ["GET /v1/publicip/ip", "GET /v1/vpn/status"];
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// One node.
pub(super) struct MeshNode {
    process: Process,
    grpc: SocketAddr,
}

/// Nodes of one control plane that all have the VPN `v1`.
pub(super) struct Mesh {
    pub(super) nodes: Vec<MeshNode>,
    _control_plane: Process,
    folder: tempfile::TempDir,
}

impl MeshNode {
    /// A connection of its own to this node.
    pub(super) fn channel(&self) -> Result<Channel, String> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc));
        let endpoint = endpoint.map_err(|error| error.to_string())?;
        Ok(endpoint.timeout(CALL_TIMEOUT).connect_lazy())
    }

    /// Processor time that it used, in milliseconds.
    pub(super) fn cpu_ms(&self) -> Result<u64, String> {
        self.process.cpu_ms()
    }

    async fn port(&self) -> Result<VpnPort, String> {
        let mut client = PortCacheClient::new(self.channel()?);
        let listed = client.list_ports(ListPortsRequest {}).await;
        let mut ports = listed
            .map_err(|status| status.message().to_owned())?
            .into_inner()
            .ports;
        ports.pop().ok_or_else(|| "it has no VPN".to_owned())
    }
}

impl Mesh {
    /// Starts `count` nodes and waits until they agree on who asks `fake`, and know the port.
    pub(super) async fn start(
        options: &Options,
        count: usize,
        fake: &FakeGluetun,
    ) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (weir, at) = (weir(options.weir.as_ref())?, folder.path());
        let mut random = fastrand::Rng::new();
        let control = free_address(&mut random)?;
        let (listen, data) = (control.to_string(), at.join("control-plane"));
        let arguments = [
            "control-plane",
            "--listen",
            &listen,
            "--data-dir",
            text(&data)?,
        ];
        let control_plane = Process::start(&weir, &arguments, &at.join("control-plane.log"))?;
        let mut nodes = Vec::new();
        for number in 0..count {
            let name = format!("node-{number}");
            let [ingress, grpc, api] = [
                free_address(&mut random)?,
                free_address(&mut random)?,
                free_address(&mut random)?,
            ];
            let config = format!(
                "[node]\nname = \"{name}\"\ndata_dir = \"{}\"\n[ingress]\nlisten = \"{ingress}\"\n\
                 [grpc]\nlisten = \"{grpc}\"\n[http_api]\nlisten = \"{api}\"\n\
                 [control_plane]\nendpoints = [\"{control}\"]\n[vpns.v1]\ncontrol_url = \"http://{}\"\n",
                at.join(&name).display(),
                fake.control()
            );
            let file = at.join(format!("{name}.toml"));
            std::fs::write(&file, config).map_err(|error| error.to_string())?;
            let arguments = ["node", "--config", text(&file)?];
            let process = Process::start(&weir, &arguments, &at.join(format!("{name}.log")))?;
            nodes.push(MeshNode { process, grpc });
        }
        let mesh = Self {
            nodes,
            _control_plane: control_plane,
            folder,
        };
        mesh.agrees().await?;
        Ok(mesh)
    }

    async fn agrees(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ports = futures::future::join_all(self.nodes.iter().map(MeshNode::port)).await;
            let owners: Option<Vec<&str>> = ports
                .iter()
                .map(|port| {
                    port.as_ref()
                        .ok()
                        .filter(|port| port.port != 0 && !port.stale)
                })
                .map(|port| port.map(|port| port.owner.as_str()))
                .collect();
            // A node that knows no other takes itself for the one that asks.
            if owners.is_some_and(|owners| owners.windows(2).all(|pair| pair[0] == pair[1])) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.folder.path().join("node-0.log"));
                return Err(format!(
                    "nodes do not agree: {ports:?}\n{}",
                    log.unwrap_or_default()
                ));
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}
