//! What it costs to look at nodes: samples that are kept, a status under load, a dashboard's poll of three nodes.
//!
//! Run by `make bench`, alone by `make bench-status`. Ends with 1 when a bar is missed.

mod mesh;
#[path = "../common/process.rs"]
#[expect(dead_code, reason = "shared with other benches")]
mod process;
#[path = "../common/report.rs"]
#[expect(dead_code, reason = "shared with other benches")]
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::time::{Instant, sleep};
use weir_core::series::Ring;
use weir_node::telemetry::history::layout::WIDTH;

use self::mesh::{Client, Mesh, NODES};
use self::report::{Report, ms};

/// Samples that are kept one after the other.
const SAMPLES: u64 = 10_000;
const SAMPLES_BAR: Duration = Duration::from_millis(1);
const STATUS_BAR: Duration = Duration::from_millis(1);
/// Connections that load the node, and that ask for its status.
const LOADING: usize = 16;
const ASKING: usize = 4;
/// Between two requests of one connection. They keep the node busy and leave it some time: what waits for a processor
/// says nothing of a node.
const LOAD_PAUSE: Duration = Duration::from_millis(1);
const STATUS_PAUSE: Duration = Duration::from_millis(5);
const POLL_BYTES_BAR: usize = 50 << 10;
/// How often a dashboard asks.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
const POLLS: usize = 3;

/// Measure how nodes are looked at
#[derive(Parser, Debug)]
struct Options {
    /// The binary under test; by default the one of the last `cargo build --release --bin weir`.
    #[arg(long)]
    weir: Option<PathBuf>,
    /// How long statuses are asked for.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Backends of each node.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=2_000))]
    backends: u16,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut report = Report::default();
    let measured = run(&options, &mut report);
    report.conclude("status", measured)
}

fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    report.section("history");
    keep_samples(report);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mesh = Mesh::start(options).await?;
        report.section("a node under load");
        ask_under_load(&mesh, options, report).await?;
        report.section(&format!("a dashboard of {NODES} nodes"));
        poll(&mesh, options, report).await
    })
}

fn keep_samples(report: &mut Report) {
    let mut ring = Ring::new(WIDTH, 1_000);
    let numbers: [u64; WIDTH] = std::array::from_fn(|at| at as u64);
    let begun = Instant::now();
    for slot in 1..=SAMPLES {
        ring.add(slot, std::hint::black_box(&numbers));
    }
    let took = begun.elapsed();
    std::hint::black_box(ring.slot(SAMPLES));
    let what = format!("{SAMPLES} samples of {WIDTH} series");
    let bar = format!("at most {}", ms(SAMPLES_BAR));
    report.bar(&what, ms(took), &bar, took <= SAMPLES_BAR);
}

async fn ask_under_load(mesh: &Mesh, options: &Options, report: &mut Report) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let (ingress, api) = (mesh.nodes[0].ingress, mesh.nodes[0].api);
    let ask = |to, path: &'static str, pause: Duration| async move {
        let mut client = Client::connect(to).await?;
        let mut took = Vec::new();
        while Instant::now() < until {
            sleep(pause).await;
            let begun = Instant::now();
            client.get(path, "").await?;
            took.push(begun.elapsed());
        }
        Ok::<_, String>(took)
    };
    let load: Vec<_> = (0..LOADING)
        .map(|_| tokio::spawn(ask(ingress, "/", LOAD_PAUSE)))
        .collect();
    let asking: Vec<_> = (0..ASKING)
        .map(|_| tokio::spawn(ask(api, "/api/status", STATUS_PAUSE)))
        .collect();
    let mut requests = 0;
    for task in load {
        requests += task.await.map_err(|error| error.to_string())??.len();
    }
    let mut took = Vec::new();
    for task in asking {
        took.extend(task.await.map_err(|error| error.to_string())??);
    }
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100];
    report.figure(
        "requests beside",
        format!("{}/s", requests as u64 / options.seconds),
    );
    report.figure(
        "statuses",
        format!("{}/s", took.len() as u64 / options.seconds),
    );
    let bar = format!("at most {}", ms(STATUS_BAR));
    report.bar("/api/status, p99", ms(p99), &bar, p99 <= STATUS_BAR);
    Ok(())
}

async fn poll(mesh: &Mesh, options: &Options, report: &mut Report) -> Result<(), String> {
    let mut client = Client::connect(mesh.nodes[0].api).await?;
    let mut since = 0;
    let mut largest = 0;
    for at in 0..POLLS {
        let path = format!("/api/overview?mesh=true&since={since}");
        let begun = Instant::now();
        let gzip = client.get(&path, "Accept-Encoding: gzip\r\n").await?;
        let took = begun.elapsed();
        let whole = client.get(&path, "").await?;
        let told: serde_json::Value =
            serde_json::from_slice(&whole).map_err(|error| error.to_string())?;
        since = told["history"]["next_slot"].as_u64().unwrap_or(0);
        let what = if at == 0 { "first poll" } else { "later poll" };
        let bytes = format!("{} of {} bytes", gzip.len(), whole.len());
        report.figure(what, format!("{bytes}, {}", ms(took)));
        largest = largest.max(gzip.len());
        sleep(POLL_INTERVAL).await;
    }
    let what = format!(
        "largest poll with {} backends, compressed",
        options.backends
    );
    let bar = format!("at most {POLL_BYTES_BAR} bytes");
    report.bar(
        &what,
        format!("{largest} bytes"),
        &bar,
        largest <= POLL_BYTES_BAR,
    );
    Ok(())
}
