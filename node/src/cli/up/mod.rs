//! `weir up`: a whole mesh on this machine, until Ctrl-C.

mod control_plane;
mod folder;
mod node_process;
mod process;
mod processes;
mod welcome;

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, interval, sleep};
use weir_core::tuning::knobs::ingress::DRAIN_TIMEOUT;
use weir_core::units::format_duration;

use self::control_plane::ControlPlaneProcess;
use self::folder::RunFolder;
use self::node_process::NodeProcess;
use self::process::Process;
use self::processes::{Plan, claim_all, places, split, start_backend};
use self::welcome::welcome;
use super::block_on;
use super::output::{Failure, print, print_raw};
use crate::config::{Config, Environment, ProvisionSettings};
use crate::node;

const DEMO_BACKENDS: usize = 3;
/// A process that ended by itself is started again after this time.
const RESTART_WAIT: Duration = Duration::from_secs(1);
/// How often the live lines are renewed on a terminal, and elsewhere.
const TERMINAL_INTERVAL: Duration = Duration::from_secs(1);
const LOG_INTERVAL: Duration = Duration::from_secs(30);
/// How long a process may take to end, beyond what it waits for.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Start a whole mesh on this machine: a control plane, nodes and, without a configuration, demo backends
///
/// The nodes read the same file and follow its changes. Node i listens on the configured ports plus
/// i - 1. What is tuned (`weir profile set ...`) stays in the folder of --data-dir.
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir up\n  weir up --engines 4\n  weir up --otlp http://127.0.0.1:4317\n  \
        weir up --config mesh.toml --nodes 2 --data-dir /var/lib/weir"
)]
pub(super) struct Up {
    /// Services, backends and routes (TOML); a demo without.
    #[arg(long)]
    config: Option<PathBuf>,
    /// How many nodes [default: mesh.nodes of the configuration, or 3].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=16))]
    nodes: Option<u16>,
    /// How many engines: processes that Weir starts, keeps alive and balances. In the demo they serve the web; with a
    /// configuration, of its one service that has engines.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=500))]
    engines: Option<u32>,
    /// Where the control plane and the nodes keep what must survive them [default: nothing survives].
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Where the control plane of the mesh listens; unused when the configuration names another one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7500")]
    control_plane_listen: SocketAddr,
    /// The OTLP gRPC receiver that nodes and control plane tell traces and metrics to [default: telemetry.otlp of the
    /// configuration].
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
}

impl Up {
    pub(super) fn run(self) -> Result<(), Failure> {
        block_on(self.run_mesh())
    }

    async fn run_mesh(self) -> Result<(), Failure> {
        let folder = RunFolder::new()?;
        let mut stop = StopSignals::new()?;
        let is_demo = self.config.is_none();
        let mut mesh = Mesh::prepare(self, &folder).await?;
        let ended = tokio::select! {
            biased;
            () = stop.next() => Ok(()),
            ended = mesh.start_and_watch(&folder, is_demo) => ended,
        };
        if ended.is_ok() {
            print("\nStopping when what runs has ended; Ctrl-C again stops at once.")?;
        }
        tokio::select! {
            biased;
            () = stop.next() => {}
            () = mesh.stop() => {}
        }
        mesh.kill().await;
        ended
    }
}

/// Ctrl-C and SIGTERM.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What the environment says of how many engines there are: at least so many of the one service that has any.
fn engine_counts(config: &Config, count: u32) -> Result<Vec<(String, String)>, Failure> {
    let mut with = config
        .services
        .iter()
        .filter_map(|s| Some((&s.name, s.engines.as_ref()?)));
    let (Some((name, engines)), None) = (with.next(), with.next()) else {
        let what = "--engines: the configuration must have exactly one service with engines";
        return Err(Failure::Usage(what.to_owned()));
    };
    let path = format!("WEIR_SERVICES__{name}__ENGINES__");
    let max = engines.scale.max.max(count);
    Ok(vec![
        (format!("{path}MIN"), count.to_string()),
        (format!("{path}MAX"), max.to_string()),
    ])
}

/// What the environment says of starts in the mesh: its nodes share this machine, so what one node may do at a time is
/// as much as all of them may, unless the file says otherwise.
fn fleet_limits(limits: &ProvisionSettings) -> Vec<(String, String)> {
    let path = |key: &str| format!("WEIR_PROVISION__{key}");
    let mut said = Vec::new();
    if limits.fleet_concurrent_max == 0 {
        let most = limits.concurrent_max.to_string();
        said.push((path("FLEET_CONCURRENT_MAX"), most));
    }
    if limits.fleet_interval_min.is_zero() {
        let interval = format_duration(limits.interval_min);
        said.push((path("FLEET_INTERVAL_MIN"), interval));
    }
    said
}

struct Mesh {
    plan: Plan,
    control_plane: Option<ControlPlaneProcess>,
    nodes: Vec<NodeProcess>,
    backends: Vec<Process>,
    /// Why the control plane does not count a node, at the start.
    not_joined: Option<String>,
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
                folder.write_demo(&addresses, up.engines)?
            }
        };
        let mut environment: Environment = std::env::vars().collect();
        // Each node gets a name of its own, so the file need not have one.
        environment.insert("WEIR_NODE__NAME".to_owned(), "node-1".to_owned());
        if let Some(url) = &up.otlp {
            environment.insert(processes::OTLP.to_owned(), url.clone());
        }
        let (config, _) = node::load(&config_path, &environment)?;
        let mut engines = match up.engines {
            Some(count) => engine_counts(&config, count)?,
            None => Vec::new(),
        };
        engines.extend(fleet_limits(&config.provision));
        let count = up.nodes.map_or(config.node_count(), usize::from);
        let places = places(&config, count)?;
        let is_own = config.control_plane.endpoints.is_empty();
        let control_plane = is_own.then_some(up.control_plane_listen);
        claim_all(&places, control_plane)?;
        let plan = Plan {
            config: config_path,
            cores: config.cores_each(count),
            data_dir: up.data_dir.unwrap_or_else(|| folder.path().to_owned()),
            control_plane,
            otlp: config.telemetry.otlp.clone(),
            has_engines: config
                .services
                .iter()
                .any(|service| service.engines.is_some()),
            engines,
            host_ports: split(&config.provision.host_ports, count),
        };
        let node = |place: processes::Place| {
            let log = folder.log_of(&place.name);
            NodeProcess::new(place, log)
        };
        let log = folder.log_of("control-plane");
        Ok(Self {
            control_plane: control_plane.map(|listen| ControlPlaneProcess::new(listen, log)),
            nodes: places.into_iter().map(node).collect::<Result<_, _>>()?,
            plan,
            backends,
            not_joined: None,
        })
    }

    async fn start_and_watch(&mut self, folder: &RunFolder, is_demo: bool) -> Result<(), Failure> {
        self.start_all().await?;
        print(&welcome(self, folder, is_demo))?;
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
                ended = self.any_ended() => {
                    self.start_again(ended).await?;
                    drawn = false;
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
                    print_raw(&format!("{up}{}", text.join("\n")))?;
                    drawn = true;
                }
            }
        }
    }

    async fn start_all(&mut self) -> Result<(), Failure> {
        if let Some(control_plane) = &mut self.control_plane {
            control_plane.start(&self.plan)?;
            control_plane.ready().await?;
        }
        for node in &mut self.nodes {
            node.start(&self.plan)?;
        }
        for node in &mut self.nodes {
            node.ready().await?;
        }
        let joined = futures::future::join_all(self.nodes.iter_mut().map(NodeProcess::joined));
        self.not_joined = joined.await.into_iter().find_map(Result::err);
        for node in &mut self.nodes {
            node.warm().await;
        }
        Ok(())
    }

    /// Waits until the control plane (`None`) or one of the nodes ends by itself.
    async fn any_ended(&mut self) -> (Option<usize>, String) {
        let control_plane = self.control_plane.iter_mut();
        let control_plane = control_plane.filter_map(|one| Some((None, one.process.as_mut()?)));
        let nodes = self.nodes.iter_mut().enumerate();
        let nodes = nodes.filter_map(|(at, node)| Some((Some(at), node.process.as_mut()?)));
        let ends: Vec<_> = control_plane
            .chain(nodes)
            .map(|(which, process)| Box::pin(async move { (which, process.ended().await) }))
            .collect();
        if ends.is_empty() {
            return std::future::pending().await;
        }
        futures::future::select_all(ends).await.0
    }

    async fn start_again(&mut self, (which, how): (Option<usize>, String)) -> Result<(), Failure> {
        let name = match which {
            Some(at) => self.nodes[at].place.name.as_str(),
            None => "control plane",
        };
        print(&format!("{name} ended ({how}), starting it again"))?;
        sleep(RESTART_WAIT).await;
        match (which, &mut self.control_plane) {
            (Some(at), _) => self.nodes[at].start(&self.plan),
            (None, Some(control_plane)) => control_plane.start(&self.plan),
            (None, None) => Ok(()),
        }
    }

    async fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for node in &mut self.nodes {
            lines.push(node.line().await);
        }
        lines
    }

    /// Ends everything in order. How long a node waits for what runs there is the node's to know: a profile may say
    /// otherwise than the file. So its end is waited for, and no longer than any profile may ask for.
    async fn stop(&mut self) {
        let nodes = self.nodes.iter_mut();
        let mut nodes: Vec<_> = nodes.filter_map(|node| node.process.as_mut()).collect();
        for node in &mut nodes {
            node.terminate();
        }
        let deadline = Instant::now() + DRAIN_TIMEOUT.longest().unwrap_or_default() + STOP_GRACE;
        for node in nodes {
            node.finish(deadline).await;
        }
        for process in self.rest() {
            process.terminate();
            process.finish(Instant::now() + STOP_GRACE).await;
        }
    }

    /// Ends at once whatever still runs.
    async fn kill(&mut self) {
        let nodes = self.nodes.iter_mut();
        for process in nodes.filter_map(|node| node.process.as_mut()) {
            process.kill().await;
        }
        for process in self.rest() {
            process.kill().await;
        }
    }

    /// The control plane and the demo backends.
    fn rest(&mut self) -> impl Iterator<Item = &mut Process> {
        let control_plane = self.control_plane.iter_mut();
        let control_plane = control_plane.filter_map(|one| one.process.as_mut());
        control_plane.chain(&mut self.backends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_on_one_machine_starts_no_more_at_a_time_than_one_node_may_unless_the_file_says_so() {
        let said = |file: &str| {
            let config = Config::parse(file, &Environment::new(), &Default::default()).unwrap();
            let pairs = fleet_limits(&config.provision).into_iter();
            pairs
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
        };
        let defaults = [
            "WEIR_PROVISION__FLEET_CONCURRENT_MAX=5",
            "WEIR_PROVISION__FLEET_INTERVAL_MIN=500ms",
        ];
        assert_eq!(said(""), defaults);
        assert_eq!(
            said("[provision]\nfleet_concurrent_max = 9\nfleet_interval_min = \"2s\"\n"),
            [""; 0]
        );
    }

    #[test]
    fn what_the_end_of_a_node_waits_for_has_a_bound() {
        assert!(DRAIN_TIMEOUT.longest().is_some());
    }
}
