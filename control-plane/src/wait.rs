//! Waits: for a moment, for a call in flight, and between tries that fail.

use std::ops::RangeInclusive;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

/// Waits for ever if there is nothing to wait for.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The answer to a call in flight, which then is none any more. Waits for ever if there is none.
pub(crate) async fn answer<T>(call: &mut Option<BoxFuture<'static, T>>) -> T {
    let Some(waiting) = call else {
        return std::future::pending().await;
    };
    let answer = waiting.await;
    *call = None;
    answer
}

/// Doubles with each failure, with full jitter, so that those who failed together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    bounds: RangeInclusive<Duration>,
    longest: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    /// The first wait is at most the lower bound, and none is above the upper one.
    pub(crate) fn new(bounds: RangeInclusive<Duration>, random: fastrand::Rng) -> Self {
        Self {
            longest: *bounds.start(),
            bounds,
            random,
        }
    }

    /// How long to wait after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.longest.mul_f64(self.random.f64());
        self.longest = (self.longest * 2).min(*self.bounds.end());
        wait
    }

    /// It worked: the waits begin small again.
    pub(crate) fn reset(&mut self) {
        self.longest = *self.bounds.start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_their_bound_and_begin_small_again() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(min..=max, fastrand::Rng::with_seed(1));
        assert!(backoff.next() <= min);
        let waits: Vec<Duration> = (0..200).map(|_| backoff.next()).collect();
        assert!(waits.iter().all(|wait| *wait <= max));
        assert!(waits.iter().any(|wait| *wait > max / 2));
        backoff.reset();
        assert!(backoff.next() <= min);
    }
}
