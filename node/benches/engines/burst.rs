//! Many provisions at once: how close to each other they start, how many are in flight, and whether one gets lost.

use std::cell::Cell;
use std::io::{self, Write as _};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};
use weir_control_plane::jobs::{DEFAULT_QUEUE, JobList, State};
use weir_node::actors::provision_supervisor::ProvisionHandle;

use super::node::Node;
use super::recorder::Recorder;
use super::report::{Report, ms, secs};
use super::{Options, PATIENCE};

const SERVICE: &str = "tv";
/// The defaults of `provision.concurrent_max` and `provision.interval_min`, which are measured.
const CONCURRENT_MAX: usize = 5;
const INTERVAL_MIN: Duration = Duration::from_millis(500);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const JOBS_LISTED: usize = 200;
/// Below the ports that the system gives to clients, with some that others may have taken.
const PORT_FIRST: u16 = 20_000;
const PORTS_TO_SPARE: u16 = 1_000;

/// How long it takes with nothing but the spacing.
pub(super) fn expected(options: &Options) -> Duration {
    INTERVAL_MIN * u32::from(options.requests)
}

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let requests = usize::from(options.requests);
    let _ = writeln!(
        io::stderr(),
        "{requests} provisions at once; about {} s",
        expected(options).as_secs()
    );
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let port_last = PORT_FIRST + options.requests + PORTS_TO_SPARE;
    let text = format!(
        "[node]\nname = \"bench\"\ndata_dir = \"{}\"\n[provision]\nhost_ports = \"{PORT_FIRST}-{port_last}\"\n\
         [services.{SERVICE}.engines]\ncommand = [\"engine\"]\nmin = 0\nfree = 0\nmax = {requests}\n\
         idle_grace = \"1h\"\n",
        folder.path().display()
    );
    let recorder = Recorder::new();
    let driver = Arc::new(recorder.clone());
    let node = Node::start(&text, Some(driver), options.seed).await?;
    let most = Rc::new(Cell::new(0));
    let watching = watch_in_flight(node.wired.provision.clone(), Rc::clone(&most));
    tokio::task::spawn_local(watching);
    let begun = Instant::now();
    let asked = (0..requests).map(|number| {
        let (api, key) = (node.api.clone(), format!("burst-{number}"));
        async move { api.provision(SERVICE, &key, None).await }
    });
    let answers = join_all(asked).await;
    let queued_in = begun.elapsed();
    let refused: Vec<_> = answers
        .iter()
        .filter_map(|answer| answer.as_ref().err())
        .collect();
    let deadline = begun + PATIENCE + expected(options) * 3 / 2;
    while ready(&node) + refused.len() < requests && Instant::now() < deadline {
        sleep(LOOK_INTERVAL).await;
    }
    let all_ready_in = begun.elapsed();
    let provision = &node.wired.provision;
    // An engine is ready a moment before its job is done.
    let mut open = open_jobs(provision).await?;
    while open > 0 && Instant::now() < deadline {
        sleep(LOOK_INTERVAL).await;
        open = open_jobs(provision).await?;
    }
    let done = jobs(provision, vec![State::Done]).await?;
    report.section(&format!(
        "{requests} provisions at once, default limits, on one node with jobs on disk"
    ));
    report.figure("all taken into the queue within", ms(queued_in));
    if let Some(first) = refused.first() {
        report.figure("why one was refused", first);
    }
    let refused = refused.len();
    report.bar("refused", refused, "0", refused == 0);
    tell_starts(&recorder, most.get(), report);
    report.figure("jobs that are done", done);
    report.figure("jobs that are still open", open);
    let lost = requests.abs_diff(done + open);
    report.bar("requests without a job", lost, "0", lost == 0);
    let without = done.abs_diff(ready(&node));
    report.bar(
        "jobs done without an engine that is ready",
        without,
        "0",
        without == 0,
    );
    report.figure("all ready within", secs(all_ready_in));
    Ok(())
}

fn tell_starts(recorder: &Recorder, most_shown: usize, report: &mut Report) {
    let starts = recorder.starts();
    let gaps = starts.windows(2).map(|pair| pair[1] - pair[0]);
    let mut gaps: Vec<Duration> = gaps.collect();
    gaps.sort_unstable();
    let count = starts.len();
    // A job whose engine did not get ready is tried again.
    report.figure("starts, at the driver", count);
    let at_driver = recorder.most();
    let is_bounded = |most: usize| most <= CONCURRENT_MAX;
    report.bar(
        "most starts in the driver at a time",
        at_driver,
        "at most 5",
        is_bounded(at_driver),
    );
    report.bar(
        "most provisions in flight at a time",
        most_shown,
        "at most 5",
        is_bounded(most_shown),
    );
    if let (Some(closest), Some(median)) = (gaps.first(), gaps.get(gaps.len() / 2)) {
        let holds = *closest >= INTERVAL_MIN;
        report.bar(
            "closest two starts, at the driver",
            ms(*closest),
            "at least 500 ms",
            holds,
        );
        report.figure("  half of them no further apart than", ms(*median));
    }
}

/// Notes the most provisions that were in flight in any picture.
async fn watch_in_flight(provision: ProvisionHandle, most: Rc<Cell<usize>>) {
    let mut revisions = provision.revisions();
    loop {
        most.set(most.get().max(provision.picture().in_flight));
        if revisions.changed().await.is_err() {
            return;
        }
    }
}

fn ready(node: &Node) -> usize {
    let picture = node.api.picture();
    let engines = picture.engines.iter();
    engines.filter(|engine| engine.state == "ready").count()
}

async fn open_jobs(provision: &ProvisionHandle) -> Result<usize, String> {
    jobs(
        provision,
        vec![State::Ready, State::Waiting, State::Claimed],
    )
    .await
}

/// How many jobs are in one of these states.
async fn jobs(provision: &ProvisionHandle, states: Vec<State>) -> Result<usize, String> {
    let mut list = JobList {
        queue: DEFAULT_QUEUE.to_owned(),
        states,
        entries_max: JOBS_LISTED,
        ..JobList::default()
    };
    let mut found = 0;
    loop {
        let page = provision.queue().list(list.clone()).await;
        let page = page.map_err(|error| error.to_string())?;
        found += page.jobs.len();
        if page.next.is_empty() {
            return Ok(found);
        }
        list.after = page.next;
    }
}
