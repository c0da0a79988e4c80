//! The processes of a mesh on one machine: nodes and demo backends.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::process::Process;
use crate::cli::output::Failure;
use crate::config::Config;

/// How long a demo backend may take to tell its address.
const BACKEND_START_TIMEOUT: Duration = Duration::from_secs(10);

/// Where one node of the mesh listens.
#[derive(Clone, Debug)]
pub(super) struct Place {
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
        .env("WEIR_GRPC__LISTEN", place.grpc.to_string())
        .env("WEIR_HTTP_API__LISTEN", place.http_api.to_string())
        .env_remove("WEIR_NODE")
        .stdout(Stdio::null())
        .stderr(append_to(log)?);
    if let Some(address) = plan.control_plane {
        command.env("WEIR_CONTROL_PLANE__ENDPOINTS", format!("[\"{address}\"]"));
    }
    Process::spawn(&mut command)
}

/// Starts the control plane of the mesh.
pub(super) fn start_control_plane(
    listen: SocketAddr,
    data_dir: &Path,
    log: &Path,
) -> io::Result<Process> {
    Process::spawn(
        Command::new(std::env::current_exe()?)
            .args(["control-plane", "--stop-with-stdin", "--name", "weir-up"])
            .args(["--listen", &listen.to_string()])
            .arg("--data-dir")
            .arg(data_dir.join("control-plane"))
            .env_remove("WEIR_STORE")
            .stdout(Stdio::null())
            .stderr(append_to(log)?),
    )
}

fn append_to(log: &Path) -> io::Result<std::fs::File> {
    std::fs::File::options().create(true).append(true).open(log)
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

/// Where a mesh keeps its logs and, unless told otherwise, everything else.
pub(super) struct RunFolder(tempfile::TempDir);

impl RunFolder {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(tempfile::Builder::new().prefix("weir-up-").tempdir()?))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn log_of(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.log"))
    }

    pub(super) fn write_demo(&self, backends: &[(String, SocketAddr)]) -> io::Result<PathBuf> {
        let path = self.0.path().join("mesh.toml");
        std::fs::write(&path, demo_config(backends))?;
        Ok(path)
    }
}

/// HTTP and WebSocket over HTTP/1.1, gRPC over HTTP/2, on the same backends.
pub(super) fn demo_config(backends: &[(String, SocketAddr)]) -> String {
    let list: String = backends
        .iter()
        .map(|(name, address)| format!("  {{ id = \"{name}\", address = \"{address}\" }},\n"))
        .collect();
    format!(
        "[services.web]\nbackends = [\n{list}]\n\
         [services.web.health]\ncheck = \"http\"\n\n\
         [services.grpc]\nprotocol = \"grpc\"\nbackends = [\n{list}]\n\
         [services.grpc.health]\ncheck = \"grpc\"\n\n\
         [[routes]]\nname = \"grpc\"\nservice = \"grpc\"\n\
         headers = {{ content-type = \"~application/grpc.*\" }}\n\n\
         [[routes]]\nname = \"web\"\nservice = \"web\"\n"
    )
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
        let config = Config::parse(
            &demo_config(&backends),
            &Default::default(),
            &Default::default(),
        )
        .unwrap();
        assert_eq!(config.services.len(), 2);
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
