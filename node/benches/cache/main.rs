//! The cache on processes: a crowd on a cold key, purges of the whole mesh, Redis that fails, memory over time.
//!
//! Run by `make bench`, alone by `make bench-cache`, one part by
//! `cargo bench --profile load -p weir-node --bench cache -- --only crowd`.
//! Ends with 1 when a bar is missed. Hits beside other
//! caches are scenarios S7 and S7L of `sim/bench/bench.py`.

mod client;
mod crowd;
mod many;
mod memory;
mod nodes;
mod origin;
#[path = "../common/process.rs"]
#[expect(dead_code, reason = "shared with other benches")]
mod process;
mod purges;
mod redis;
#[path = "../common/report.rs"]
#[expect(dead_code, reason = "shared with other benches")]
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use self::report::Report;

/// Measure the cache on nodes as processes
#[derive(Parser, Debug)]
struct Options {
    /// The binary under test; by default the one of the last `cargo build --release --bin weir`.
    #[arg(long)]
    weir: Option<PathBuf>,
    /// Clients that want one cold key at once.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(3..=30_000))]
    clients: u32,
    /// Purges a second.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    purges: u32,
    /// How long memory is watched.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Measure this alone.
    #[arg(long)]
    only: Option<Part>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Many clients on a cold key, over three nodes.
    Crowd,
    /// Purges by tag that wait for three nodes.
    Purges,
    /// Redis frozen and killed under load.
    Redis,
    /// Resident memory under bodies of all sizes.
    Memory,
}

/// No step but the measurements themselves takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let options = Options::parse();
    let mut report = Report::default();
    let measured = run(&options, &mut report);
    report.conclude("cache", measured)
}

fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    process::raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    for part in [Part::Crowd, Part::Purges, Part::Redis, Part::Memory] {
        if options.only.is_some_and(|only| only != part) {
            continue;
        }
        let measured = runtime.block_on(async {
            match part {
                Part::Crowd => crowd::run(options, report).await,
                Part::Purges => purges::run(options, report).await,
                Part::Redis => redis::run(options, report).await,
                Part::Memory => memory::run(options, report).await,
            }
        });
        measured.map_err(|why| format!("{part:?}: {why}"))?;
    }
    Ok(())
}

/// The value below which this share of them is.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let at = (sorted.len() as f64 * share) as usize;
    let last = sorted.len().saturating_sub(1);
    sorted.get(at.min(last)).copied().unwrap_or_default()
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    quantile(&values, 0.5)
}
