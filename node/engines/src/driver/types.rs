//! What a driver is told and tells.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// An engine to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSpec {
    /// Unique on this machine; that of a container.
    pub name: String,
    /// Rises with each attempt to run an engine of this name; see [`super::Driver::start`].
    pub fence: u64,
    /// What identifies it later: service, port, VPN. A driver keeps them with the engine and adds its own.
    pub labels: BTreeMap<String, String>,
    /// The container's image; a process has none.
    pub image: String,
    /// Program and arguments; of a container, what follows its entry point. May be empty for a container only.
    pub command: Vec<String>,
    /// The environment; nothing of the node's own is passed on but `PATH`, and that only to processes.
    pub env: BTreeMap<String, String>,
    /// The network of a container.
    pub network: Network,
    /// Ports to publish on this machine; none in the network of another container. A process listens by itself.
    pub published: Vec<PublishedPort>,
    /// Memory that it may use, bytes; of a container only.
    pub memory_bytes_max: Option<u64>,
    /// Thousandths of a core that it may use; of a container only.
    pub cpu_millis_max: Option<u32>,
    /// How long starting it may take, readiness not included.
    pub start_timeout: Duration,
}

/// The network of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// The engine's default one.
    #[default]
    Default,
    /// This machine's own.
    Host,
    /// None but loopback.
    None,
    /// A network of this name.
    Named(String),
    /// That of the container of this name: they share addresses and ports.
    Container(String),
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of a container that this machine shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedPort {
    /// Inside.
    pub container: u16,
    /// Outside.
    pub host: u16,
    /// The one address of this machine that shows it; `None` for all of them.
    pub address: Option<IpAddr>,
    /// Of what.
    pub protocol: Protocol,
}

/// An engine as its driver sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// Its fence.
    pub fence: u64,
    /// As it was started with.
    pub labels: BTreeMap<String, String>,
    /// Whether it runs.
    pub state: State,
    /// Of its first process.
    pub pid: Option<u32>,
    /// Of its container.
    pub container_id: Option<String>,
    /// The name of the image that it was made from; none for a process.
    pub image: Option<String>,
    /// Program and arguments that it was started with; of a container that was told none, those of its image.
    pub command: Vec<String>,
    /// What its image is, whatever the image's name points to by now.
    pub image_digest: Option<String>,
    /// The container whose network it joined, by its id at that time: it is dead when that one was made anew.
    pub network_container_id: Option<String>,
    /// When it started, milliseconds since 1970.
    pub started_unix_ms: u64,
}

/// Whether an engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Made, and not running yet.
    Starting,
    /// Running; not a word of whether it is ready.
    Running,
    /// It ended, with this code, or by this signal as 128 and the signal's number.
    Ended(i64),
}

/// An engine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub name: String,
    /// Of which attempt.
    pub fence: u64,
    /// As in [`State::Ended`]; `None` when nobody knows.
    pub code: Option<i64>,
}

/// Lines that an engine wrote and that were not kept, because it wrote more than could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinesLost {
    /// The engine's name.
    pub name: String,
    /// How many.
    pub count: u64,
}
