//! Two instances of the control plane steer three nodes while everything between them breaks.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::Ran;
use crate::checks::fleet::{self, Promises};
use crate::fleet::faults::{self, Act, Acts, Faults, Planned};
use crate::fleet::history::Recorder;
use crate::fleet::hosts::{Common, SharedStore, add_instance, add_node, add_store};
use crate::fleet::operator::Operator;
use crate::fleet::wire::Way;
use crate::fleet::{INSTANCES, NODES};
use crate::history::now;
use crate::plant::Plant;

const OPERATORS: [&str; 2] = ["ada", "ben"];
/// Operators begin nothing new after this.
const WORK_UNTIL: Duration = Duration::from_secs(90);
/// A run that takes longer hangs.
const DURATION_MAX: Duration = Duration::from_secs(400);
/// Nothing here depends on less.
const TICK: Duration = Duration::from_millis(20);
const LATENCY_MAX_MS: std::ops::Range<u64> = 21..60;

const PROMISES: Promises = Promises {
    // A node waits half a minute at most before it tries again, and one try takes some seconds.
    in_sync_within: Duration::from_secs(45),
    changed_within: Duration::from_secs(5),
    suspect_for: Duration::from_secs(30),
};

/// What a seed expands to.
#[derive(Debug)]
struct Options {
    plant: Option<Plant>,
    latency_max: Duration,
    faults: Vec<Planned>,
}

impl Options {
    fn of(seed: u64, plant: Option<Plant>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            plant,
            latency_max: Duration::from_millis(random.u64(LATENCY_MAX_MS)),
            faults: faults::plan(&mut random),
        }
    }
}

/// Runs it.
pub(super) fn run(seed: u64, plant: Option<Plant>) -> turmoil::Result<Ran> {
    let options = Options::of(seed, plant);
    tracing::info!(seed, ?options, "begins");
    let common = Common {
        seed,
        plant: options.plant,
        recorder: Recorder::default(),
        store: SharedStore::default(),
    };
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .enable_random_order()
        .epoch(std::time::UNIX_EPOCH)
        .simulation_duration(DURATION_MAX)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(options.latency_max)
        .build();
    add_store(&mut sim, &common);
    let mut ways = Vec::new();
    for instance in INSTANCES {
        let (way, seen) = watch::channel(Way::Open);
        add_instance(&mut sim, instance, &seen, &common);
        ways.push(way);
    }
    for node in NODES {
        add_node(&mut sim, node, &common);
    }
    let acts = Acts::default();
    let faults = Faults::new(options.faults, ways, Rc::clone(&acts), &common.recorder);
    sim.client("operators", script(seed, faults, common.recorder.clone()));
    while !sim.step()? {
        for act in acts.take() {
            match act {
                Act::Crash(host) => sim.crash(host),
                Act::Start(host) => sim.bounce(host),
            }
        }
    }
    let history = common.recorder.history();
    Ok(Ran {
        violations: fleet::run(&history, &PROMISES),
        checks: fleet::count(),
    })
}

async fn script(seed: u64, faults: Faults, recorder: Recorder) -> turmoil::Result {
    let next = Rc::new(Cell::new(0));
    let operator = |name: &'static str, seed| Operator::new(name, seed, &next, &recorder);
    let seeds = seed.wrapping_mul(1_000);
    let lister = operator("lister", seeds);
    tokio::task::spawn_local(async move { lister.list().await });
    let mut tasks = vec![tokio::task::spawn_local(faults.run())];
    for (at, name) in (1..).zip(OPERATORS) {
        let operator = operator(name, seeds.wrapping_add(at));
        tasks.push(tokio::task::spawn_local(async move {
            operator.work(WORK_UNTIL).await;
        }));
    }
    for task in tasks {
        task.await?;
    }
    tracing::info!(at = ?now(), "nothing is wrong any more");
    sleep(PROMISES.in_sync_within).await;
    recorder.all_must_be_in_sync();
    operator("eve", seeds.wrapping_add(9))
        .change_everything()
        .await;
    sleep(PROMISES.changed_within).await;
    recorder.all_must_be_in_sync();
    Ok(())
}
