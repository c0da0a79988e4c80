//! Processes: a control plane, and nodes that share a VPN.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use weir_fakes::gluetun::FakeGluetun;
use weir_proto::node::v1::port_cache_client::PortCacheClient;
use weir_proto::node::v1::{ListPortsRequest, VpnPort};

use super::{Options, PATIENCE};

/// The route at which a control server tells its port.
pub(super) const PORT_ROUTE: &str = "GET /v1/portforward";
/// The routes at which it tells how the VPN is.
pub(super) const HEALTH_ROUTES: [&str; 2] = ["GET /v1/publicip/ip", "GET /v1/vpn/status"];
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Below the ports that the system gives to clients.
const PORTS: std::ops::Range<u16> = 26_500..32_000;
const PORTS_TRIED_MAX: usize = 100;

/// A process; it dies with this.
struct Process(Child);

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

impl Process {
    fn start(weir: &Path, arguments: &[&str], log: &Path) -> Result<Self, String> {
        let log = std::fs::File::create(log).map_err(|error| error.to_string())?;
        let child = Command::new(weir)
            .args(arguments)
            // Its end ends the child, should this be killed.
            .arg("--stop-with-stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        child
            .map(Self)
            .map_err(|error| format!("{}: {error}", weir.display()))
    }

    /// Processor time that it used, in milliseconds.
    fn cpu_ms(&self) -> Result<u64, String> {
        let id = self.0.id().ok_or("a process ended")?;
        cpu_ms(&format!("/proc/{id}/stat"))
    }
}

/// Processor time of a process by its `stat`, in milliseconds.
pub(super) fn cpu_ms(stat: &str) -> Result<u64, String> {
    let stat = std::fs::read_to_string(stat).map_err(|error| error.to_string())?;
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let field = |at: usize| after_name.split(' ').nth(at)?.parse::<u64>().ok();
    // Fields 14 and 15 of proc(5), in ticks of 10 ms.
    let ticks = field(11).zip(field(12)).map(|(user, system)| user + system);
    ticks
        .map(|ticks| ticks * 10)
        .ok_or_else(|| "no times".to_owned())
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
        let (weir, at) = (weir(options)?, folder.path());
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

fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| "a path is no text".to_owned())
}

/// The binary under test: told, or beside the folder of this one.
fn weir(options: &Options) -> Result<PathBuf, String> {
    if let Some(weir) = &options.weir {
        return Ok(weir.clone());
    }
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = own.ancestors().nth(2);
    folder
        .map(|folder| folder.join("weir"))
        .ok_or_else(|| "--weir is needed".to_owned())
}

fn free_address(random: &mut fastrand::Rng) -> Result<SocketAddr, String> {
    for _ in 0..PORTS_TRIED_MAX {
        let address = SocketAddr::from(([127, 0, 0, 1], random.u16(PORTS)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err("no free port was found".to_owned())
}
