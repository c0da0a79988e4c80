//! Peak-EWMA: an average of response times that believes bad news at once and good news slowly.

use std::time::Duration;

/// Cost assumed for a backend whose first response is still outstanding.
pub const DEFAULT_INITIAL_RTT: Duration = Duration::from_secs(1);
/// Time in which the weight of an old sample falls to 1/e.
pub const DEFAULT_DECAY: Duration = Duration::from_secs(10);
/// Round-trip time a failure counts as when the backend did not say when to come back.
pub const DEFAULT_FAILURE_PENALTY: Duration = Duration::from_secs(5);
/// Longest round-trip time a failure may count as, whatever the backend asked for.
pub const MAX_FAILURE_PENALTY: Duration = Duration::from_secs(300);

/// How response times are averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EwmaConfig {
    /// Cost assumed for a backend whose first response is still outstanding.
    pub initial_rtt: Duration,
    /// Time in which the weight of an old sample falls to 1/e.
    pub decay: Duration,
}

impl Default for EwmaConfig {
    fn default() -> Self {
        Self {
            initial_rtt: DEFAULT_INITIAL_RTT,
            decay: DEFAULT_DECAY,
        }
    }
}

/// The round-trip time a failure counts as, given the backend's `Retry-After` if it sent one.
///
/// Never below [`DEFAULT_FAILURE_PENALTY`]: a backend that fails fast and says "retry at once" would
/// otherwise look like the fastest of all.
pub fn failure_penalty(retry_after: Option<Duration>) -> Duration {
    retry_after.map_or(DEFAULT_FAILURE_PENALTY, |wait| {
        wait.clamp(DEFAULT_FAILURE_PENALTY, MAX_FAILURE_PENALTY)
    })
}

/// The average after `sample_ns`, `age_ns` after the previous sample.
pub(super) fn updated(cost_ns: f64, age_ns: u64, sample_ns: f64, decay_ns: u64) -> f64 {
    if sample_ns > cost_ns {
        return sample_ns;
    }
    let kept = kept_share(age_ns, decay_ns);
    cost_ns * kept + sample_ns * (1.0 - kept)
}

/// The average as seen `age_ns` after its last sample.
///
/// It sinks towards zero so that a backend nobody uses is tried again some day.
pub(super) fn decayed(cost_ns: f64, age_ns: u64, decay_ns: u64) -> f64 {
    cost_ns * kept_share(age_ns, decay_ns)
}

fn kept_share(age_ns: u64, decay_ns: u64) -> f64 {
    (-(age_ns as f64) / decay_ns.max(1) as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn a_sample_above_the_average_replaces_it_at_once() {
        assert_eq!(updated(1e6, 1, 9e6, 10 * SECOND_NS), 9e6);
    }

    #[test]
    fn after_one_decay_time_an_old_sample_weighs_one_over_e() {
        let cost = updated(1e9, 10 * SECOND_NS, 0.0, 10 * SECOND_NS);
        assert!((cost - 1e9 / std::f64::consts::E).abs() < 1.0, "{cost}");
    }

    #[test]
    fn a_zero_decay_keeps_only_the_last_sample() {
        assert_eq!(updated(1e9, SECOND_NS, 5.0, 0), 5.0);
        assert!(decayed(1e9, 0, 0).is_finite());
    }

    #[test]
    fn retry_after_is_held_between_the_default_and_the_cap() {
        assert_eq!(failure_penalty(None), DEFAULT_FAILURE_PENALTY);
        assert_eq!(
            failure_penalty(Some(Duration::ZERO)),
            DEFAULT_FAILURE_PENALTY
        );
        assert_eq!(
            failure_penalty(Some(Duration::from_secs(60))),
            Duration::from_secs(60)
        );
        assert_eq!(
            failure_penalty(Some(Duration::from_secs(86_400))),
            MAX_FAILURE_PENALTY
        );
    }
}
