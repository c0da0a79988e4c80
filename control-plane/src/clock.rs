//! Wall-clock time that only moves forward.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Tells the wall clock, in milliseconds since 1970: for those whose tests move the time by hand.
pub type NowUnixMs = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Unix time, read once when the process starts and carried on by the monotonic clock: a stepped system
/// clock moves nothing, and a simulation may start it where it likes.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    unix_at_start: Duration,
    start: Instant,
}

impl WallClock {
    /// The system's time.
    pub fn system() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the system clock"
        )]
        let now = std::time::SystemTime::now();
        Self::starting_at(
            now.duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default(),
        )
    }

    /// A clock that shows `unix` now.
    pub fn starting_at(unix: Duration) -> Self {
        Self {
            unix_at_start: unix,
            start: Instant::now(),
        }
    }

    /// Time since 1970 at `instant`.
    pub fn unix_at(&self, instant: Instant) -> Duration {
        self.unix_at_start + instant.saturating_duration_since(self.start)
    }

    /// The same in whole nanoseconds, as OTLP tells it.
    pub fn unix_ns_at(&self, instant: Instant) -> u64 {
        u64::try_from(self.unix_at(instant).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Time since 1970, now.
    pub fn unix_now(&self) -> Duration {
        self.unix_at(Instant::now())
    }

    /// The same in whole milliseconds, as records keep it.
    pub fn unix_ms_now(&self) -> u64 {
        u64::try_from(self.unix_now().as_millis()).unwrap_or(u64::MAX)
    }

    /// The same as a function.
    pub fn to_fn(self) -> NowUnixMs {
        Arc::new(move || self.unix_ms_now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_with_the_time_of_the_runtime() {
        let clock = WallClock::starting_at(Duration::from_secs(1_000));
        tokio::time::advance(Duration::from_millis(2_500)).await;
        assert_eq!(clock.unix_ms_now(), 1_002_500);
        assert!(WallClock::system().unix_ms_now() > 1_500_000_000_000);
    }
}
