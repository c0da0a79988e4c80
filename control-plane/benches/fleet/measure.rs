//! The measurements, one after the other.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::profiles_client::ProfilesClient;

use super::node::{Counts, Node};
use super::process::ControlPlane;
use super::report::Report;
use super::{Fleet, PATIENCE};

const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Between two changes: as an operator's script would do them.
const CHANGE_INTERVAL: Duration = Duration::from_millis(100);
/// How long a push that must not come is waited for.
const QUIET: Duration = Duration::from_secs(2);

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
    let report = runtime.block_on(measure(fleet))?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "Control plane with {} nodes\n{}",
        report.nodes,
        report.text()
    )
    .map_err(|error| error.to_string())
}

struct Crowd {
    counts: Arc<Counts>,
    answers: mpsc::UnboundedReceiver<Instant>,
    nodes: u64,
    stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

async fn measure(fleet: &Fleet) -> Result<Report, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut control_plane = ControlPlane::start(&fleet.weir, folder.path()).await?;
    let mut report = Report {
        nodes: fleet.nodes,
        ..Report::default()
    };
    change(&control_plane, 1).await?;
    let idle_kib = control_plane.resident_kib()?;
    let begun = Instant::now();
    let mut crowd = Crowd::gather(fleet, &control_plane);
    crowd.all_connected().await?;
    report.connected_in = begun.elapsed();
    crowd.all_answered().await?;
    let kib = control_plane.resident_kib()?.saturating_sub(idle_kib);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    {
        report.stream_kib = kib as f64 / f64::from(fleet.nodes);
    }
    let cpu_before = control_plane.cpu_ms()?;
    for at in 0..fleet.changes {
        sleep(CHANGE_INTERVAL).await;
        let begun = Instant::now();
        change(&control_plane, at + 2).await?;
        let last = crowd.all_answered().await?;
        report.changes.push(last.duration_since(begun));
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    {
        let cpu = control_plane.cpu_ms()? - cpu_before;
        report.cpu_ms_a_change = cpu as f64 / f64::from(fleet.changes);
    }
    let pushes = crowd.counts.pushes.load(Ordering::Relaxed);
    change(&control_plane, fleet.changes + 1).await?;
    sleep(QUIET).await;
    report.pushes_of_a_no_op = crowd.counts.pushes.load(Ordering::Relaxed) - pushes;
    reconnect(&mut control_plane, &crowd, &mut report).await?;
    report.sent_away = crowd.counts.sent_away.load(Ordering::Relaxed);
    report.mismatches = crowd.counts.mismatches.load(Ordering::Relaxed);
    crowd.stop.send_replace(true);
    Ok(report)
}

async fn reconnect(
    control_plane: &mut ControlPlane,
    crowd: &Crowd,
    report: &mut Report,
) -> Result<(), String> {
    let counts = &crowd.counts;
    let bytes = counts.payload_bytes.load(Ordering::Relaxed);
    let welcomes = counts.welcomes.load(Ordering::Relaxed);
    let killed = Instant::now();
    control_plane.restart().await?;
    let started = Instant::now();
    let all_back = async {
        let is_back = || {
            counts.welcomes.load(Ordering::Relaxed) >= welcomes + crowd.nodes
                && counts.connected.load(Ordering::Relaxed) == crowd.nodes
        };
        while !is_back() {
            sleep(LOOK_INTERVAL).await;
        }
    };
    let back = timeout(PATIENCE, all_back).await;
    back.map_err(|_| "the nodes do not come back".to_owned())?;
    report.reconnected_in = killed.elapsed();
    report.reconnected_after_start = started.elapsed();
    sleep(QUIET).await;
    report.payload_bytes_of_reconnects = counts.payload_bytes.load(Ordering::Relaxed) - bytes;
    Ok(())
}

impl Crowd {
    fn gather(fleet: &Fleet, control_plane: &ControlPlane) -> Self {
        let counts = Arc::new(Counts::default());
        let (tell, answers) = mpsc::unbounded_channel();
        let (stop, stopping) = watch::channel(false);
        let mut random = fastrand::Rng::with_seed(fleet.seed);
        let mut tasks = JoinSet::new();
        for at in 0..fleet.nodes {
            let node = Node {
                id: format!("sim-{at}"),
                control_plane: control_plane.address,
                counts: Arc::clone(&counts),
                answers: tell.clone(),
                random: random.fork(),
                held: BTreeMap::new(),
                profile: pb::ProfileState::default(),
            };
            tasks.spawn(node.run(stopping.clone()));
        }
        Self {
            counts,
            answers,
            nodes: u64::from(fleet.nodes),
            stop,
            _tasks: tasks,
        }
    }

    async fn all_connected(&self) -> Result<(), String> {
        let connected = async {
            while self.counts.connected.load(Ordering::Relaxed) < self.nodes {
                sleep(LOOK_INTERVAL).await;
            }
        };
        let all = timeout(PATIENCE, connected).await;
        all.map_err(|_| "not every node is connected".to_owned())
    }

    /// Waits until every node answered one profile; when the last did.
    async fn all_answered(&mut self) -> Result<Instant, String> {
        let mut left = self.nodes;
        let mut last = Instant::now();
        let answered = async {
            while left > 0 {
                let Some(at) = self.answers.recv().await else {
                    return;
                };
                left -= 1;
                last = at;
            }
        };
        let all = timeout(PATIENCE, answered).await;
        all.map_err(|_| format!("{left} nodes did not answer"))?;
        Ok(last)
    }
}

/// Sets every knob, and one of them to what `number` says.
async fn change(control_plane: &ControlPlane, number: u32) -> Result<(), String> {
    let channel = control_plane
        .channel()
        .await
        .map_err(|error| error.to_string())?;
    let mut client = ProfilesClient::new(channel);
    let fleet = pb::GetProfileRequest {
        scope: "fleet".to_owned(),
        revision: 0,
    };
    let head = client
        .get_profile(fleet)
        .await
        .map_err(|error| error.to_string())?;
    let set = weir_core::tuning::all()
        .filter(|knob| knob.path != "ingress.connections_max")
        .map(|knob| (knob.path, knob.default_value().to_string()))
        .chain([("ingress.connections_max", (1_000 + number).to_string())])
        .map(|(path, value)| pb::TextSetting {
            path: path.to_owned(),
            value,
        });
    let put = pb::PutProfileRequest {
        scope: "fleet".to_owned(),
        expected_revision: head.get_ref().revision,
        write_id: format!("bench-{number}-{}", head.get_ref().revision),
        replace: true,
        set: set.collect(),
        author: "bench".to_owned(),
        ..pb::PutProfileRequest::default()
    };
    let put = client.put_profile(put).await;
    put.map(drop).map_err(|error| error.to_string())
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
