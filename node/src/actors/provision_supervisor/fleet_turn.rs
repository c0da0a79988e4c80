//! Keeps starts of all nodes apart where they happen: claims are spaced by the store, and what each job needs before it
//! starts takes its own time, so that starts could come together again.
//!
//! Whoever starts an engine has a hold in the store, from just before it asks the driver until the interval is over. A
//! node that dies in between keeps others waiting until the hold ends.

use std::time::Duration;

use tokio::time::sleep;
use weir_control_plane::jobs::{DEFAULT_QUEUE, Error};

use super::Parts;
use super::holds::{Held, held};
use super::settle::release;

const NAME: &str = "fleet:start";
/// Between two looks for the turn. One start of each node looks at a time.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

fn interval_min(parts: &Parts) -> Duration {
    let in_force = parts.in_force.load();
    in_force.config.provision.fleet_interval_min
}

/// Waits for the turn of one start in the mesh; `None` where none is needed.
pub(super) async fn wait(parts: &Parts) -> Result<Option<Held>, Error> {
    while !interval_min(parts).is_zero() {
        let asked = parts.queue.hold(DEFAULT_QUEUE, NAME, parts.holder.clone());
        match asked.await {
            Ok(hold) => return Ok(Some(held(parts, hold))),
            Err(Error::Held { .. }) => sleep(LOOK_INTERVAL).await,
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The driver was asked just now: the next one's turn comes after the interval.
pub(super) fn pass_on(parts: &Parts, turn: Option<Held>) {
    let Some(turn) = turn else {
        return;
    };
    let parts = parts.clone();
    tokio::task::spawn_local(async move {
        sleep(interval_min(&parts)).await;
        release(&parts, turn).await;
    });
}
