//! The configuration file: read whole, checked whole, every problem named with its path.
//!
//! [`Config::parse`] reads the text (TOML), adds the environment ([`Environment`]), and yields either a
//! [`Config`] without options that mean "default", or every [`Problem`] at once. Nothing else reads the
//! file. What may change while the node runs is everything that [`Config::needs_restart`] does not name.

mod health;
mod listeners;
mod overlay;
mod reader;
mod routes;
mod services;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::Table;
use weir_core::ids::ServiceName;
use weir_core::route::RouteTable;

pub use listeners::{Ingress, Listener, Telemetry};
pub use overlay::Environment;
pub use reader::Problem;
use reader::Section;
pub use routes::RouteSettings;
pub use services::{
    BackendSettings, PoolSettings, Protocol, ServiceSettings, StickySettings, Timeouts,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Bytes of a configuration file; more is refused before it is parsed.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// One node's whole configuration, valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this node is.
    pub node: NodeSettings,
    /// Where clients connect, and their limits.
    pub ingress: Ingress,
    /// The node's gRPC (`weir.node.v1`).
    pub grpc: Listener,
    /// The node's HTTP API.
    pub http_api: Listener,
    /// Traces and logs.
    pub telemetry: Telemetry,
    /// Services in the order of their names.
    pub services: Vec<Arc<ServiceSettings>>,
    /// Routes, compiled; targets name [`Config::services`].
    pub routes: Arc<RouteTable>,
    /// What each route does beyond choosing a service; same order as in `routes`.
    pub route_settings: Arc<[RouteSettings]>,
}

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// Unique in the mesh.
    pub name: String,
    /// Where it stands; backends of the same zone are preferred.
    pub zone: String,
    /// Data-plane threads.
    pub cores: usize,
    /// How long a stopping node waits for what still runs.
    pub drain_timeout: Duration,
    /// Nodes that `weir up` starts from this file.
    pub mesh_nodes: usize,
}

/// Why a configuration was refused.
#[derive(Clone, Debug)]
pub struct Invalid {
    /// Every problem that was found.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

impl Invalid {
    /// A problem of the file as a whole.
    pub fn of_file(what: &str) -> Self {
        Self::one("the file", what)
    }

    fn one(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            problems: vec![Problem {
                path: path.into(),
                what: what.into(),
            }],
        }
    }
}

impl Config {
    /// Checks a configuration text.
    ///
    /// # Errors
    /// Every problem of the text, each with its path.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self, Invalid> {
        let mut tree: Table = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map_or(0, |span| text[..span.start].lines().count().max(1));
            Invalid::one(format!("line {line}"), error.message())
        })?;
        let mut problems = Vec::new();
        overlay::apply_variables(&mut tree, environment, &mut problems);
        overlay::substitute(&mut tree, environment, &mut problems);
        let config = Self::read(Section::root(tree), &mut problems);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(Invalid { problems })
        }
    }

    fn read(mut root: Section, problems: &mut Vec<Problem>) -> Self {
        let node = NodeSettings::read(&mut root, problems);
        let ingress = Ingress::read(&mut root, problems);
        let grpc = Listener::read(&mut root, problems, "grpc", "127.0.0.1:7400");
        let http_api = Listener::read(&mut root, problems, "http_api", "127.0.0.1:7480");
        let telemetry = Telemetry::read(&mut root, problems);
        let services: Vec<_> = services::read(&mut root, problems)
            .into_iter()
            .map(Arc::new)
            .collect();
        let names: BTreeSet<ServiceName> = services.iter().map(|s| s.name.clone()).collect();
        let (routes, route_settings) = routes::read(&mut root, problems, &names);
        root.finish(problems);
        Self {
            node,
            ingress,
            grpc,
            http_api,
            telemetry,
            services,
            routes: Arc::new(routes),
            route_settings: route_settings.into(),
        }
    }

    /// Nodes that a mesh of this configuration has.
    pub fn node_count(&self) -> usize {
        self.node.mesh_nodes
    }

    /// Cores of each of `nodes` nodes that share this machine.
    pub fn cores_each(&self, nodes: usize) -> usize {
        (self.node.cores / nodes.max(1)).max(1)
    }

    /// What a reload may not change, compared with the configuration that runs.
    pub fn needs_restart(&self, running: &Self) -> Vec<Problem> {
        let pairs = [
            (
                "mesh.nodes",
                self.node.mesh_nodes.to_string(),
                running.node.mesh_nodes.to_string(),
            ),
            (
                "node.name",
                self.node.name.clone(),
                running.node.name.clone(),
            ),
            (
                "node.cores",
                self.node.cores.to_string(),
                running.node.cores.to_string(),
            ),
            (
                "ingress.listen",
                format!("{:?}", self.ingress.listen),
                format!("{:?}", running.ingress.listen),
            ),
            (
                "grpc.listen",
                self.grpc.listen.to_string(),
                running.grpc.listen.to_string(),
            ),
            (
                "http_api.listen",
                self.http_api.listen.to_string(),
                running.http_api.listen.to_string(),
            ),
            (
                "telemetry.otlp",
                format!("{:?}", self.telemetry.otlp),
                format!("{:?}", running.telemetry.otlp),
            ),
        ];
        pairs
            .into_iter()
            .filter(|(_, new, old)| new != old)
            .map(|(path, new, old)| Problem {
                path: path.to_owned(),
                what: format!("{new} needs a restart of the node (running with {old})"),
            })
            .collect()
    }
}

impl NodeSettings {
    fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut node = root.section(problems, "node");
        let name = node
            .text(problems, "name")
            .unwrap_or_else(|| "node-1".to_owned());
        if !valid_name(&name) {
            node.problem(problems, "name", NAME_RULE);
        }
        let cores_here = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = node.number(problems, "cores", cores_here as u64, 1..=1_024);
        let settings = Self {
            name,
            zone: node.text(problems, "zone").unwrap_or_default(),
            cores: usize::try_from(cores).unwrap_or(cores_here),
            drain_timeout: node.duration(
                problems,
                "drain_timeout",
                30 * SECOND,
                Duration::ZERO..=HOUR,
            ),
            mesh_nodes: {
                let mut mesh = root.section(problems, "mesh");
                let nodes = mesh.number(problems, "nodes", 3, 1..=16);
                mesh.finish(problems);
                usize::try_from(nodes).unwrap_or(3)
            },
        };
        node.finish(problems);
        settings
    }
}

const NAME_RULE: &str = "must be 1 to 63 letters, digits, `-`, `_` or `.`";

fn valid_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// The text of a configuration file.
///
/// # Errors
/// What keeps it from being read.
pub fn read_file(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let bound = weir_core::units::format_bytes(FILE_BYTES_MAX);
        return Err(io::Error::other(format!("is larger than {bound}")));
    }
    Ok(text)
}
