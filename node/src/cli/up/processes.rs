//! The processes of a mesh on one machine: nodes and demo backends.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::folder::open_log;
use super::process::Process;
use crate::cli::output::Failure;
use crate::config::Config;

/// How long a demo backend may take to tell its address.
const BACKEND_START_TIMEOUT: Duration = Duration::from_secs(10);

/// Where one node of the mesh listens.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Among the nodes of the mesh, from 0.
    pub(super) at: usize,
    pub(super) name: String,
    pub(super) ingress: Vec<SocketAddr>,
    pub(super) grpc: SocketAddr,
    pub(super) http_api: SocketAddr,
}

/// Node `i` listens on the configured ports plus `i`.
pub(super) fn places(config: &Config, nodes: usize) -> Result<Vec<Place>, Failure> {
    (0..nodes)
        .map(|at| {
            let ingress: Result<_, _> = config
                .ingress
                .listen
                .iter()
                .map(|address| shifted(*address, at))
                .collect();
            Ok(Place {
                at,
                name: format!("node-{}", at + 1),
                ingress: ingress?,
                grpc: shifted(config.grpc.listen, at)?,
                http_api: shifted(config.http_api.listen, at)?,
            })
        })
        .collect()
}

fn shifted(address: SocketAddr, by: usize) -> Result<SocketAddr, Failure> {
    let port = u16::try_from(by)
        .ok()
        .and_then(|by| address.port().checked_add(by));
    match port {
        Some(port) => Ok(SocketAddr::new(address.ip(), port)),
        None => Err(Failure::Usage(format!(
            "{address}: no port is left for node {}",
            by + 1
        ))),
    }
}

/// Fails with one line when an address of the mesh is taken.
pub(super) fn claim_all(
    places: &[Place],
    control_plane: Option<SocketAddr>,
) -> Result<(), Failure> {
    if let Some(address) = control_plane {
        crate::data_plane::claim(address).map_err(|error| {
            Failure::Other(format!("--control-plane-listen {address}: {error}"))
        })?;
    }
    for place in places {
        let own = [
            ("grpc.listen", place.grpc),
            ("http_api.listen", place.http_api),
        ];
        let ingress = place
            .ingress
            .iter()
            .map(|address| ("ingress.listen", *address));
        for (key, address) in ingress.chain(own) {
            crate::data_plane::claim(address).map_err(|error| {
                Failure::Other(format!("{} of {}: {address}: {error}", key, place.name))
            })?;
        }
    }
    Ok(())
}

/// Names the OTLP receiver to nodes and to the control plane.
pub(super) const OTLP: &str = "WEIR_TELEMETRY__OTLP";

/// What all nodes of a mesh share.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The file that all of them read.
    pub(super) config: PathBuf,
    /// Cores of each.
    pub(super) cores: usize,
    /// Below this each has a folder of its own, by its name.
    pub(super) data_dir: PathBuf,
    /// The control plane of the mesh; `None` where the file names another.
    pub(super) control_plane: Option<SocketAddr>,
    /// Where all of them tell what they trace.
    pub(super) otlp: Option<String>,
    /// What the environment says of how many engines there are.
    pub(super) engines: Vec<(String, String)>,
    /// Whether any service has engines.
    pub(super) has_engines: bool,
    /// Ports for each node's engines.
    pub(super) host_ports: Vec<RangeInclusive<u16>>,
}

impl Plan {
    /// What the environment says of it.
    fn telemetry(&self) -> Option<(&'static str, &str)> {
        Some((OTLP, self.otlp.as_deref()?))
    }
}

/// Starts a node of the mesh from the mesh's own file; only its name, addresses and folder differ.
pub(super) fn start_node(plan: &Plan, place: &Place, log: &Path) -> io::Result<Process> {
    let ingress: Vec<String> = place.ingress.iter().map(|a| format!("\"{a}\"")).collect();
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("node")
        .arg("--config")
        .arg(&plan.config)
        .arg("--stop-with-stdin")
        .env("WEIR_NODE__NAME", format!("\"{}\"", place.name))
        .env("WEIR_NODE__CORES", plan.cores.to_string())
        .env("WEIR_NODE__DATA_DIR", plan.data_dir.join(&place.name))
        .env("WEIR_INGRESS__LISTEN", format!("[{}]", ingress.join(",")))
        .env("WEIR_INGRESS__ADVERTISE", "[]")
        .env("WEIR_GRPC__LISTEN", place.grpc.to_string())
        .env("WEIR_GRPC__ADVERTISE", place.grpc.to_string())
        .env("WEIR_HTTP_API__LISTEN", place.http_api.to_string())
        .env_remove("WEIR_NODE")
        .stdout(Stdio::null())
        .stderr(open_log(log)?);
    command.envs(plan.engines.iter().cloned());
    command.envs(plan.telemetry());
    if let Some(ports) = plan.host_ports.get(place.at) {
        // Nodes of one machine must not give one port twice.
        let range = format!("{}-{}", ports.start(), ports.end());
        command.env("WEIR_PROVISION__HOST_PORTS", range);
    }
    if let Some(address) = plan.control_plane {
        command.env("WEIR_CONTROL_PLANE__ENDPOINTS", format!("[\"{address}\"]"));
    }
    Process::spawn(&mut command)
}

/// Starts the control plane of the mesh.
pub(super) fn start_control_plane(
    listen: SocketAddr,
    plan: &Plan,
    log: &Path,
) -> io::Result<Process> {
    Process::spawn(
        Command::new(std::env::current_exe()?)
            .args(["control-plane", "--stop-with-stdin", "--name", "weir-up"])
            .args(["--listen", &listen.to_string()])
            .arg("--data-dir")
            .arg(plan.data_dir.join("control-plane"))
            .envs(plan.telemetry())
            .env_remove("WEIR_STORE")
            .stdout(Stdio::null())
            .stderr(open_log(log)?),
    )
}

/// Why a process is not there, with the last line that it wrote.
pub(super) fn did_not_start(name: &str, ended: Option<String>, log: &Path) -> Failure {
    let written = std::fs::read_to_string(log).unwrap_or_default();
    let last = written.lines().next_back().unwrap_or("it wrote nothing");
    let how = ended.unwrap_or_else(|| "no answer in time".to_owned());
    Failure::Other(format!("{name} did not start ({how}): {last}"))
}

/// Starts a demo backend on a free port.
pub(super) async fn start_backend(name: &str) -> Result<(Process, SocketAddr), Failure> {
    let mut process = Process::spawn(
        Command::new(std::env::current_exe()?)
            .args(["demo-backend", "--listen", "127.0.0.1:0", "--name", name])
            .stdout(Stdio::piped()),
    )?;
    let stdout = process
        .child
        .stdout
        .take()
        .expect("its standard output is piped");
    let mut lines = BufReader::new(stdout).lines();
    let line = timeout(BACKEND_START_TIMEOUT, lines.next_line()).await;
    let address = line
        .ok()
        .and_then(Result::ok)
        .flatten()
        .and_then(|line| line.parse().ok());
    match address {
        Some(address) => Ok((process, address)),
        None => Err(Failure::Other(format!("demo backend {name} did not start"))),
    }
}

/// A range of ports in as many parts as there are nodes; none when it is too small.
pub(super) fn split(ports: &RangeInclusive<u16>, nodes: usize) -> Vec<RangeInclusive<u16>> {
    let nodes = u16::try_from(nodes).unwrap_or(u16::MAX).max(1);
    let each = (ports.end() - ports.start()).saturating_add(1) / nodes;
    if each == 0 {
        return Vec::new();
    }
    let part = |at| {
        let first = ports.start() + at * each;
        first..=first + (each - 1)
    };
    (0..nodes).map(part).collect()
}

/// HTTP and WebSocket over HTTP/1.1, gRPC over HTTP/2; on the same backends unless the web is served by engines.
pub(super) fn demo_config(
    backends: &[(String, SocketAddr)],
    engines: Option<u32>,
) -> io::Result<String> {
    let list: String = backends
        .iter()
        .map(|(name, address)| format!("  {{ id = \"{name}\", address = \"{address}\" }},\n"))
        .collect();
    let web = match engines {
        None => format!("backends = [\n{list}]\n"),
        Some(count) => demo_engines(count)?,
    };
    Ok(format!(
        "[services.web]\n{web}\
         [services.web.health]\ncheck = \"http\"\n\n\
         [services.grpc]\nprotocol = \"grpc\"\nbackends = [\n{list}]\n\
         [services.grpc.health]\ncheck = \"grpc\"\n\n\
         [[routes]]\nname = \"grpc\"\nservice = \"grpc\"\n\
         headers = {{ content-type = \"~application/grpc.*\" }}\n\n\
         [[routes]]\nname = \"web\"\nservice = \"web\"\n"
    ))
}

/// Engines that are this program as a demo backend.
fn demo_engines(count: u32) -> io::Result<String> {
    let weir = std::env::current_exe()?;
    let weir = toml::Value::String(weir.to_string_lossy().into_owned());
    let max = count.saturating_mul(2).max(8);
    Ok(format!(
        "[services.web.engines]\nmin = {count}\nmax = {max}\n\
         command = [{weir}, \"demo-backend\", \"--listen\", \"127.0.0.1:{{port}}\", \"--name\", \"{{id}}\"]\n\
         probe = {{ check = \"http\", interval = \"1s\", timeout = \"1s\" }}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_configuration_has_no_problems() {
        let backends = [(
            "backend-1".to_owned(),
            SocketAddr::from(([127, 0, 0, 1], 9001)),
        )];
        for engines in [None, Some(4)] {
            let config = Config::parse(
                &demo_config(&backends, engines).unwrap(),
                &Default::default(),
                &Default::default(),
            )
            .unwrap();
            assert_eq!(config.services.len(), 2);
            let min = config.services[1]
                .engines
                .as_ref()
                .map(|engines| engines.scale.min);
            assert_eq!(min, engines);
        }
    }

    #[test]
    fn each_node_listens_beside_the_one_before() {
        let config = Config::parse("", &Default::default(), &Default::default()).unwrap();
        let places = places(&config, 3).unwrap();
        assert_eq!(places[2].ingress, ["127.0.0.1:8082".parse().unwrap()]);
        assert_eq!(places[2].grpc.port(), 7402);
        assert_eq!(places[1].http_api.port(), 7481);
    }
}
