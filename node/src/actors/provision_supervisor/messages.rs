//! What the supervisor is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix::Message;
use tokio::sync::oneshot;
use tokio::time::Instant;
use weir_control_plane::jobs::{Claim, Error};
use weir_core::ids::ServiceName;
use weir_core::provision::{Refusal, Succession};
use weir_engines::driver::{Ended, Running};

use super::adopt::Found;
use super::holds::Held;
use super::plan::{EnginePlan, Plan};
use super::publish::InHand;
use super::runner::Failure;
use super::spec::Lot;
use super::succession::NoSuccessor;
use crate::config::{DriverKind, VpnSettings};
use crate::events::Limit;

/// These services have engines, within these limits.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Configure {
    /// All of it.
    pub plan: Plan,
}

/// What came of asking for a job, and when it was asked for.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Claimed {
    /// The life of the actor that asked.
    pub(crate) life: u64,
    pub(crate) asked_at: Instant,
    pub(crate) answer: Arc<Result<Option<Claim>, Error>>,
    pub(crate) in_hand: Arc<InHand>,
}

/// A job needs what an engine needs.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<Option<Reserved>, Refusal>")]
pub struct Reserve {
    pub(crate) job: String,
    pub(crate) service: ServiceName,
    /// The port that it got before turned out to be somebody else's.
    pub(crate) other_port: bool,
    /// Slots up to this one turned out to be somebody's.
    pub(crate) slots_after: u32,
    /// VPNs behind which there is no place.
    pub(crate) full_vpns: BTreeSet<String>,
    /// Further ports that it got before and that turned out to be somebody else's.
    pub(crate) other_extras: BTreeSet<u16>,
    /// With so many engines there, none is needed.
    pub(crate) engines_wanted: Option<usize>,
}

/// What a job gets.
#[derive(Clone, Debug)]
pub struct Reserved {
    /// Slots of the service that nobody is known to have, the best first; none when all after the given one are.
    pub(crate) slots: Vec<u32>,
    pub(crate) port: u16,
    pub(crate) extra_ports: BTreeMap<String, u16>,
    pub(crate) vpn: Option<VpnSettings>,
    pub(crate) wants_forwarded: bool,
    /// Places behind the VPN that nobody here has, the likeliest to be free first.
    pub(crate) places: Vec<u32>,
}

/// A job has prepared everything and waits to start its engine; the answer is what it waits for.
#[derive(Message, Debug)]
#[rtype(result = "Result<Option<Limit>, Refusal>")]
pub struct Admit {
    pub(crate) job: String,
    /// The slot that it holds.
    pub(crate) slot: u32,
    pub(crate) start: oneshot::Sender<Result<(), Refusal>>,
}

/// A driver runs a job's engine; nothing is known of whether it is ready.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Started {
    pub(crate) job: String,
    pub(crate) lot: Lot,
    pub(crate) running: Running,
    pub(crate) plan: Arc<EnginePlan>,
}

/// A job's engine is ready and the supervisor's from now on.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct Ready {
    pub(crate) job: String,
    pub(crate) lot: Lot,
    pub(crate) running: Running,
    pub(crate) plan: Arc<EnginePlan>,
    pub(crate) held: Vec<Held>,
}

/// A job is over for this node.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Over {
    pub(crate) job: String,
    pub(crate) service: ServiceName,
    /// The engine that got ready, be it lost again.
    pub(crate) engine: Option<String>,
    pub(crate) failure: Option<Failure>,
    /// As what it was to be started.
    pub(crate) plan: Arc<EnginePlan>,
}

/// Something was seen of an engine.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct Looked(pub(crate) Look);

/// What was seen.
#[derive(Debug)]
pub enum Look {
    /// It answered a probe, or did not.
    Probed {
        /// The engine.
        engine: String,
        /// Its attempt.
        fence: u64,
        /// What is wrong.
        result: Result<(), String>,
    },
    /// It ended.
    Ended(Ended),
    /// It is gone for good: its driver has nothing of it any more.
    Stopped {
        /// The engine.
        engine: String,
        /// Its attempt.
        fence: u64,
        /// What was left, in words.
        result: Result<(), String>,
    },
    /// Another engine is there for one that is to be replaced.
    Succeeded {
        /// The one that is to be replaced.
        engine: String,
        /// Its attempt.
        fence: u64,
        /// Why there is none.
        result: Result<Succession, NoSuccessor>,
    },
    /// What runs on an engine that drains, through other nodes.
    Elsewhere {
        /// The engine.
        engine: String,
        /// Its attempt.
        fence: u64,
        /// So much.
        in_flight: u64,
    },
    /// What ran on a service's engines through other nodes.
    UsedElsewhere {
        /// The service.
        service: ServiceName,
        /// Requests, by engine.
        requests: BTreeMap<String, u64>,
    },
    /// It runs on as an engine of another node.
    IsTheirs {
        /// The engine.
        engine: String,
        /// Its attempt.
        fence: u64,
    },
    /// What a driver runs.
    Listed {
        /// Which driver.
        driver: DriverKind,
        /// Everything of this Weir.
        running: Result<Vec<Running>, String>,
    },
    /// A job was added for which clients wait: it is asked for at once.
    JobAdded,
    /// Nobody holds the forwarded port of a VPN.
    PortIsNobodys {
        /// The VPN.
        vpn: String,
    },
    /// Something runs that this node did not know.
    Found {
        /// The engine.
        engine: String,
        /// What it is, with its holds; or why it is not this node's.
        found: Result<Box<Found>, Error>,
    },
    /// What was found is not to become an engine of this node.
    LetGo {
        /// The engine.
        engine: String,
        /// Its driver has nothing of it any more.
        is_gone: bool,
    },
    /// No other node moves an engine of this service to another VPN.
    MayRebalance {
        /// The service.
        service: ServiceName,
        /// Says so as long as it is kept.
        held: Held,
    },
    /// No other node has ended an outdated engine of this service in whose stead nobody serves.
    MayEndFirst {
        /// The service.
        service: ServiceName,
        /// Says so as long as it is kept.
        held: Held,
    },
    /// Its driver told whether its image is out of date.
    Image {
        /// The engine.
        engine: String,
        /// Its attempt.
        fence: u64,
        /// The name of its image means another image by now.
        has_drifted: bool,
    },
    /// Holds of an engine were lost and taken again.
    HeldAgain {
        /// The engine.
        engine: String,
        /// The new ones, or why there are none.
        held: Result<Vec<Held>, Error>,
    },
}

/// Somebody wants an engine of this node stopped.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
#[rtype(result = "Result<(), StopRefused>")]
pub struct StopEngine {
    /// Which.
    pub engine: String,
    /// Cuts what runs on it.
    pub now: bool,
    /// Why, in words.
    pub reason: String,
}

/// Why an engine was not stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopRefused {
    /// This node runs no such engine.
    #[error("this node runs no engine `{0}`")]
    Unknown(String),
}

/// Something happened to a VPN.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct VpnHappened {
    /// Which.
    pub vpn: String,
    /// What.
    pub what: VpnEvent,
}

/// What happens to VPNs and cannot be seen afterwards. Health, port and network are looked up instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VpnEvent {
    /// It is up again and stays up.
    Stable,
}
