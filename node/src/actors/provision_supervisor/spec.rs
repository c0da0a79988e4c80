//! What is told to a driver of one engine, and what its labels tell afterwards.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use weir_core::provision::MadeOf;
use weir_core::provision::words::fill;
use weir_core::vpn::Network as ContainerNetwork;
use weir_engines::driver::{EngineSpec, Network, Protocol, PublishedPort, Running};

use super::plan::EnginePlan;
use crate::config::{DriverKind, Launch, VpnSettings};

/// Before every name and label of ours.
const PREFIX: &str = "weir-";
const JOB: &str = "weir.job";
const SERVICE: &str = "weir.service";
const SLOT: &str = "weir.slot";
const PORT: &str = "weir.port";
/// Its further ports, `name=port` after each other.
const EXTRA_PORTS: &str = "weir.extra_ports";
const P2P_PORT: &str = "weir.p2p_port";
const VPN: &str = "weir.vpn";
/// Its place among those behind the VPN.
const PLACE: &str = "weir.vpn_place";
const FORWARDED: &str = "weir.forwarded";
const NODE: &str = "weir.node";
/// The network of another container that it joined, as that was known then.
const NETWORK: &str = "weir.network";
/// What it is made of.
const SPEC: &str = "weir.spec";
/// The host at which its published port is reached; empty if it has none.
const HOST: &str = "weir.host";

/// What one engine gets of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lot {
    /// The service.
    pub(super) service: String,
    /// The job that makes it; empty when nobody knows.
    pub(super) job: String,
    /// Its number there.
    pub(super) slot: u32,
    /// The node that runs it.
    pub(super) node: String,
    /// Where it serves.
    pub(super) port: u16,
    /// Its further ports, by what they are for.
    pub(super) extra_ports: BTreeMap<String, u16>,
    /// The peer-to-peer port, when it is behind a VPN.
    pub(super) p2p_port: Option<u16>,
    /// The VPN that it is behind.
    pub(super) vpn: Option<String>,
    /// Its place among those behind it, from 0; `None` when it has none.
    pub(super) place: Option<u32>,
    /// It has the VPN's forwarded port.
    pub(super) is_forwarded: bool,
    /// The network of a container that was known when it was started, if it joined one.
    pub(super) network: Option<ContainerNetwork>,
}

impl Lot {
    /// Unique in the mesh.
    pub(super) fn engine_id(&self) -> String {
        engine_id(&self.service, self.slot)
    }

    /// Whether it has this port, whatever for.
    pub(super) fn listens_on(&self, port: u16) -> bool {
        let mut further = self.extra_ports.values();
        self.port == port || self.p2p_port == Some(port) || further.any(|one| *one == port)
    }

    /// What a driver calls it.
    pub(super) fn name(&self) -> String {
        name_of(&self.engine_id())
    }

    /// `host:port` of what it serves.
    pub(super) fn address(&self, plan: &EnginePlan, vpn: Option<&VpnSettings>) -> String {
        let host = vpn.map_or(&plan.settings.launch.host, |vpn| &vpn.engine_host);
        host_port(host, self.port)
    }

    fn labels(&self) -> BTreeMap<String, String> {
        // A container has the labels of its image, too: one that is not said here would pass for ours.
        let labels = BTreeMap::from([
            (JOB, self.job.clone()),
            (SERVICE, self.service.clone()),
            (SLOT, self.slot.to_string()),
            (NODE, self.node.clone()),
            (PORT, self.port.to_string()),
            (EXTRA_PORTS, written(&self.extra_ports)),
            (FORWARDED, self.is_forwarded.to_string()),
            (
                P2P_PORT,
                self.p2p_port
                    .map_or_else(String::new, |port| port.to_string()),
            ),
            (VPN, self.vpn.clone().unwrap_or_default()),
            (
                PLACE,
                self.place
                    .map_or_else(String::new, |place| place.to_string()),
            ),
            (
                NETWORK,
                self.network
                    .as_ref()
                    .map_or_else(String::new, ContainerNetwork::to_label),
            ),
        ]);
        labels
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// What the labels of something that runs tell; `None` if they are not ours.
    pub(super) fn of(running: &Running) -> Option<Self> {
        let label = |name: &str| running.labels.get(name).cloned();
        let lot = Self {
            job: label(JOB).unwrap_or_default(),
            service: label(SERVICE)?,
            slot: label(SLOT)?.parse().ok()?,
            node: label(NODE).unwrap_or_default(),
            port: label(PORT)?.parse().ok()?,
            extra_ports: label(EXTRA_PORTS)
                .map(|text| read(&text))
                .unwrap_or_default(),
            p2p_port: label(P2P_PORT).and_then(|port| port.parse().ok()),
            vpn: label(VPN).filter(|vpn| !vpn.is_empty()),
            place: label(PLACE).and_then(|place| place.parse().ok()),
            is_forwarded: label(FORWARDED).is_some_and(|text| text == "true"),
            network: label(NETWORK).and_then(|text| ContainerNetwork::parse(&text)),
        };
        (lot.name() == running.name).then_some(lot)
    }
}

/// `service-slot`.
pub(super) fn engine_id(service: &str, slot: u32) -> String {
    format!("{service}-{slot}")
}

/// What a driver calls an engine.
pub(super) fn name_of(engine_id: &str) -> String {
    format!("{PREFIX}{engine_id}")
}

/// The engine that a driver calls so.
pub(super) fn id_of(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// The slot of an engine of a service; `None` for any other backend.
pub(super) fn slot_of(service: &str, id: &str) -> Option<u32> {
    id.strip_prefix(service)?.strip_prefix('-')?.parse().ok()
}

/// How an engine is started.
pub(super) fn spec(
    plan: &EnginePlan,
    lot: &Lot,
    fence: u64,
    vpn: Option<&VpnSettings>,
) -> EngineSpec {
    let launch = &plan.settings.launch;
    let inside = launch
        .container_port
        .filter(|_| vpn.is_none())
        .unwrap_or(lot.port);
    let network = network(launch, vpn);
    let publishes = publishes(launch, &network);
    let fill = |text: &String| filled(text, lot, inside);
    let mut labels = launch.labels.clone();
    labels.extend(lot.labels());
    labels.insert(SPEC.to_owned(), made(plan, vpn));
    let host = publishes.then(|| launch.host.clone());
    labels.insert(HOST.to_owned(), host.unwrap_or_default());
    EngineSpec {
        name: lot.name(),
        fence,
        labels,
        image: launch.image.clone(),
        command: launch.command.iter().map(fill).collect(),
        env: environment(plan, lot, inside),
        network,
        published: match publishes {
            true => published(launch, lot, inside),
            false => Vec::new(),
        },
        memory_bytes_max: launch.memory_bytes_max,
        cpu_millis_max: launch.cpu_millis_max,
        start_timeout: launch.start_timeout,
    }
}

fn published(launch: &Launch, lot: &Lot, inside: u16) -> Vec<PublishedPort> {
    let further = lot.extra_ports.values().map(|port| (*port, *port));
    let all = std::iter::once((inside, lot.port)).chain(further);
    let port = |(container, host)| PublishedPort {
        container,
        host,
        address: published_on(&launch.host),
        protocol: Protocol::Tcp,
    };
    all.map(port).collect()
}

fn written(ports: &BTreeMap<String, u16>) -> String {
    let each: Vec<String> = ports
        .iter()
        .map(|(name, port)| format!("{name}={port}"))
        .collect();
    each.join(",")
}

fn read(text: &str) -> BTreeMap<String, u16> {
    let each = text.split(',').filter_map(|one| one.split_once('='));
    let ports = each.filter_map(|(name, port)| Some((name.to_owned(), port.parse().ok()?)));
    ports.collect()
}

/// The network of an engine that is started now.
pub(super) fn network(launch: &Launch, vpn: Option<&VpnSettings>) -> Network {
    match vpn.and_then(|vpn| vpn.container.clone()) {
        Some(container) if launch.driver == DriverKind::Docker => Network::Container(container),
        _ => launch.network.clone(),
    }
}

/// Whether this machine shows the port of such an engine.
fn publishes(launch: &Launch, network: &Network) -> bool {
    launch.driver == DriverKind::Docker && matches!(network, Network::Default | Network::Named(_))
}

/// What an engine is made of that is started now behind this VPN.
pub(super) fn made(plan: &EnginePlan, vpn: Option<&VpnSettings>) -> String {
    let launch = &plan.settings.launch;
    let network = network(launch, vpn);
    let published_on = match publishes(launch, &network) {
        true => published_on(&launch.host).map_or("all".to_owned(), |address| address.to_string()),
        false => String::new(),
    };
    let is_container = launch.driver == DriverKind::Docker;
    let network = match network {
        _ if !is_container => String::new(),
        Network::Default => String::new(),
        Network::Host => "host".to_owned(),
        Network::None => "none".to_owned(),
        Network::Named(name) => format!("named:{name}"),
        Network::Container(name) => format!("container:{name}"),
    };
    MadeOf {
        driver: launch.driver.name(),
        image: &launch.image,
        command: &launch.command,
        env: Some(&launch.env),
        labels: is_container.then_some(&launch.labels),
        network: &network,
        published_on: &published_on,
        port: launch.container_port.filter(|_| vpn.is_none()),
        extra_ports: &launch.extra_ports,
        memory_bytes_max: launch.memory_bytes_max,
        cpu_millis_max: launch.cpu_millis_max,
    }
    .digest()
}

/// What something that runs was made of, if it says so.
pub(super) fn made_of(running: &Running) -> Option<&str> {
    running.labels.get(SPEC).map(String::as_str)
}

/// `host:port` of an engine that runs. Where its port is published does not change as long as it does.
pub(super) fn address(
    lot: &Lot,
    running: &Running,
    plan: &EnginePlan,
    vpn: Option<&VpnSettings>,
) -> String {
    let host = running.labels.get(HOST).filter(|host| !host.is_empty());
    match host.filter(|_| vpn.is_none()) {
        Some(host) => host_port(host, lot.port),
        None => lot.address(plan, vpn),
    }
}

fn host_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// The address that engines are reached at and nothing but it, so that nobody reaches them past the node. A name may
/// stand for an address that only the node has; `None` for that.
fn published_on(host: &str) -> Option<IpAddr> {
    match host.eq_ignore_ascii_case("localhost") {
        true => Some(Ipv4Addr::LOCALHOST.into()),
        false => host.parse().ok(),
    }
}

/// The service's own variables win over those that every engine gets.
fn environment(plan: &EnginePlan, lot: &Lot, inside: u16) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("HTTP_PORT".to_owned(), inside.to_string()),
        ("WEIR_ENGINE_ID".to_owned(), lot.engine_id()),
    ]);
    if let Some(port) = lot.p2p_port {
        env.insert("P2P_PORT".to_owned(), port.to_string());
    }
    let further = lot.extra_ports.iter();
    env.extend(further.map(|(name, port)| {
        let variable = format!("{}_PORT", name.to_ascii_uppercase());
        (variable, port.to_string())
    }));
    let own = plan.settings.launch.env.iter();
    env.extend(own.map(|(name, value)| (name.clone(), filled(value, lot, inside))));
    env
}

fn filled(text: &str, lot: &Lot, inside: u16) -> String {
    fill(text, |word| match word {
        "port" => Some(inside.to_string()),
        "p2p_port" => Some(
            lot.p2p_port
                .map_or_else(String::new, |port| port.to_string()),
        ),
        "id" => Some(lot.engine_id()),
        "service" => Some(lot.service.clone()),
        "vpn" => Some(lot.vpn.clone().unwrap_or_default()),
        _ => {
            let port = lot.extra_ports.get(word.strip_prefix("port.")?);
            port.map(u16::to_string)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_engines::driver::State;

    use super::super::Plan;
    use super::*;
    use crate::config::{Config, Environment, Given};

    fn lot() -> Lot {
        Lot {
            service: "tv".to_owned(),
            job: String::new(),
            slot: 1,
            node: "a".to_owned(),
            port: 19_000,
            extra_ports: BTreeMap::new(),
            p2p_port: None,
            vpn: None,
            place: None,
            is_forwarded: false,
            network: None,
        }
    }

    fn made_with(keys: &str) -> (EngineSpec, Arc<EnginePlan>) {
        let text = format!("[services.tv.engines]\ndriver = \"docker\"\nimage = \"tv:1\"\n{keys}");
        let config = Config::parse(&text, &Environment::new(), &Given::default()).unwrap();
        let plan = Plan::of(&config).services[&weir_core::ids::ServiceName::from("tv")].clone();
        (spec(&plan, &lot(), 1, None), plan)
    }

    fn published(keys: &str) -> PublishedPort {
        made_with(keys).0.published.pop().unwrap()
    }

    #[test]
    fn labels_of_an_image_pass_for_none_of_ours() {
        let (spec, plan) = made_with("network = \"host\"\n");
        let ours = spec.labels.keys().filter(|name| name.starts_with("weir."));
        // A container has the labels of its image, too, unless it was given its own.
        let mut labels: BTreeMap<String, String> = ours
            .chain(
                [EXTRA_PORTS, P2P_PORT, VPN, PLACE, HOST, NETWORK]
                    .map(str::to_owned)
                    .iter(),
            )
            .map(|name| (name.clone(), "7".to_owned()))
            .collect();
        labels.extend(spec.labels);
        let running = Running {
            name: spec.name,
            fence: 1,
            labels,
            state: State::Running,
            pid: None,
            container_id: None,
            image: None,
            command: Vec::new(),
            image_digest: None,
            network_container_id: None,
            started_unix_ms: 0,
        };
        assert_eq!(Lot::of(&running), Some(lot()));
        let address = address(&lot(), &running, &plan, None);
        assert_eq!(address, "127.0.0.1:19000");
    }

    #[test]
    fn an_engine_is_published_only_where_the_node_reaches_it() {
        let on = |keys: &str| published(keys).address.map(|address| address.to_string());
        assert_eq!(on("").as_deref(), Some("127.0.0.1"));
        assert_eq!(on("host = \"localhost\"\n").as_deref(), Some("127.0.0.1"));
        assert_eq!(on("host = \"10.1.2.3\"\n").as_deref(), Some("10.1.2.3"));
        assert_eq!(on("host = \"::1\"\n").as_deref(), Some("::1"));
        assert_eq!(on("host = \"docker.lan\"\n"), None);
    }

    #[test]
    fn an_engine_is_told_of_its_further_ports_and_its_labels_tell_them_again() {
        let keys = "extra_ports = [\"https\", \"api\"]\n\
                    command = [\"--https-port={port.https}\", \"{{port.https}}\"]\n\
                    env = { API = \"{port.api}:{port}\" }\n";
        let (_, plan) = made_with(keys);
        let mut lot = lot();
        lot.extra_ports = [("https".to_owned(), 19_001), ("api".to_owned(), 19_002)].into();
        let spec = spec(&plan, &lot, 1, None);
        assert_eq!(spec.command, ["--https-port=19001", "{port.https}"]);
        assert_eq!(spec.env["API"], "19002:19000");
        assert_eq!(
            (&*spec.env["HTTPS_PORT"], &*spec.env["API_PORT"]),
            ("19001", "19002")
        );
        let published: Vec<_> = spec
            .published
            .iter()
            .map(|port| (port.container, port.host))
            .collect();
        assert_eq!(
            published,
            [(19_000, 19_000), (19_002, 19_002), (19_001, 19_001)]
        );
        assert_eq!(spec.labels[EXTRA_PORTS], "api=19002,https=19001");
        assert_eq!(read(&spec.labels[EXTRA_PORTS]), lot.extra_ports);
        assert_eq!(read(""), BTreeMap::new());
        // One more of them is another engine.
        let more = keys.replacen("\"api\"]", "\"api\", \"more\"]", 1);
        let with_more = made_with(&more).1;
        assert_ne!(made(&plan, None), made(&with_more, None));
    }
}
