//! Engines and ports of VPNs on real code: a burst of provisions, look-ups on a mesh of processes, look-ups in process.
//!
//! Run by `make bench`, alone by `make bench-engines`, shorter by
//! `cargo bench --profile load -p weir-node --bench engines -- --requests 100 --seconds 10`.
//! Ends with 1 when a bar is missed.

mod burst;
mod look_ups;
mod mesh;
mod node;
#[path = "../common/process.rs"]
#[expect(dead_code, reason = "shared with other benches")]
mod process;
mod recorder;
#[path = "../common/report.rs"]
mod report;
mod warm;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tokio::task::LocalSet;
use tokio::time::timeout;

use self::report::Report;

/// Measure provisioning and look-ups of ports
#[derive(Parser, Debug)]
struct Options {
    /// The binary under test; by default the one of the last `cargo build --release --bin weir`.
    #[arg(long)]
    weir: Option<PathBuf>,
    /// Provisions that are asked for at once; each takes half a second.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=5_000))]
    requests: u16,
    /// How long ports are looked up.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Look-ups a second, over all nodes.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    /// Measure this alone.
    #[arg(long)]
    only: Option<Part>,
    /// Decides everything that is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Many provisions at once.
    Burst,
    /// Look-ups over gRPC on three nodes.
    LookUps,
    /// Look-ups in process.
    Warm,
}

/// No step but the measurements themselves takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let options = Options::parse();
    let mut report = Report::default();
    let measured = run(&options, &mut report);
    report.conclude("engines", measured)
}

fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    process::raise_open_files();
    for part in [Part::Warm, Part::LookUps, Part::Burst] {
        if options.only.is_some_and(|only| only != part) {
            continue;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let local = LocalSet::new();
        runtime.block_on(local.run_until(measure(part, options, report)))?;
    }
    Ok(())
}

async fn measure(part: Part, options: &Options, report: &mut Report) -> Result<(), String> {
    let (most, name) = match part {
        Part::Warm => (2 * PATIENCE, "warm look-ups"),
        Part::LookUps => (
            4 * PATIENCE + Duration::from_secs(options.seconds),
            "look-ups",
        ),
        Part::Burst => (2 * PATIENCE + 2 * burst::expected(options), "burst"),
    };
    let measured = timeout(most, async {
        match part {
            Part::Warm => warm::run(report).await,
            Part::LookUps => look_ups::run(options, report).await,
            Part::Burst => burst::run(options, report).await,
        }
    });
    measured
        .await
        .unwrap_or_else(|_| Err(format!("not done within {most:?}")))
        .map_err(|why| format!("{name}: {why}"))
}
