//! Wall-clock time that only moves forward.

use std::time::Duration;

use tokio::time::Instant;

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

    /// Time since 1970, now.
    pub fn unix_now(&self) -> Duration {
        self.unix_at(Instant::now())
    }
}
