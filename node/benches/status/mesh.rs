//! Processes: a control plane, and nodes with many backends that are not there.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::Options;
use super::process::{Process, free_address, text, weir};

/// Nodes of the mesh.
pub(super) const NODES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const READ_BYTES: usize = 64 << 10;

/// One node.
pub(super) struct MeshNode {
    _process: Process,
    pub(super) ingress: SocketAddr,
    pub(super) api: SocketAddr,
}

/// Nodes of one control plane.
pub(super) struct Mesh {
    pub(super) nodes: Vec<MeshNode>,
    _control_plane: Process,
    _folder: tempfile::TempDir,
}

impl Mesh {
    /// Starts the nodes and waits until the first one tells of all.
    pub(super) async fn start(options: &Options) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (weir, at) = (weir(options.weir.as_ref())?, folder.path());
        let mut random = fastrand::Rng::new();
        let control = free_address(&mut random)?.to_string();
        let data = at.join("control-plane");
        let arguments = [
            "control-plane",
            "--listen",
            &control,
            "--data-dir",
            text(&data)?,
        ];
        let control_plane = Process::start(&weir, &arguments, &at.join("control-plane.log"))?;
        let backends: Vec<String> = (0..options.backends)
            .map(|at| format!("\"127.0.0.1:{}\"", 10_000 + at))
            .collect();
        let backends = backends.join(", ");
        let mut nodes = Vec::new();
        for number in 0..NODES {
            let name = format!("node-{number}");
            let [ingress, grpc, api] = [
                free_address(&mut random)?,
                free_address(&mut random)?,
                free_address(&mut random)?,
            ];
            let config = format!(
                "[node]\nname = \"{name}\"\ndata_dir = \"{}\"\n[ingress]\nlisten = \"{ingress}\"\n\
                 [grpc]\nlisten = \"{grpc}\"\n[http_api]\nlisten = \"{api}\"\n\
                 [control_plane]\nendpoints = [\"{control}\"]\n\
                 [services.web]\nbackends = [{backends}]\n\
                 [[routes]]\nservice = \"web\"\nhost = \"web.example\"\n",
                at.join(&name).display(),
            );
            let file = at.join(format!("{name}.toml"));
            std::fs::write(&file, config).map_err(|error| error.to_string())?;
            let arguments = ["node", "--config", text(&file)?];
            let process = Process::start(&weir, &arguments, &at.join(format!("{name}.log")))?;
            nodes.push(MeshNode {
                _process: process,
                ingress,
                api,
            });
        }
        let mesh = Self {
            nodes,
            _control_plane: control_plane,
            _folder: folder,
        };
        mesh.is_whole().await?;
        Ok(mesh)
    }

    async fn is_whole(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = self.nodes_told().await;
            match told {
                Ok(NODES) => return Ok(()),
                told if Instant::now() > deadline => {
                    return Err(format!("no whole mesh: {told:?}"));
                }
                _ => sleep(LOOK_INTERVAL).await,
            }
        }
    }

    async fn nodes_told(&self) -> Result<usize, String> {
        let mut client = Client::connect(self.nodes[0].api).await?;
        let told = client.get("/api/overview?mesh=true&samples=1", "").await?;
        let told: serde_json::Value =
            serde_json::from_slice(&told).map_err(|error| error.to_string())?;
        Ok(told["nodes"].as_array().map_or(0, Vec::len))
    }
}

/// A connection that asks and reads whole answers.
pub(super) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(super) async fn connect(to: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(to).await;
        let stream = stream.map_err(|error| format!("{to}: {error}"))?;
        let delay = stream.set_nodelay(true);
        delay.map_err(|error| error.to_string())?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// The body of the answer to a GET, whatever its status.
    pub(super) async fn get(&mut self, path: &str, headers: &str) -> Result<Vec<u8>, String> {
        let answer = timeout(PATIENCE, self.ask(path, headers)).await;
        answer.unwrap_or_else(|_| Err(format!("{path}: no answer within {PATIENCE:?}")))
    }

    async fn ask(&mut self, path: &str, headers: &str) -> Result<Vec<u8>, String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        let sent = self.stream.write_all(request.as_bytes()).await;
        sent.map_err(|error| error.to_string())?;
        let end = loop {
            let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => self.read().await?,
            }
        };
        let rest = self.buffer.split_off(end);
        let head = std::mem::replace(&mut self.buffer, rest);
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let length = length.ok_or_else(|| format!("{path}: no length in {head}"))?;
        while self.buffer.len() < length {
            self.read().await?;
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    async fn read(&mut self) -> Result<(), String> {
        self.buffer.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the connection ended".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
