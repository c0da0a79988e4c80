//! Two nodes lose a backend, then their operator, and get both back.

use std::time::Duration;

use tokio::time::sleep;

use super::Ran;
use crate::checks::{self, Promises};
use crate::cluster::{BACKEND_PORT, NodeSpec, add_backend, add_node};
use crate::history::Recorder;
use crate::net::{CONNECT_TIMEOUT, KEEPALIVE};
use crate::operator::{Action, DEADLINE, Operator};
use crate::plant::Plant;

const NODES: [&str; 2] = ["node-1", "node-2"];
const BACKENDS: [&str; 3] = ["backend-1", "backend-2", "backend-3"];
const OPERATOR: &str = "operator";
const SERVICE: &str = "web";

const INTERVAL: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_millis(200);
const FALL: u32 = 3;
const RISE: u32 = 2;
/// A round trip takes at most four of these while a check connects and asks: well below `TIMEOUT`.
const LATENCY_MAX_MS: u64 = 20;
/// A run that takes longer hangs.
const DURATION_MAX: Duration = Duration::from_secs(60);

/// What a seed expands to.
#[derive(Clone, Debug)]
struct Options {
    plant: Option<Plant>,
    latency_max: Duration,
    /// Which backend one node loses.
    lost: &'static str,
    /// Which node loses it.
    loser: &'static str,
    /// Which backend the operator changes.
    changed: &'static str,
    weight: u32,
    /// How long after the start it all begins.
    begins_after: Duration,
    /// How long a cut lasts that must go unnoticed.
    blink: Duration,
    /// How long the lost backend stays cut off beyond what takes it out.
    cut_beyond: Duration,
    /// How long the operator is cut off.
    operator_away: Duration,
}

impl Options {
    fn of(seed: u64, plant: Option<Plant>) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let lost = rng.usize(..BACKENDS.len());
        let changed = (lost + rng.usize(1..BACKENDS.len())) % BACKENDS.len();
        let mut ms = |range| Duration::from_millis(rng.u64(range));
        Self {
            plant,
            latency_max: ms(1..LATENCY_MAX_MS),
            begins_after: ms(600..2_000),
            blink: ms(50..400),
            cut_beyond: ms(0..3_000),
            operator_away: ms(500..3_000),
            lost: BACKENDS[lost],
            changed: BACKENDS[changed],
            loser: NODES[rng.usize(..NODES.len())],
            weight: rng.u32(2..100),
        }
    }

    fn config(&self, node: &str) -> String {
        let fall = match self.plant {
            Some(Plant::NoUnhealthy) => 100,
            Some(Plant::Hasty) => 1,
            _ => FALL,
        };
        let rise = match self.plant {
            Some(Plant::NoRecovery) => 100,
            _ => RISE,
        };
        let backends = BACKENDS.map(|id| {
            format!("[[services.{SERVICE}.backends]]\nid = \"{id}\"\naddress = \"{id}:{BACKEND_PORT}\"\n")
        });
        format!(
            "[node]\nname = \"{node}\"\ncores = 1\n\
             [services.{SERVICE}.health]\ncheck = \"http\"\npath = \"/health\"\n\
             interval = \"{}ms\"\ntimeout = \"{}ms\"\nfall = {fall}\nrise = {rise}\n{}\
             [[routes]]\nservice = \"{SERVICE}\"\n",
            INTERVAL.as_millis(),
            TIMEOUT.as_millis(),
            backends.concat(),
        )
    }
}

const PROMISES: Promises = Promises {
    interval: INTERVAL,
    timeout: TIMEOUT,
    fall: FALL,
    rise: RISE,
    // The old connection must be found dead, and calls that still run on it must end.
    reachable_after: KEEPALIVE
        .saturating_mul(2)
        .saturating_add(CONNECT_TIMEOUT)
        .saturating_add(DEADLINE),
};

/// Runs it.
pub(super) fn run(seed: u64, plant: Option<Plant>) -> turmoil::Result<Ran> {
    let options = Options::of(seed, plant);
    tracing::info!(seed, ?options, "begins");
    let recorder = Recorder::default();
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .enable_random_order()
        .epoch(std::time::UNIX_EPOCH)
        .simulation_duration(DURATION_MAX)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(options.latency_max)
        .build();
    for backend in BACKENDS {
        add_backend(&mut sim, backend);
    }
    for (at, node) in (1..).zip(NODES) {
        let spec = NodeSpec {
            name: node.to_owned(),
            config: options.config(node),
            seed: seed.wrapping_mul(NODES.len() as u64).wrapping_add(at),
        };
        add_node(&mut sim, &spec, &recorder);
    }
    sim.client(OPERATOR, script(options, recorder.clone()));
    sim.run()?;
    let history = recorder.history();
    Ok(Ran {
        violations: checks::run(&history, &PROMISES),
        checks: checks::count(),
    })
}

async fn script(options: Options, recorder: Recorder) -> turmoil::Result {
    let operators = NODES.map(|node| Operator::new(node, options.plant, &recorder));
    for operator in &operators {
        tokio::task::spawn_local(operator.clone().watch());
    }
    sleep(options.begins_after).await;
    if options.plant == Some(Plant::ProcessId) {
        tracing::debug!(process = std::process::id(), "planted");
    }
    list(&operators).await;

    blink(&options, &recorder).await;
    lose_a_backend(&options, &recorder, &operators).await;
    lose_the_operator(&options, &recorder, &operators).await;

    // Every node gets what it missed, and everyone has time to come to rest.
    for operator in &operators {
        let missed = options.plant == Some(Plant::LostChange) && operator.leads_to(NODES[1]);
        let change = if missed {
            Action::Weigh(1)
        } else {
            Action::Weigh(options.weight)
        };
        operator.insist(SERVICE, options.changed, change).await;
        operator
            .insist(SERVICE, options.changed, Action::Undrain)
            .await;
    }
    sleep(PROMISES.back_within()).await;
    list(&operators).await;
    Ok(())
}

async fn list(operators: &[Operator]) {
    for operator in operators {
        operator.list().await;
    }
}

/// A cut so short that no node may take its backend out.
async fn blink(options: &Options, recorder: &Recorder) {
    recorder.cut(options.loser, options.lost);
    sleep(options.blink).await;
    recorder.repair(options.loser, options.lost);
    sleep(PROMISES.back_within()).await;
}

/// One node loses a backend that the other one still has; operators go on working meanwhile.
async fn lose_a_backend(options: &Options, recorder: &Recorder, operators: &[Operator]) {
    recorder.cut(options.loser, options.lost);
    for operator in operators {
        operator
            .insist(SERVICE, options.changed, Action::Drain)
            .await;
    }
    sleep(PROMISES.out_within() + options.cut_beyond).await;
    list(operators).await;
    recorder.repair(options.loser, options.lost);
    sleep(PROMISES.back_within()).await;
    list(operators).await;
}

/// The operator calls a node that it cannot reach, then can again.
async fn lose_the_operator(options: &Options, recorder: &Recorder, operators: &[Operator]) {
    let cut_off = &operators[0];
    recorder.cut(NODES[0], OPERATOR);
    cut_off
        .change(SERVICE, options.changed, Action::Weigh(7))
        .await;
    cut_off.list().await;
    sleep(options.operator_away).await;
    recorder.repair(NODES[0], OPERATOR);
    while !cut_off.list().await {
        sleep(Duration::from_millis(50)).await;
    }
}
