//! Which forwarded port a new engine is started with.
//!
//! An engine announces the port that it was started with, so it is given none that the VPN may have lost. That is not
//! the same as a port that is past its time:
//!
//! | what is known | given |
//! |---|---|
//! | the port of the newest answer is the one that engines have | that one |
//! | nobody answers any more, and the last port told is that one | that one, up to the bound: nothing contradicts it |
//! | the newest answer names another port, once | none until it is confirmed |
//! | ports take turns | none until that ends |
//! | the VPN is down | none |
//!
//! Engines that run keep what they have meanwhile.

use std::time::Duration;

use super::health::State;
use crate::port_cache::Port;

/// What is known of a VPN's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// How the VPN is.
    pub health: State,
    /// The port that was told last and may be believed, for want of an answer also past its time.
    pub told: Option<Port>,
    /// The port that engines should have: [`super::PortWatch::settled`].
    pub settled: Option<Port>,
    /// While ports take turns: how long that lasts at least.
    pub calm_in: Option<Duration>,
    /// The control server does not answer.
    pub is_out: bool,
}

/// Why no port is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// The VPN is down, or not up for long enough.
    #[error("the VPN is not up for long enough")]
    Down,
    /// No port is known that may be believed.
    #[error("the VPN has no forwarded port yet, or none that can be told")]
    NoPort,
    /// Another port than the one that engines have was told, and not twice.
    #[error("port {told} was told once, and is not confirmed")]
    Unconfirmed {
        /// The port that was told.
        told: Port,
        /// Nobody answers who could confirm it.
        is_out: bool,
    },
    /// Ports take turns.
    #[error("the forwarded port changes so often that none is given")]
    Flapping {
        /// How long that lasts at least.
        calm_in: Duration,
    },
}

/// A new port is read a second time after this long.
pub const CONFIRM_AFTER: Duration = Duration::from_secs(1);

/// The port for an engine that starts now.
///
/// # Errors
/// [`Doubt`], when the VPN may have lost the port that is known.
pub fn grant(facts: &PortFacts) -> Result<Port, Doubt> {
    if !facts.health.is_steady() {
        return Err(Doubt::Down);
    }
    if let Some(calm_in) = facts.calm_in {
        return Err(Doubt::Flapping { calm_in });
    }
    let told = facts.told.ok_or(Doubt::NoPort)?;
    match facts.settled == Some(told) {
        true => Ok(told),
        false => Err(Doubt::Unconfirmed {
            told,
            is_out: facts.is_out,
        }),
    }
}

impl Doubt {
    /// Whether it ends by itself within moments, so that a start may wait for it.
    pub const fn ends_soon(self) -> bool {
        matches!(self, Self::NoPort | Self::Unconfirmed { is_out: false, .. })
    }

    /// How long it lasts at least; `None` when nobody knows.
    pub const fn eta(self) -> Option<Duration> {
        match self {
            Self::Unconfirmed { is_out: false, .. } => Some(CONFIRM_AFTER),
            Self::Flapping { calm_in } => Some(calm_in),
            Self::Down | Self::NoPort | Self::Unconfirmed { is_out: true, .. } => None,
        }
    }
}
