//! What can be known of a port, and what is said about it.

use std::num::NonZeroU16;
use std::time::Duration;

/// A forwarded port. Zero is none.
pub type Port = NonZeroU16;

/// What a control server said: a port, none yet, or why not.
pub type Reading = Result<Option<Port>, Failure>;

/// Why a control server told no port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Failure {
    /// It wants another credential. This is not "no port".
    #[error("the control server wants a credential, or another one")]
    AuthRequired,
    /// It knows no way to tell a port.
    #[error("the control server cannot tell a forwarded port")]
    Unsupported,
    /// It gave no usable answer in time.
    #[error("the control server cannot be reached")]
    Unreachable,
}

/// What is known of a VPN's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nothing: never asked, or not since the last invalidation.
    Unknown,
    /// The control server answers and has no port yet.
    NotReady,
    /// The port.
    Ready(Port),
    /// The newest answer was a failure; the last good port may still be served.
    Failed(Failure),
}

impl From<Reading> for State {
    fn from(reading: Reading) -> Self {
        match reading {
            Ok(Some(port)) => Self::Ready(port),
            Ok(None) => Self::NotReady,
            Err(failure) => Self::Failed(failure),
        }
    }
}

impl State {
    /// The term for it in metrics, events and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::NotReady => "not_ready",
            Self::Ready(_) => "ready",
            Self::Failed(Failure::AuthRequired) => "auth_required",
            Self::Failed(Failure::Unsupported) => "unsupported",
            Self::Failed(Failure::Unreachable) => "unreachable",
        }
    }
}

/// What a look-up gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The port.
    Port {
        /// Which.
        port: Port,
        /// Older than it should be: the control server is out.
        is_stale: bool,
        /// Since it was asked for.
        age: Duration,
    },
    /// The VPN has no port yet.
    NotReady,
    /// It cannot be told.
    Refused(Failure),
    /// Nothing is known that may be believed; whoever looks up waits for a fetch.
    Unknown,
}

/// What a look-up asks to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// The answer serves; ask again meanwhile.
    RefreshInBackground,
    /// Ask, or wait for the question that is out.
    Fetch,
}

/// An answer, and what it asks to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookUp {
    /// The answer.
    pub answer: Answer,
    /// What has to be done.
    pub need: Need,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// The VPN's control server.
    ControlServer,
    /// The node that asks the control server for all.
    Owner,
}

/// Why what was known is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The VPN became unhealthy.
    Lost,
    /// It became healthy again.
    CameBack,
    /// It made its tunnel anew, in the same container.
    RestartedInPlace,
    /// Its container started again or is another one.
    ContainerReplaced,
    /// The node that asks for all said so.
    Owner,
    /// An operator, or the VPN itself, said so.
    Told,
}

impl Reason {
    /// The term for it in metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "vpn_lost",
            Self::CameBack => "vpn_came_back",
            Self::RestartedInPlace => "vpn_restarted_in_place",
            Self::ContainerReplaced => "container_replaced",
            Self::Owner => "owner",
            Self::Told => "told",
        }
    }
}

/// What came of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What is known is another.
    Changed {
        /// Before.
        from: State,
        /// Now.
        to: State,
    },
    /// As it was.
    Same,
    /// From before an invalidation, or older than what is known: dropped.
    DroppedStale,
}
