//! Messages to many over real WebSockets of nodes as processes.
//!
//! Run by `make bench`, alone by `make bench-broadcast`, one part by
//! `cargo bench --profile load -p weir-node --bench broadcast -- --only fan-out`.
//! Ends with 1 when a bar is missed. Clients and nodes
//! share the machine; each node has one core. The same without sockets is `weir-broadcast`'s `fan_out`.

mod audience;
mod cross;
mod crowd;
mod fan_out;
mod fixed;
mod idle;
mod many;
mod nodes;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/report.rs"]
mod report;
mod resume;
mod socket;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tokio::task::LocalSet;

use self::report::Report;

/// Measure messages to many
#[derive(Parser, Debug)]
struct Options {
    /// The binary under test; by default the one of the last `cargo build --release --bin weir`.
    #[arg(long)]
    weir: Option<PathBuf>,
    /// Subscribers of the parts with many.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=25_000))]
    clients: u32,
    /// How long each load lasts.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
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
    /// 100 clients, 100 messages, fixed batches.
    Fixed,
    /// As many messages as one core gives to 1,000 clients.
    FanOut,
    /// Latency with very many clients, and with some that do not read.
    Many,
    /// What it costs a message to come from another node.
    Cross,
    /// Memory of clients that only listen.
    Idle,
    /// Clients that come back after a node was killed.
    Resume,
}

const PARTS: [Part; 6] = [
    Part::Fixed,
    Part::FanOut,
    Part::Many,
    Part::Cross,
    Part::Idle,
    Part::Resume,
];
/// No step but the measurements themselves takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let options = Options::parse();
    let mut report = Report::default();
    let measured = run(&options, &mut report);
    report.conclude("broadcast", measured)
}

fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    process::raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    for part in PARTS {
        if options.only.is_some_and(|only| only != part) {
            continue;
        }
        let local = LocalSet::new();
        let measured = runtime.block_on(local.run_until(async {
            match part {
                Part::Fixed => fixed::run(options, report).await,
                Part::FanOut => fan_out::run(options, report).await,
                Part::Many => many::run(options, report).await,
                Part::Cross => cross::run(options, report).await,
                Part::Idle => idle::run(options, report).await,
                Part::Resume => resume::run(options, report).await,
            }
        }));
        measured.map_err(|why| format!("{part:?}: {why}"))?;
    }
    Ok(())
}
