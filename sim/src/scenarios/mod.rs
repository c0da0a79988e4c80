//! What is simulated. A scenario expands its seed to options, prints them, and runs.

mod control_plane;
mod messages;
mod partition;
mod purges;

use clap::ValueEnum;

use crate::checks::Violation;
use crate::log;
use crate::plant::Plant;

/// A scenario by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Two nodes lose a backend, then their operator, and get both back.
    Partition,
    /// Two instances of the control plane steer three nodes while everything between them breaks.
    ControlPlane,
    /// Three nodes purge what they keep while links, clocks and nodes fail.
    Purges,
    /// Three nodes give out messages while links and nodes fail.
    Messages,
}

/// A scenario that ran to its end.
pub(crate) struct Ran {
    violations: Vec<Violation>,
    checks: usize,
}

/// Runs `scenario` and every check; true when all of them hold.
pub(crate) fn run(scenario: Scenario, seed: u64, plant: Option<Plant>) -> bool {
    let ran = match scenario {
        Scenario::Partition => partition::run(seed, plant),
        Scenario::ControlPlane => control_plane::run(seed, plant),
        Scenario::Purges => purges::run(seed, plant),
        Scenario::Messages => messages::run(seed, plant),
    };
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) => {
            tracing::error!(%error, "the scenario did not end");
            return false;
        }
    };
    let Ran { violations, checks } = ran;
    for violation in &violations {
        tracing::error!(check = violation.check, "{}", violation.detail);
    }
    let panics = log::panics();
    let holds = violations.is_empty() && panics == 0;
    let broken = violations.len();
    tracing::info!(?scenario, seed, checks, broken, panics, holds, "ended");
    holds
}
