//! Three nodes purge what they keep while links, clocks and nodes fail.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use super::Ran;
use crate::checks::purging;
use crate::history::now;
use crate::plant::Plant;
use crate::purging::NODES;
use crate::purging::faults::{self, Act, Acts, Faults, Planned};
use crate::purging::history::Recorder;
use crate::purging::hosts::{Common, add_node};
use crate::purging::work::WORK_UNTIL;
use crate::purging::world::World;

/// From the end of all faults and purges until everybody has everything in force: a stream is found dead, made anew
/// after a wait of 5 s at most, and what is gone is given on at the second sign of life.
const WHOLE_FOR: Duration = Duration::from_secs(15);
/// A run that takes longer hangs.
const DURATION_MAX: Duration = Duration::from_secs(60);
/// Nothing here depends on less.
const TICK: Duration = Duration::from_millis(5);
const LATENCY_MAX_MS: std::ops::Range<u64> = 6..60;
/// How far clocks are ahead; together less than what nodes follow.
const AHEAD_MS: [u64; 4] = [0, 3, 40, 1_500];

/// What a seed expands to.
#[derive(Debug)]
struct Options {
    plant: Option<Plant>,
    latency_max: Duration,
    ahead: [Duration; NODES.len()],
    /// Keys are shared out among nodes; otherwise each one asks Redis and the origin for itself, as for routes that
    /// edit what passes.
    asks_owners: bool,
    faults: Vec<Planned>,
}

impl Options {
    fn of(seed: u64, plant: Option<Plant>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            plant,
            latency_max: Duration::from_millis(random.u64(LATENCY_MAX_MS)),
            ahead: [(); NODES.len()].map(|()| {
                let ahead_ms = AHEAD_MS[random.usize(..AHEAD_MS.len())];
                Duration::from_millis(ahead_ms)
            }),
            asks_owners: random.bool(),
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
        asks_owners: options.asks_owners,
        recorder: Recorder::default(),
        world: World::default(),
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
    for (node, ahead) in NODES.into_iter().zip(options.ahead) {
        add_node(&mut sim, node, ahead, &common);
    }
    let acts = Acts::default();
    let faults = Faults::new(options.faults, Rc::clone(&acts), &common.world);
    let (world, recorder) = (common.world.clone(), common.recorder.clone());
    sim.client("operator", script(faults, world, recorder));
    while !sim.step()? {
        for act in acts.take() {
            match act {
                Act::Crash(host) => sim.crash(host),
                Act::Start(host) => sim.bounce(host),
            }
        }
    }
    let history = common.recorder.history();
    let acked = history.purges.iter().filter(|purge| purge.acked.is_some());
    tracing::info!(
        purges = history.purges.len(),
        acked = acked.count(),
        fetches = history.fetches.len(),
        answers = history.answers.len(),
        "happened"
    );
    Ok(Ran {
        violations: purging::run(&history),
        checks: purging::count(),
    })
}

async fn script(faults: Faults, world: World, recorder: Recorder) -> turmoil::Result {
    faults.run().await;
    sleep(WORK_UNTIL.saturating_sub(now())).await;
    tracing::info!(at = ?now(), "nothing is wrong any more");
    sleep(WHOLE_FOR).await;
    world.look(&recorder);
    Ok(())
}
