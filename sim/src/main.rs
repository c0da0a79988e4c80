//! The whole mesh on one thread and one seed: real nodes, simulated network, simulated time.

mod checks;
mod cluster;
mod determinism;
mod fleet;
mod history;
mod log;
mod messages;
mod meta;
mod net;
mod operator;
mod plant;
mod purging;
mod scenarios;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::log::Depth;
use crate::plant::Plant;
use crate::scenarios::Scenario;

/// Runs a mesh inside a simulation
#[derive(Parser)]
#[command(name = "weir-sim", version)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run one seed and check what happened
    Run {
        /// What to simulate.
        scenario: Scenario,
        /// Decides everything that is left to chance.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// A bug to plant; some check must find it.
        #[arg(long)]
        plant: Option<Plant>,
        /// Write the event log here, not to standard output.
        #[arg(long)]
        log: Option<PathBuf>,
        /// Show every segment on the network too, and what HTTP/2 makes of it.
        #[arg(long)]
        segments: bool,
    },
    /// Run each seed in two processes and compare their logs
    Meta {
        /// What to simulate.
        scenario: Scenario,
        /// How many seeds.
        #[arg(long, default_value_t = 20)]
        seeds: u64,
        /// The first one.
        #[arg(long, default_value_t = 1)]
        first: u64,
        /// A bug to plant.
        #[arg(long)]
        plant: Option<Plant>,
    },
    /// Show all scenarios
    List,
}

fn main() -> ExitCode {
    determinism::seal();
    match act(Arguments::parse().action) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "weir-sim: {error}");
            ExitCode::from(2)
        }
    }
}

fn act(action: Action) -> io::Result<bool> {
    match action {
        Action::Run {
            scenario,
            seed,
            plant,
            log,
            segments,
        } => {
            let _sealed = determinism::start(seed);
            let depth = if segments {
                Depth::Segments
            } else {
                Depth::Events
            };
            log::start(log.as_deref(), depth)?;
            Ok(scenarios::run(scenario, seed, plant))
        }
        Action::Meta {
            scenario,
            seeds,
            first,
            plant,
        } => meta::run(scenario, first..first.saturating_add(seeds), plant),
        Action::List => {
            let mut out = io::stdout().lock();
            for line in meta::scenarios() {
                writeln!(out, "{line}")?;
            }
            Ok(true)
        }
    }
}
