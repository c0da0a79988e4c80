//! Thousands of nodes that speak the real protocol to a real control plane, and how fast it is with them.
//!
//! Run by `make bench`, alone by `make bench-fleet`, with one size by
//! `cargo bench --profile load -p weir-control-plane --bench fleet -- --nodes 5000`.

mod crowd;
mod measure;
mod node;
mod operator;
mod process;
mod report;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Measure a control plane with many nodes
#[derive(Parser, Debug)]
struct Fleet {
    /// The binary under test; by default the one of the last `cargo build --release --bin weir`.
    #[arg(long)]
    weir: Option<PathBuf>,
    /// Nodes that are connected.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    nodes: u32,
    /// Profile changes in a row.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    changes: u32,
    /// The wait between two changes, in milliseconds.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pause_ms: u64,
    /// Nodes also ask for the list of all nodes.
    #[arg(long)]
    peers: bool,
    /// Decides everything that is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// No step of a measurement takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// All of them together take no longer.
const TOTAL_MAX: Duration = Duration::from_secs(900);

fn main() -> ExitCode {
    let fleet = Fleet::parse();
    match measure::run(&fleet) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "fleet: {error}");
            ExitCode::FAILURE
        }
    }
}
