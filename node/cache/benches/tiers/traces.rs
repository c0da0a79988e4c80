//! How much of public traces the first tier answers, beside what LRU and S3-FIFO would.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CACHE_CONTROL};
use weir_cache::{Budget, Entry, Fill, Found, MemoryLimits, PurgeLimits, Purges, Resource, Store};
use weir_core::cache::{self, Exchange, Key, Policy, Stored, Target, UnixMs};
use weir_core::proxy::Scheme;
use weir_core::purge::{Hlc, HlcClock};

use super::report::Report;

/// Traces of the simulator of Caffeine (Apache-2.0), at this commit.
const SOURCE: &str = "https://raw.githubusercontent.com/ben-manes/caffeine/ccef95542a9181182a60f5c6c33d2a0642c73574/\
    simulator/src/main/resources/com/github/benmanes/caffeine/cache/simulator/parser";
const NOW: UnixMs = UnixMs(1_800_000_000_000);
/// Own memory is seven eighths of all: the rest is for what other nodes own.
const OWN_SHARE: (u64, u64) = (7, 8);
/// How far below the better of LRU and S3-FIFO a hit ratio may be, in percentage points.
const BELOW_MAX_PP: f64 = 1.5;

#[derive(Clone, Copy)]
enum Format {
    /// A number a line.
    Lines,
    /// Numbers of four bytes, the highest first.
    Ints,
    /// Numbers of eight bytes, the highest first.
    Longs,
}

struct Row {
    file: &'static str,
    format: Format,
    /// Entries that the tier holds.
    capacity: u64,
    /// Hit ratios of LRU and S3-FIFO at that capacity, in percent, by simulation.
    others: (f64, f64),
    /// At least this, in percent, whatever the others do.
    floor: f64,
}

const fn row(
    file: &'static str,
    format: Format,
    capacity: u64,
    others: (f64, f64),
    floor: f64,
) -> Row {
    Row {
        file,
        format,
        capacity,
        others,
        floor,
    }
}

const ROWS: [Row; 14] = [
    row(
        "lirs/gli.trace.gz",
        Format::Lines,
        1_000,
        (11.2, 35.1),
        48.0,
    ),
    row(
        "lirs/multi1.trace.gz",
        Format::Lines,
        1_000,
        (48.2, 58.0),
        0.0,
    ),
    row(
        "lirs/multi3.trace.gz",
        Format::Lines,
        2_000,
        (44.6, 55.3),
        0.0,
    ),
    row(
        "lirs/sprite.trace.gz",
        Format::Lines,
        500,
        (78.3, 70.2),
        0.0,
    ),
    row(
        "lirs/sprite.trace.gz",
        Format::Lines,
        1_000,
        (90.6, 82.7),
        0.0,
    ),
    row(
        "lirs/2_pools.trace.gz",
        Format::Lines,
        450,
        (50.3, 51.6),
        0.0,
    ),
    row(
        "cache2k/web07.trace.xz",
        Format::Ints,
        500,
        (45.6, 43.6),
        0.0,
    ),
    row(
        "cache2k/web07.trace.xz",
        Format::Ints,
        2_000,
        (55.5, 54.9),
        58.0,
    ),
    row(
        "cache2k/web12.trace.xz",
        Format::Ints,
        500,
        (55.8, 54.9),
        0.0,
    ),
    row(
        "cache2k/web12.trace.xz",
        Format::Ints,
        2_000,
        (72.6, 72.1),
        75.0,
    ),
    row(
        "cache2k/orm-busy.trace.xz",
        Format::Ints,
        500,
        (69.3, 41.0),
        0.0,
    ),
    row(
        "cache2k/orm-busy.trace.xz",
        Format::Ints,
        2_000,
        (81.4, 59.7),
        0.0,
    ),
    row(
        "scarab/scarab-recs.trace.xz",
        Format::Longs,
        50_000,
        (69.2, 66.0),
        69.5,
    ),
    row(
        "cloud_physics/w106.trace.xz",
        Format::Ints,
        50_000,
        (93.3, 90.3),
        0.0,
    ),
];

pub(super) fn run(folder: Option<PathBuf>, report: &mut Report) -> Result<(), String> {
    report.section("Hit ratios on public traces");
    let folder = folder.map_or_else(download, Ok)?;
    for row in &ROWS {
        let keys = keys(&folder, row)?;
        let ratio = 100.0 * hits(&keys, row.capacity) as f64 / keys.len() as f64;
        let bar = (row.others.0.max(row.others.1) - BELOW_MAX_PP).max(row.floor);
        let name = row.file.rsplit('/').next().unwrap_or(row.file);
        let what = format!("{name}, {} entries", row.capacity);
        report.bar(
            &what,
            format!("{ratio:.1} %"),
            &format!("at least {bar:.1} %"),
            ratio >= bar,
        );
    }
    weighted(&folder, report)
}

/// Objects of many sizes within 10 MB, in one shard. An object costs what the trace says, as in the simulations that
/// the bars are from: its head is part of that.
fn weighted(folder: &Path, report: &mut Report) -> Result<(), String> {
    const BYTES_MAX: u64 = 10_000_000;
    let text = unpacked(folder, "adapt_size/request.trace.xz")?;
    let text = String::from_utf8(text).map_err(|error| error.to_string())?;
    let tier = Tier::new(BYTES_MAX * OWN_SHARE.1 / OWN_SHARE.0, BYTES_MAX);
    let head_bytes = usize::try_from(cost("")).unwrap_or(usize::MAX);
    let (mut requests, mut hits, mut bytes, mut hit_bytes) = (0_u64, 0_u64, 0_u64, 0_u64);
    for line in text.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(id), Some(Ok(size))) = (fields.next(), fields.next().map(str::parse::<u64>))
        else {
            return Err(format!("request.trace: {line}"));
        };
        let body_bytes = usize::try_from(size).unwrap_or(usize::MAX);
        let is_hit = tier.ask(id, body_bytes.saturating_sub(head_bytes));
        requests += 1;
        bytes += size;
        hits += u64::from(is_hit);
        hit_bytes += if is_hit { size } else { 0 };
    }
    let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole as f64;
    let (objects, bytes) = (percent(hits, requests), percent(hit_bytes, bytes));
    report.bar(
        "request.trace, 10 MB, objects",
        format!("{objects:.1} %"),
        "at least 33.5 %",
        objects >= 33.5,
    );
    report.bar(
        "request.trace, 10 MB, bytes",
        format!("{bytes:.1} %"),
        "at least 34.0 %",
        bytes >= 34.0,
    );
    Ok(())
}

/// Requests for `keys` that a tier of that many entries of one size answers.
fn hits(keys: &[u64], capacity: u64) -> usize {
    let cost = cost("/0000000000000000");
    let tier = Tier::new(
        capacity * cost * OWN_SHARE.1 / OWN_SHARE.0 + OWN_SHARE.1,
        cost,
    );
    keys.iter()
        .filter(|key| tier.ask(&format!("/{key:016x}"), 1))
        .count()
}

/// The first tier, filled on a miss.
struct Tier(Store<()>);

impl Tier {
    fn new(bytes_max: u64, entry_bytes_max: u64) -> Self {
        let purges = Purges::new(1, HlcClock::new(1, 2_000), PurgeLimits::default());
        let limits = MemoryLimits {
            bytes_max,
            entry_bytes_max,
        };
        Self(Store::new(limits, 1, purges))
    }

    fn ask(&self, path: &str, body_bytes: usize) -> bool {
        let is_hit = matches!(
            self.0.find(key(path).as_str(), &HeaderMap::new(), NOW),
            Found::Entry(..)
        );
        if !is_hit {
            self.0.insert(&Arc::new(entry(path, body_bytes)), NOW);
        }
        is_hit
    }
}

fn key(path: &str) -> Key {
    let target = Target {
        namespace: "",
        scheme: Scheme::Http,
        authority: "a",
        path_and_query: path,
    };
    Key::of(&target).expect("it is short")
}

fn entry(path: &str, body_bytes: usize) -> Entry {
    let (request, mut response) = (HeaderMap::new(), HeaderMap::new());
    response.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    let exchange = Exchange {
        method: &Method::GET,
        path_and_query: path,
        request: &request,
        status: StatusCode::OK,
        response: &response,
        requested_at: NOW,
        responded_at: NOW,
    };
    let stored = cache::store(&exchange, &Policy::default()).expect("it may be kept");
    let resource = Resource::new(key(path), "", "a", path);
    let (at, body) = (Hlc::new(NOW.0, 0, 1), body(&stored, body_bytes));
    Entry::new(resource, stored, at, Box::default(), body)
}

/// A body as it is kept once it came.
fn body(stored: &Stored, bytes: usize) -> Box<[Bytes]> {
    let length = bytes as u64;
    let at = Hlc::new(NOW.0, 0, 1);
    let budget = Budget::new(length);
    let mut writer = Fill::begin(stored.clone(), at, Some(length), length, budget);
    writer.push(&vec![0; bytes]).expect("there is room");
    writer.finish().expect("it is not too long")
}

/// What an entry with the shortest body costs.
fn cost(path: &str) -> u64 {
    entry(path, 1).cost_bytes() + key(path).as_str().len() as u64
}

fn keys(folder: &Path, row: &Row) -> Result<Vec<u64>, String> {
    let bytes = unpacked(folder, row.file)?;
    match row.format {
        Format::Lines => {
            let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
            let lines = text.lines().filter(|line| !line.is_empty() && *line != "*");
            let number = |line: &str| {
                line.trim()
                    .parse()
                    .map_err(|_| format!("{}: {line}", row.file))
            };
            lines.map(number).collect()
        }
        Format::Ints => Ok(numbers::<4>(&bytes)),
        Format::Longs => Ok(numbers::<8>(&bytes)),
    }
}

fn numbers<const WIDTH: usize>(bytes: &[u8]) -> Vec<u64> {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    bytes.chunks_exact(WIDTH).map(number).collect()
}

/// A trace as it was before it was compressed.
fn unpacked(folder: &Path, file: &str) -> Result<Vec<u8>, String> {
    let path = folder.join(file.rsplit('/').next().unwrap_or(file));
    let program = if file.ends_with(".gz") { "gzip" } else { "xz" };
    let output = Command::new(program)
        .arg("-dc")
        .arg(&path)
        .stderr(Stdio::inherit())
        .output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("{} cannot be read", path.display())),
    }
}

/// Downloads what is not there yet.
fn download() -> Result<PathBuf, String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/bench/traces");
    let files = ROWS
        .iter()
        .map(|row| row.file)
        .chain(["adapt_size/request.trace.xz"]);
    for file in files {
        let path = folder.join(file.rsplit('/').next().unwrap_or(file));
        if path.exists() {
            continue;
        }
        let url = format!("{SOURCE}/{file}");
        let mut curl = Command::new("curl");
        curl.args([
            "--fail",
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--create-dirs",
            "--output",
        ]);
        let status = curl
            .arg(&path)
            .arg(&url)
            .status()
            .map_err(|error| format!("curl: {error}"))?;
        if !status.success() {
            return Err(format!("{url} cannot be had; give a folder with --traces"));
        }
    }
    Ok(folder)
}
