//! The configuration of a node: one function of its file, its environment and what the control plane gave.
//!
//! [`Config::parse`] reads the text (TOML), adds the environment ([`Environment`]), lays over it what was given
//! ([`Given`]), and yields either a [`Config`] without options that mean "default", or every [`Problem`] at once.
//! Nothing else reads the file. What may change while the node runs is everything that
//! [`Config::needs_restart`] does not name.
//!
//! ```text
//! knobs of the node       default < file < profile       ingress, telemetry, provision, port_cache
//! knobs of services       default < profile < file       upstream, balancer
//! weights                 file < registered < given
//! backends                file, then those that registered themselves
//! ```
//!
//! A file is valid by itself: nothing that is given mends it. A profile that contradicts it is refused whole;
//! weights and registered backends never are.

mod access_log;
mod alerts;
mod broadcaster;
mod cache;
mod cdn;
mod compression;
mod control_plane;
mod debug;
mod effective;
mod engine_defaults;
mod engines;
mod env_names;
mod files;
mod given;
mod health;
mod history;
mod invalid;
mod kinds;
mod launch;
mod listeners;
mod logs;
mod overlay;
mod provisioning;
mod reader;
mod restart;
mod routes;
mod services;
#[cfg(test)]
mod tests;
mod tuned;
mod vpns;
mod warming;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::Table;
use weir_control_plane::governance::secret::SecretRef;
use weir_core::ids::ServiceName;
use weir_core::route::RouteTable;
use weir_core::tuning::knobs::ingress::{DRAIN_TIMEOUT, WORKERS};
use weir_core::tuning::{Kind, NAME_BOUND, Problem as KnobProblem, Value, is_name};

pub use access_log::{AccessLog, Output};
pub use alerts::AlertLimits;
pub use broadcaster::{Anonymous, BroadcasterSettings, Grant, TokenSettings, WebSocketSettings};
pub use cache::{CacheSettings, RouteCache};
pub use cdn::{ApiPlace, CdnSettings};
pub use compression::{Compression, RouteCompression};
pub use control_plane::ControlPlane;
pub use debug::DebugSettings;
pub use effective::Effective;
pub use engines::{Care, EngineSettings, Scale};
pub use env_names::IgnoredName;
pub use files::FilesSettings;
pub use given::{Endpoints, EngineFacts, Give, Given, RegisteredBackend, Weights};
pub use history::HistorySettings;
pub use invalid::Invalid;
pub use launch::{DriverKind, Launch};
pub use listeners::{GrpcApi, HttpApi, Ingress, Telemetry};
pub use logs::LogSettings;
use overlay::AllOverridden;
pub use overlay::Environment;
pub use provisioning::{PortCacheSettings, ProvisionSettings};
pub use reader::Problem;
use reader::Section;
pub use routes::RouteSettings;
pub use services::{
    BackendSettings, PoolSettings, Protocol, ServiceSettings, StickySettings, Timeouts,
};
use tuned::{Facts, Reading};
pub use tuned::{Source, supported};
pub use vpns::{VpnAuth, VpnSettings};
pub use warming::WarmSettings;
pub(crate) use warming::cached_hosts;

/// Bytes of a configuration file; more is refused before it is parsed.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What the nodes of the mesh show each other.
fn read_peers_token(root: &mut Section, problems: &mut Vec<Problem>) -> Option<SecretRef> {
    let mut s = root.section(problems, "peers");
    let token = vpns::read_secret(&mut s, problems, "token");
    s.finish(problems);
    token
}

/// One node's whole configuration, valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this node is.
    pub node: NodeSettings,
    /// Where clients connect, and their limits.
    pub ingress: Ingress,
    /// The node's gRPC (`weir.node.v1`).
    pub grpc: GrpcApi,
    /// The node's HTTP API.
    pub http_api: HttpApi,
    /// Traces and logs.
    pub telemetry: Telemetry,
    /// Whether each request is written down, and where.
    pub access_log: Option<AccessLog>,
    /// Where log lines are kept.
    pub logs: LogSettings,
    /// Who may look into the running node.
    pub debug: DebugSettings,
    /// Where the control plane is, and who this node is to it.
    pub control_plane: ControlPlane,
    /// What nodes show each other, where they ask for it.
    pub peers_token: Option<SecretRef>,
    /// The limits of starting engines.
    pub provision: ProvisionSettings,
    /// How ports of VPNs are kept.
    pub port_cache: PortCacheSettings,
    /// How much of answers is kept.
    pub cache: CacheSettings,
    /// Messages to everyone.
    pub broadcaster: BroadcasterSettings,
    /// CDNs that are told of purges, in the order of their names.
    pub cdns: Vec<CdnSettings>,
    /// VPNs in the order of their names.
    pub vpns: Vec<VpnSettings>,
    /// Services in the order of their names.
    pub services: Vec<Arc<ServiceSettings>>,
    /// Routes, compiled; targets name [`Config::services`].
    pub routes: Arc<RouteTable>,
    /// What each route does beyond choosing a service; same order as in `routes`.
    pub route_settings: Arc<[RouteSettings]>,
    /// What of the given weights and backends was left out.
    pub notes: Vec<KnobProblem>,
    /// Names of the environment that are set and have no effect.
    pub ignored_names: Vec<IgnoredName>,
    /// What it was made of, beside the environment.
    text: Arc<str>,
    given: Given,
    facts: Facts,
    /// What the file says where the environment wins.
    overridden: AllOverridden,
    /// Threads that file and profile ask for; as many as run, unless the node started before they did.
    workers_wanted: usize,
}

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// Unique in the mesh.
    pub name: String,
    /// Whether the file or the environment gives the name.
    is_named: bool,
    /// Where it stands; backends of the same zone are preferred.
    pub zone: String,
    /// Data-plane threads.
    pub cores: usize,
    /// How long a stopping node waits for what still runs.
    pub drain_timeout: Duration,
    /// The folder for what must survive the node; without it nothing does.
    pub data_dir: Option<PathBuf>,
    /// What operators call it by: groups of profiles choose nodes by their labels.
    pub labels: BTreeMap<String, String>,
    /// Nodes that `weir up` starts from this file.
    pub mesh_nodes: usize,
}

impl Config {
    /// The configuration of a file, an environment and what was given.
    ///
    /// # Errors
    /// Every problem of the file, each with its path; else everything that the profile makes impossible.
    pub fn parse(text: &str, environment: &Environment, given: &Given) -> Result<Self, Invalid> {
        let mut tree: Table = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map_or(0, |span| text[..span.start].lines().count().max(1));
            Invalid::one(format!("line {line}"), error.message())
        })?;
        let mut problems = Vec::new();
        let ignored_names = env_names::ignored(&tree, environment);
        env_names::apply(&mut tree, environment, &mut problems);
        let overridden = overlay::apply_variables(&mut tree, environment, &mut problems);
        overlay::substitute(&mut tree, environment, &mut problems);
        // The file stands by itself: what is given may go away, and the node must start without it.
        let mut config = Self::read(tree.clone(), &Given::default(), &mut problems);
        if !problems.is_empty() {
            return Err(Invalid::of(problems));
        }
        if !given.is_empty() {
            config = Self::read(tree, given, &mut problems);
        }
        if !problems.is_empty() {
            for problem in &mut problems {
                problem
                    .what
                    .push_str(", with the profile that the control plane gave");
            }
            return Err(Invalid {
                problems,
                infeasible: config.facts.contradictions,
            });
        }
        config.text = text.into();
        config.ignored_names = ignored_names;
        config.overridden = overridden;
        Ok(config)
    }

    /// This configuration, if every directory that it names is there now.
    ///
    /// # Errors
    /// Each that is not.
    pub fn with_folders(self) -> Result<Self, Invalid> {
        let problems = files::missing_roots(self.services.iter().map(|service| &**service));
        match problems.is_empty() {
            true => Ok(self),
            false => Err(Invalid::of(problems)),
        }
    }

    fn read(tree: Table, given: &Given, problems: &mut Vec<Problem>) -> Self {
        let reading = Reading::new(&given.profile);
        let mut root = Section::root(tree, reading.clone());
        let node = NodeSettings::read(&mut root, problems);
        let ingress = Ingress::read(&mut root, problems);
        let grpc = GrpcApi::read(&mut root, problems);
        let http_api = HttpApi::read(&mut root, problems);
        let telemetry = Telemetry::read(&mut root, problems);
        let access_log = AccessLog::read(&mut root, problems, &node.name);
        let logs = LogSettings::read(&mut root, problems);
        let debug = DebugSettings::read(&mut root, problems);
        if let Some(access_log) = &access_log {
            access_log.check_file(&root, problems, (&logs, &node.name));
        }
        let control_plane = ControlPlane::read(&mut root, problems);
        if !control_plane.endpoints.is_empty() && !node.is_named {
            let what = "is required with control_plane.endpoints: it is the node's id there";
            root.problem(problems, "node.name", what);
        }
        let peers_token = read_peers_token(&mut root, problems);
        let provision = ProvisionSettings::read(&mut root, problems);
        let port_cache = PortCacheSettings::read(&mut root, problems);
        let cache = CacheSettings::read(&mut root, problems);
        let broadcaster = BroadcasterSettings::read(&mut root, problems, ingress.websocket.clone());
        let cdns = cdn::read(&mut root, problems);
        let vpns = vpns::read(&mut root, problems);
        let mut services = services::read(&mut root, problems);
        engines::check_vpns(&services, &vpns, problems);
        let notes = given.apply(&mut services);
        let names: BTreeSet<ServiceName> = services.iter().map(|s| s.name.clone()).collect();
        let (routes, route_settings) = routes::read(&mut root, problems, &names);
        let hosts = warming::cached_hosts(&routes, &route_settings);
        warming::check(&root, problems, &cache.warm, hosts.len());
        root.finish(problems);
        Self {
            notes,
            ignored_names: Vec::new(),
            text: "".into(),
            given: given.clone(),
            facts: reading.into_facts(),
            overridden: AllOverridden::new(),
            workers_wanted: node.cores,
            node,
            ingress,
            grpc,
            http_api,
            telemetry,
            access_log,
            logs,
            debug,
            control_plane,
            peers_token,
            provision,
            port_cache,
            cache,
            broadcaster,
            cdns,
            vpns,
            services: services.into_iter().map(Arc::new).collect(),
            routes: Arc::new(routes),
            route_settings: route_settings.into(),
        }
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What was given.
    pub fn given(&self) -> &Given {
        &self.given
    }

    /// Nodes that a mesh of this configuration has.
    pub fn node_count(&self) -> usize {
        self.node.mesh_nodes
    }

    /// Cores of each of `nodes` nodes that share this machine.
    pub fn cores_each(&self, nodes: usize) -> usize {
        (self.node.cores / nodes.max(1)).max(1)
    }
}

impl NodeSettings {
    fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut node = root.section(problems, "node").read_by("node");
        let said = node.text(problems, "name");
        let is_named = said.is_some();
        let name = said.unwrap_or_else(|| "node-1".to_owned());
        if !is_name(&name) {
            node.problem(problems, "name", name_rule(&name));
        }
        let cores = read_workers(&mut node, problems);
        let settings = Self {
            name,
            is_named,
            zone: node.text(problems, "zone").unwrap_or_default(),
            cores,
            drain_timeout: node.tuned(problems, "drain_timeout", &DRAIN_TIMEOUT),
            data_dir: node.path(problems, "data_dir"),
            labels: control_plane::read_labels(&mut node, problems),
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

/// Threads: the file names at least one, the knob's 0 takes one for each core of the machine.
fn read_workers(node: &mut Section, problems: &mut Vec<Problem>) -> usize {
    let Kind::Count(_, most) = WORKERS.kind else {
        unreachable!("threads are counted");
    };
    let said = node.whole_number(problems, "cores", 1..=most);
    let settled = node.settled(&WORKERS, said.map(Value::Count));
    let workers = match settled {
        Value::Count(workers @ 1..) => usize::try_from(workers).unwrap_or(usize::MAX),
        _ => std::thread::available_parallelism().map_or(1, usize::from),
    };
    node.resolved(&WORKERS, restart::count(workers));
    workers
}

/// What a name must be, in words.
fn name_rule(name: &str) -> String {
    format!("`{name}` must be {NAME_BOUND}")
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
