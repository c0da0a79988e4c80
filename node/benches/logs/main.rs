//! Logs on real code: the newest lines of a file of 1 GiB, asked for anew and again, and what one more line costs.
//!
//! Run by `make bench`, alone by `make bench-logs`. Ends with 1 when a bar is missed.

#[path = "../common/report.rs"]
#[expect(dead_code, reason = "shared with other benches")]
mod report;

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::time::Instant;
use tracing_subscriber::layer::SubscriberExt as _;
use weir_core::logs::{LINES_MAX, Level, Query, Rotation, Writer};
use weir_core::units::{format_bytes, parse_bytes};
use weir_node::ports::clock::WallClock;
use weir_node::telemetry::logs::{LogFiles, Logs};

use self::report::{Report, ms};

const NODE: &str = "node-1";
/// Questions of each kind.
const ROUNDS: u32 = 200;
/// Lines that are written one after the other.
const LINES: u32 = 4_000;

/// Measure how logs are read and written
#[derive(Parser, Debug)]
struct Options {
    /// How large the file is.
    #[arg(long, default_value = "1GiB", value_parser = parse_bytes)]
    bytes: u64,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut report = Report::default();
    let measured = run(&options, &mut report);
    report.conclude("logs", measured)
}

fn run(options: &Options, report: &mut Report) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let files = LogFiles {
        folder: folder.path().to_owned(),
        name: "node-1.log".to_owned(),
        rotation: Rotation {
            bytes_max: u64::MAX,
            files_max: 2,
        },
    };
    fill(&files, options.bytes)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    report.section(&format!("a log of {}", format_bytes(options.bytes)));
    runtime.block_on(read(files, report));
    report.section("one more line");
    runtime.block_on(write_lines(report));
    Ok(())
}

/// A file of lines such as a node writes.
fn fill(files: &LogFiles, bytes: u64) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(files.path())?);
    let (mut written, mut number) = (0, 0_u64);
    while written < bytes {
        let mut writer = Writer::new(
            1_700_000_000_000 + number,
            Level::Info,
            "weir_node::data_plane::pool",
        );
        writer.text("message", "connect failed");
        writer.text("backend", "10.0.0.17:8080");
        writer.plain("number", &number.to_string());
        let line = writer.finish();
        writeln!(file, "{line}")?;
        written += line.len() as u64 + 1;
        number += 1;
    }
    file.flush()
}

async fn read(files: LogFiles, report: &mut Report) {
    let (logs, _capture) = Logs::new(WallClock::system());
    tokio::spawn(logs.begin(Some(files)));
    let question = |grep: &str, lines| Query::new(None, "info", grep, lines, LINES_MAX);
    let (mut anew, mut again, mut nothing) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // A text that no question had before, so that no answer is kept for it.
        let grep = &"connect failed"[..1 + round as usize % 14];
        let lines = LINES_MAX - round as usize / 14;
        let Ok(asked) = question(grep, lines) else {
            continue;
        };
        for times in [&mut anew, &mut again] {
            let began = Instant::now();
            let found = logs.find(NODE, &asked).await;
            times.push(began.elapsed());
            assert_eq!(found.lines.len(), lines, "the file has so many");
        }
        if round < 10
            && let Ok(asked) = question(&format!("nowhere {round}"), 0)
        {
            let began = Instant::now();
            let found = logs.find(NODE, &asked).await;
            nothing.push(began.elapsed());
            assert!(found.lines.is_empty() && found.is_cut);
        }
    }
    let (anew, again, nothing) = (p99(anew), p99(again), p99(nothing));
    let within = |time: Duration, bar_ms| time <= Duration::from_millis(bar_ms);
    report.bar(
        "the newest 1,000 lines, p99",
        ms(anew),
        "at most 20 ms",
        within(anew, 20),
    );
    report.bar(
        "the same again, p99",
        ms(again),
        "at most 2 ms",
        within(again, 2),
    );
    report.figure("a text that no line has, worst", ms(nothing));
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    let at = times.len() * 99 / 100;
    times
        .get(at.min(times.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// What whoever writes a line pays for it to be kept.
async fn write_lines(report: &mut Report) {
    let (logs, capture) = Logs::new(WallClock::system());
    let subscriber = tracing_subscriber::registry().with(capture);
    let took = tracing::subscriber::with_default(subscriber, || {
        let began = Instant::now();
        for number in 0..LINES {
            tracing::info!(backend = "10.0.0.17:8080", number, "connect failed");
        }
        began.elapsed()
    });
    assert_eq!(logs.counts().no_room(), 0);
    let each = took / LINES;
    let text = format!("{} ns", each.as_nanos());
    report.bar(
        "for whoever writes it, mean",
        text,
        "at most 10 us",
        each <= Duration::from_micros(10),
    );
}
