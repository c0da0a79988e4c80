//! What it costs to tell: requests on a node that tells of them, and a scrape of a node with 1,000 backends.
//!
//! Run by `make bench`, alone by `make bench-telemetry`. Ends with 1 when a bar is missed.

#[path = "../cache/client.rs"]
#[expect(dead_code, reason = "shared with other benches")]
mod client;
#[path = "../common/process.rs"]
#[expect(dead_code, reason = "shared with other benches")]
mod process;
#[path = "../common/report.rs"]
#[expect(dead_code, reason = "shared with other benches")]
mod report;
mod requests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use tokio::task::LocalSet;
use tokio::time::Instant;
use weir_node::actors::config_agent::InForce;
use weir_node::config::{Config, Environment, Given};
use weir_node::data_plane;
use weir_node::engine_room;
use weir_node::http_api::{Disk, Shown, metrics_text};
use weir_node::overview::OverviewApi;
use weir_node::ports::clock::WallClock;
use weir_node::ports::net::Tcp;
use weir_node::servers::{self, status_of};
use weir_node::telemetry::logs::Logs;
use weir_node::telemetry::metrics::TextFormat;
use weir_node::telemetry::spans::Tracer;
use weir_node::wiring::{Env, Wired, wire};

use self::report::{Report, ms};

const BACKENDS: usize = 1_000;
const SCRAPES: usize = 200;
const BAR: Duration = Duration::from_millis(5);
/// For one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measure what telemetry costs
#[derive(Parser, Debug)]
struct Options {
    /// The binary under test; by default the one of the last `cargo build --release --bin weir`.
    #[arg(long)]
    weir: Option<PathBuf>,
    /// How long each node is asked in a round.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Rounds, each with new nodes.
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut report = Report::default();
    let measured = run(&options, &mut report);
    report.conclude("telemetry", measured)
}

fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async {
        let wired = node().await?;
        scrapes(&shown(&wired)?, report);
        Ok::<_, String>(())
    }))?;
    runtime.block_on(requests::run(options, report))
}

/// A node whose services have that many backends in all, on the control thread alone.
async fn node() -> Result<Wired, String> {
    let backends: Vec<String> = (0..BACKENDS)
        .map(|at| format!("\"127.0.{}.{}:1\"", at / 250, at % 250 + 1))
        .collect();
    let text = format!(
        "[services.web]\nbackends = [{}]\n[[routes]]\nservice = \"web\"\n",
        backends.join(", ")
    );
    let config = Config::parse(&text, &Environment::new(), &Given::default());
    let config = config.map_err(|problems| problems.to_string())?;
    let clock = WallClock::system();
    let env = Env {
        net: Arc::new(Tcp),
        clock,
        tracer: Tracer::off(),
        seed: 1,
        environment: Environment::new(),
        engines: engine_room::off(clock, 1),
    };
    let wired = wire(InForce::first(config), &env).await;
    wired.map_err(|refused| refused.to_string())
}

/// What the API of a node without cores shows.
fn shown(wired: &Wired) -> Result<Shown, String> {
    let cores = data_plane::start(Vec::new(), &wired.core_parts, 1);
    let cores = cores.map_err(|error| error.to_string())?;
    let logs = Logs::off(wired.core_parts.clock);
    let status = status_of(wired);
    let overview = OverviewApi::new(wired, status.clone());
    Ok(servers::shown(
        wired,
        &cores,
        &logs,
        status,
        overview,
        Disk::new(None),
    ))
}

fn scrapes(shown: &Shown, report: &mut Report) {
    let mut took: Vec<Duration> = Vec::with_capacity(SCRAPES);
    let mut bytes = 0;
    for _ in 0..SCRAPES {
        let begun = Instant::now();
        bytes = metrics_text(shown, TextFormat::OpenMetrics).len();
        took.push(begun.elapsed());
    }
    took.sort();
    let p99 = took[SCRAPES * 99 / 100];
    report.section("telemetry");
    let what = format!(
        "a scrape with {BACKENDS} backends ({} KiB), p99",
        bytes >> 10
    );
    report.bar(&what, ms(p99), "<= 5 ms", p99 <= BAR);
}
