//! Active checks: one task for each backend, each result a message to the actor.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Probed;
use crate::link::Link;
use crate::ports::net::Net;
use crate::prober::{self, probe};

/// The first check of backends that were there from the start is spread over this time.
const FIRST_CHECK_SPREAD: Duration = Duration::from_millis(500);
/// Each wait differs by up to this share of the interval, so that checks do not march in step.
const JITTER: f64 = 0.1;

/// A running series of checks; ends when dropped.
#[derive(Debug)]
pub(super) struct Probing(AbortHandle);

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a series of checks needs to know.
pub(super) struct Target {
    pub(super) serial: u64,
    pub(super) whom: prober::Target,
    pub(super) interval: Duration,
}

/// Checks `target` until the result is dropped.
pub(super) fn start(
    target: Target,
    net: Arc<dyn Net>,
    results: Link<Probed>,
    mut rng: fastrand::Rng,
) -> Probing {
    let task = tokio::task::spawn_local(async move {
        tokio::time::sleep(FIRST_CHECK_SPREAD.mul_f64(rng.f64())).await;
        loop {
            let began = Instant::now();
            let result = probe(&*net, &target.whom).await;
            // A full or restarting actor misses one result; the next check tells it again.
            let _ = results.offer(Probed {
                serial: target.serial,
                result,
            });
            let jitter = 1.0 - JITTER + 2.0 * JITTER * rng.f64();
            tokio::time::sleep_until(began + target.interval.mul_f64(jitter)).await;
        }
    });
    Probing(task.abort_handle())
}
