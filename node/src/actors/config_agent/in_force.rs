//! What the agent publishes.

use std::sync::Arc;

use weir_core::tuning;

use crate::config::{Config, Environment, Give, Given, Invalid, Problem};

/// What is in force, for everyone to read.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The configuration.
    pub config: Arc<Config>,
    /// Grows by one with each configuration that came into force.
    pub revision: u64,
    /// Offers refused since the node started.
    pub refusals: u64,
    /// Why the last offer was refused; empty after one that was accepted.
    pub last_problems: Vec<Problem>,
    /// Why the last profile was refused; empty after one that was taken.
    pub profile_problems: Vec<tuning::Problem>,
}

impl InForce {
    /// The configuration that the node starts with.
    pub fn first(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            revision: 1,
            refusals: 0,
            last_problems: Vec::new(),
            profile_problems: Vec::new(),
        }
    }

    /// The configuration that the node starts with, from a file and what was given when it ran last. A profile
    /// that does not go with the file any more is left out and told.
    ///
    /// # Errors
    /// Every problem of the file.
    pub fn at_start(text: &str, environment: &Environment, given: &Given) -> Result<Self, Invalid> {
        match Config::parse(text, environment, given) {
            Ok(config) => Ok(Self::first(config)),
            Err(invalid) if invalid.infeasible.is_empty() => Err(invalid),
            Err(invalid) => {
                tracing::warn!(problems = %invalid, "starting without the profile that was given last");
                let without = given.with(Give::Profile(tuning::Profile::new()));
                Ok(Self {
                    profile_problems: invalid.infeasible,
                    ..Self::first(Config::parse(text, environment, &without)?)
                })
            }
        }
    }
}
