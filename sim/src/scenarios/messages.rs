//! Three nodes give out messages while links and nodes fail.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use super::Ran;
use crate::checks::messages;
use crate::history::now;
use crate::messages::history::Recorder;
use crate::messages::hosts::{Common, add_node};
use crate::messages::{NODES, WORK_UNTIL};
use crate::plant::Plant;
use crate::purging::faults::{self, Act, Acts, Faults, Planned};
use crate::purging::world::World;

/// From the end of all faults and publications until everybody has everything.
const WHOLE_FOR: Duration = Duration::from_secs(15);
/// A run that takes longer hangs.
const DURATION_MAX: Duration = Duration::from_secs(60);
/// Nothing here depends on less.
const TICK: Duration = Duration::from_millis(5);
const LATENCY_MAX_MS: std::ops::Range<u64> = 6..60;

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
    let recorder = Recorder::default();
    let common = Common::new(seed, options.plant, &recorder);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .enable_random_order()
        .epoch(std::time::UNIX_EPOCH)
        .simulation_duration(DURATION_MAX)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(options.latency_max)
        .build();
    for node in NODES {
        add_node(&mut sim, node, &common);
    }
    let acts = Acts::default();
    // Nothing that it keeps is asked here.
    let faults = Faults::new(options.faults, Rc::clone(&acts), &World::default());
    sim.client("operator", script(faults, recorder.clone()));
    while !sim.step()? {
        for act in acts.take() {
            match act {
                Act::Crash(host) => sim.crash(host),
                Act::Start(host) => sim.bounce(host),
            }
        }
    }
    let history = recorder.history();
    tracing::info!(
        given = history.given,
        acked = history.acked.len(),
        recovered = history.recovered,
        gaps = history.gaps,
        restarted = history.restarted,
        "happened"
    );
    Ok(Ran {
        violations: messages::run(&history),
        checks: messages::count(),
    })
}

async fn script(faults: Faults, recorder: Recorder) -> turmoil::Result {
    faults.run().await;
    sleep(WORK_UNTIL.saturating_sub(now())).await;
    tracing::info!(at = ?now(), "nothing is wrong any more");
    sleep(WHOLE_FOR).await;
    recorder.look();
    Ok(())
}
