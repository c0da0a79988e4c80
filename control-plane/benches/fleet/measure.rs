//! The measurements, one after the other.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{Instant, sleep, timeout};

use super::crowd::Crowd;
use super::operator::Operator;
use super::process::ControlPlane;
use super::report::Report;
use super::{Fleet, TOTAL_MAX};

/// How long a push that must not come is waited for, and what is done in the background is given to end.
const QUIET: Duration = Duration::from_secs(2);
/// How long nothing is changed to see what that costs.
const IDLE: Duration = Duration::from_secs(5);

/// Measures, and prints what was found.
///
/// # Errors
/// What kept it from measuring.
pub(super) fn run(fleet: &Fleet) -> Result<(), String> {
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let report = runtime.block_on(async { timeout(TOTAL_MAX, measure(fleet)).await });
    let report = report.map_err(|_| format!("not done within {TOTAL_MAX:?}"))??;
    let mut out = io::stdout().lock();
    write!(out, "{}", report.text()).map_err(|error| error.to_string())
}

async fn measure(fleet: &Fleet) -> Result<Report, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let weir = weir(fleet)?;
    let mut control_plane = ControlPlane::start(&weir, folder.path()).await?;
    let mut report = Report {
        nodes: fleet.nodes,
        pause: Duration::from_millis(fleet.pause_ms),
        load_before: load_average(),
        ..Report::default()
    };
    let mut operator = Operator::connect(&control_plane).await?;
    operator.change().await?;
    let idle_kib = control_plane.resident_kib()?;
    let begun = Instant::now();
    let mut crowd = Crowd::gather(fleet, &control_plane);
    crowd.all_connected(0).await?;
    report.connected_in = begun.elapsed();
    crowd.all_answered().await?;
    sleep(QUIET).await;
    report.resident_kib = control_plane.resident_kib()?.saturating_sub(idle_kib);
    let cpu_before = control_plane.cpu_ms()?;
    sleep(IDLE).await;
    report.cpu_idle = control_plane.cpu_ms()? - cpu_before;
    report.cpu_idle_in = IDLE;
    changes(
        fleet,
        &control_plane,
        &mut operator,
        &mut crowd,
        &mut report,
    )
    .await?;
    no_op(&mut operator, &crowd, &mut report).await?;
    reconnect(&mut control_plane, &crowd, &mut report).await?;
    report.mismatches = crowd.counts.mismatches.load(Ordering::Relaxed);
    report.load_after = load_average();
    Ok(report)
}

async fn changes(
    fleet: &Fleet,
    control_plane: &ControlPlane,
    operator: &mut Operator,
    crowd: &mut Crowd,
    report: &mut Report,
) -> Result<(), String> {
    let bytes = crowd.counts.payload_bytes.load(Ordering::Relaxed);
    let cpu_before = control_plane.cpu_ms()?;
    for _ in 0..fleet.changes {
        sleep(report.pause).await;
        let begun = operator.change().await?;
        let last = crowd.all_answered().await?;
        report.changes.push(last.duration_since(begun));
    }
    // What a change leaves to do is a part of its price.
    sleep(QUIET).await;
    report.cpu_of_changes = control_plane.cpu_ms()? - cpu_before;
    let bytes = crowd.counts.payload_bytes.load(Ordering::Relaxed) - bytes;
    report.payload_bytes = bytes / u64::from(fleet.nodes) / u64::from(fleet.changes);
    report.resident_kib_at_the_end = control_plane.resident_kib()?;
    let begun = operator.change().await?;
    let told = operator.all_effective(fleet.nodes).await?;
    report.effective_in = told.duration_since(begun);
    crowd.all_answered().await?;
    sleep(QUIET).await;
    Ok(())
}

async fn no_op(operator: &mut Operator, crowd: &Crowd, report: &mut Report) -> Result<(), String> {
    let pushes = crowd.counts.pushes.load(Ordering::Relaxed);
    operator.write_the_same().await?;
    sleep(QUIET).await;
    report.pushes_of_a_no_op = crowd.counts.pushes.load(Ordering::Relaxed) - pushes;
    Ok(())
}

async fn reconnect(
    control_plane: &mut ControlPlane,
    crowd: &Crowd,
    report: &mut Report,
) -> Result<(), String> {
    let counts = &crowd.counts;
    let bytes = counts.payload_bytes.load(Ordering::Relaxed);
    let welcomes = counts.welcomes.load(Ordering::Relaxed);
    let attempts = counts.attempts.load(Ordering::Relaxed);
    let sent_away = counts.sent_away.load(Ordering::Relaxed);
    let killed = Instant::now();
    control_plane.restart().await?;
    let started = Instant::now();
    let attempts_by_then = counts.attempts.load(Ordering::Relaxed);
    crowd.all_connected(welcomes).await?;
    report.reconnected_in = killed.elapsed();
    report.reconnected_after_start = started.elapsed();
    report.attempts = counts.attempts.load(Ordering::Relaxed) - attempts;
    report.attempts_after_start = counts.attempts.load(Ordering::Relaxed) - attempts_by_then;
    report.sent_away = counts.sent_away.load(Ordering::Relaxed) - sent_away;
    report.reconnect_cpu = control_plane.cpu_ms()?;
    sleep(QUIET).await;
    report.payload_bytes_of_reconnects = counts.payload_bytes.load(Ordering::Relaxed) - bytes;
    Ok(())
}

/// The binary under test: told, or the one of the release profile.
fn weir(fleet: &Fleet) -> Result<PathBuf, String> {
    if let Some(weir) = &fleet.weir {
        return Ok(weir.clone());
    }
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    // This one is target/load/deps/NAME.
    let target = own.ancestors().nth(3);
    target
        .map(|target| target.join("release").join("weir"))
        .ok_or_else(|| "--weir is needed".to_owned())
}

fn load_average() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Too few show themselves as nodes that do not connect.
    let _ = setrlimit(Resource::Nofile, raised);
}
