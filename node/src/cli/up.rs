//! `weir up`: a whole mesh on this machine, until Ctrl-C.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use weir_proto::node::v1::node_client::NodeClient;
use weir_proto::node::v1::{GetStatusRequest, Status};

use super::block_on;
use super::mesh::{Place, Process, RunFolder, claim_all, places, start_backend, start_node};
use super::output::{Failure, print};
use super::status::{percent, uptime};
use crate::config::Config;
use crate::node;

const DEMO_BACKENDS: usize = 3;
/// How long a node may take until it answers.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
const READY_LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// A node that ended by itself is started again after this time.
const RESTART_WAIT: Duration = Duration::from_secs(1);
/// How often the live lines are renewed on a terminal, and elsewhere.
const TERMINAL_INTERVAL: Duration = Duration::from_secs(1);
const LOG_INTERVAL: Duration = Duration::from_secs(30);
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);
/// Beyond the drain timeout, before a node is killed.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Start a whole mesh on this machine: nodes and, without a configuration, demo backends
///
/// The nodes read the same file and follow its changes. Node i listens on the configured ports plus
/// i - 1. This process stands where the control plane will: it starts the nodes and keeps them running.
#[derive(Args)]
#[command(after_help = "Example:\n  weir up\n  weir up --config mesh.toml --nodes 2")]
pub(super) struct Up {
    /// Services, backends and routes (TOML); a demo without.
    #[arg(long)]
    config: Option<PathBuf>,
    /// How many nodes [default: mesh.nodes of the configuration, or 3].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=16))]
    nodes: Option<u16>,
}

impl Up {
    pub(super) fn run(self) -> Result<(), Failure> {
        block_on(self.run_mesh())
    }

    async fn run_mesh(self) -> Result<(), Failure> {
        let folder = RunFolder::new()?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stopped = async {
            tokio::select! {
                biased;
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        tokio::pin!(stopped);
        let is_demo = self.config.is_none();
        let mut mesh = Mesh::prepare(self, &folder).await?;
        let ended = tokio::select! {
            biased;
            () = &mut stopped => Ok(()),
            ended = mesh.start_and_watch(&folder, is_demo) => ended,
        };
        if ended.is_ok() {
            print("\nStopping.")?;
        }
        mesh.stop().await;
        ended
    }
}

struct Mesh {
    config_path: PathBuf,
    config: Config,
    nodes: Vec<NodeProcess>,
    backends: Vec<Process>,
    cores: usize,
}

struct NodeProcess {
    place: Place,
    log: PathBuf,
    process: Option<Process>,
    client: NodeClient<Channel>,
    last: Option<(Instant, u64)>,
}

impl Mesh {
    async fn prepare(up: Up, folder: &RunFolder) -> Result<Self, Failure> {
        let mut backends = Vec::new();
        let config_path = match up.config {
            Some(path) => path.canonicalize().map_err(|error| {
                Failure::Config(format!("--config {}: {error}", path.display()))
            })?,
            None => {
                let mut addresses = Vec::new();
                for at in 1..=DEMO_BACKENDS {
                    let name = format!("backend-{at}");
                    let (process, address) = start_backend(&name).await?;
                    backends.push(process);
                    addresses.push((name, address));
                }
                folder.write_demo(&addresses)?
            }
        };
        let environment = std::env::vars().collect();
        let (config, _) = node::load(&config_path, &environment)?;
        let count = up.nodes.map_or(config.node_count(), usize::from);
        let places = places(&config, count)?;
        claim_all(&places)?;
        let cores = config.cores_each(count);
        let nodes = places
            .into_iter()
            .map(|place| {
                Ok(NodeProcess {
                    log: folder.log_of(&place.name),
                    process: None,
                    client: NodeClient::new(
                        Endpoint::from_shared(format!("http://{}", place.grpc))
                            .map_err(|error| Failure::Other(error.to_string()))?
                            .timeout(STATUS_TIMEOUT)
                            .connect_lazy(),
                    ),
                    last: None,
                    place,
                })
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Self {
            config_path,
            config,
            nodes,
            backends,
            cores,
        })
    }

    async fn start_and_watch(&mut self, folder: &RunFolder, is_demo: bool) -> Result<(), Failure> {
        for node in &mut self.nodes {
            node.start(&self.config_path, self.cores)?;
        }
        for node in &mut self.nodes {
            node.ready().await?;
        }
        print(&self.welcome(folder, is_demo))?;
        let terminal = io::stdout().is_terminal();
        let mut ticks = interval(if terminal {
            TERMINAL_INTERVAL
        } else {
            LOG_INTERVAL
        });
        let mut drawn = false;
        loop {
            tokio::select! {
                biased;
                (at, how) = any_ended(&mut self.nodes) => {
                    let node = &mut self.nodes[at];
                    node.process = None;
                    print(&format!("{} ended ({how}), starting it again", node.place.name))?;
                    drawn = false;
                    sleep(RESTART_WAIT).await;
                    node.start(&self.config_path, self.cores)?;
                }
                _ = ticks.tick() => {
                    let lines = self.lines().await;
                    let up = if terminal && drawn {
                        format!("\x1b[{}A", self.nodes.len())
                    } else {
                        String::new()
                    };
                    let clear = if terminal { "\x1b[K" } else { "" };
                    let text: Vec<String> =
                        lines.iter().map(|line| format!("{line}{clear}")).collect();
                    print(&format!("{up}{}", text.join("\n")))?;
                    drawn = true;
                }
            }
        }
    }

    fn welcome(&self, folder: &RunFolder, is_demo: bool) -> String {
        let mut text = String::from("Weir is up.\n\n");
        for node in &self.nodes {
            let Place {
                name,
                ingress,
                grpc,
                http_api,
            } = &node.place;
            let ingress: Vec<String> = ingress.iter().map(ToString::to_string).collect();
            let _ = writeln!(
                text,
                "  {name}  ingress http://{}  gRPC {grpc}  API http://{http_api}",
                ingress.join(" http://")
            );
        }
        let first = &self.nodes[0].place;
        let ingress = first.ingress[0];
        let (one, two) = if is_demo {
            (
                format!("curl -i {ingress}/"),
                format!("curl --http2-prior-knowledge {ingress}/headers"),
            )
        } else {
            (
                format!("curl -i {ingress}/"),
                format!("curl http://{}/api/status", first.http_api),
            )
        };
        // As it was called, so that the line works where it is read.
        let weir = std::env::args().next().unwrap_or_else(|| "weir".to_owned());
        let three = match first.grpc.port() {
            7400 => format!("{weir} services"),
            _ => format!("{weir} services --node {}", first.grpc),
        };
        let logs = folder.log_of("node-*");
        let _ = write!(
            text,
            "\nTry:\n  {one}\n  {two}\n  {three}\n\nLogs: {}\nCtrl-C stops everything.\n",
            logs.display()
        );
        text
    }

    async fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for node in &mut self.nodes {
            lines.push(node.line().await);
        }
        lines
    }

    async fn stop(mut self) {
        for node in self
            .nodes
            .iter_mut()
            .filter_map(|node| node.process.as_mut())
        {
            node.terminate();
        }
        let within = self.config.node.drain_timeout + STOP_GRACE;
        for process in self.nodes.into_iter().filter_map(|node| node.process) {
            process.finish(within).await;
        }
        for mut backend in self.backends {
            backend.terminate();
            backend.finish(STOP_GRACE).await;
        }
    }
}

async fn any_ended(nodes: &mut [NodeProcess]) -> (usize, String) {
    let ends = nodes.iter_mut().enumerate().filter_map(|(at, node)| {
        let process = node.process.as_mut()?;
        Some(Box::pin(async move { (at, process.ended().await) }))
    });
    let ends: Vec<_> = ends.collect();
    if ends.is_empty() {
        return std::future::pending().await;
    }
    futures::future::select_all(ends).await.0
}

impl NodeProcess {
    fn start(&mut self, config: &Path, cores: usize) -> Result<(), Failure> {
        self.process = Some(start_node(config, &self.place, cores, &self.log)?);
        Ok(())
    }

    /// Waits until the node answers; fails with the last line it wrote when it ends before.
    async fn ready(&mut self) -> Result<(), Failure> {
        let answers = async {
            while self.client.get_status(GetStatusRequest {}).await.is_err() {
                sleep(READY_LOOK_INTERVAL).await;
            }
        };
        let process = self.process.as_mut().expect("it was started");
        let ended = tokio::select! {
            biased;
            how = process.ended() => Some(how),
            answered = timeout(READY_TIMEOUT, answers) => match answered {
                Ok(()) => return Ok(()),
                Err(_) => None,
            },
        };
        let last = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = last
            .lines()
            .next_back()
            .unwrap_or("it wrote nothing")
            .to_owned();
        let how = ended.unwrap_or_else(|| "no answer in time".to_owned());
        Err(Failure::Other(format!(
            "{} did not start ({how}): {last}",
            self.place.name
        )))
    }

    async fn line(&mut self) -> String {
        let name = &self.place.name;
        match self.client.get_status(GetStatusRequest {}).await {
            Ok(status) => {
                let status = status.into_inner();
                let per_second = self.rate(status.requests);
                line_of(&status, per_second)
            }
            Err(_) => format!("{name}  no answer"),
        }
    }

    /// Requests a second since the last look.
    fn rate(&mut self, requests: u64) -> u64 {
        let now = Instant::now();
        let before = self.last.replace((now, requests));
        let Some((then, count)) = before else {
            return 0;
        };
        let ms = u64::try_from(now.duration_since(then).as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        requests.saturating_sub(count) * 1_000 / ms
    }
}

fn line_of(status: &Status, per_second: u64) -> String {
    let services: Vec<String> = status
        .services
        .iter()
        .map(|service| format!("{} {}/{}", service.name, service.healthy, service.total))
        .collect();
    format!(
        "{}  {}  up {}  {per_second} req/s  {} ok  mean {:?}  {}",
        status.node,
        status.state,
        uptime(status.uptime_s),
        percent(status.success_rate),
        Duration::from_micros(status.mean_response_us),
        services.join("  "),
    )
}
