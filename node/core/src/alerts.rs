//! Limits that a node watches over itself: when what is above one becomes an alert, and when it is over.

use std::time::Duration;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Client connections, of those that there may be.
    Connections,
    /// The 95th percentile of latency.
    LatencyP95,
    /// Whatever waits for engines.
    Queue,
    /// The fullest pool of a backend.
    Pool,
    /// Redis's memory, of what it may use.
    RedisMemory,
}

impl Name {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 5] = [
        Self::Connections,
        Self::LatencyP95,
        Self::Queue,
        Self::Pool,
        Self::RedisMemory,
    ];

    /// As programs read it; never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::LatencyP95 => "latency_p95",
            Self::Queue => "queue",
            Self::Pool => "pool",
            Self::RedisMemory => "redis_memory",
        }
    }

    /// What its values and its limit are in: `share` (of 1), `seconds` or `count`.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Connections | Self::Pool | Self::RedisMemory => "share",
            Self::LatencyP95 => "seconds",
            Self::Queue => "count",
        }
    }

    /// How long it has to be above its limit before it fires.
    pub const fn hold(self) -> Duration {
        Duration::from_secs(match self {
            Self::Queue => 60,
            Self::Connections | Self::Pool => 120,
            Self::LatencyP95 | Self::RedisMemory => 300,
        })
    }

    /// A value of it, for people.
    pub fn shown(self, value: f64) -> String {
        match self.unit() {
            "share" => format!("{:.0} %", value * 100.0),
            "seconds" => format!("{value:.3} s"),
            _ => format!("{value:.0}"),
        }
    }
}

/// How an alert is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Not above its limit.
    #[default]
    Ok,
    /// Above it, and not for long enough.
    Pending,
    /// Above it for long enough.
    Firing,
}

impl State {
    /// In one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// Since when something is above its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// When it was first seen there, in milliseconds since 1970; `None` while it is not.
    since_unix_ms: Option<u64>,
    state: State,
}

impl Watch {
    /// How it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when it is above its limit.
    pub fn since_unix_ms(&self) -> Option<u64> {
        self.since_unix_ms
    }

    /// Looks at what there is now; nothing measured is nothing above. Returns the state if it began or ceased to fire.
    pub fn look(
        &mut self,
        value: Option<f64>,
        limit: f64,
        hold: Duration,
        now_unix_ms: u64,
    ) -> Option<State> {
        let before = self.state;
        if value.is_none_or(|value| value.is_nan() || value <= limit) {
            *self = Self::default();
        } else {
            let since = *self.since_unix_ms.get_or_insert(now_unix_ms);
            let lasted = Duration::from_millis(now_unix_ms.saturating_sub(since));
            self.state = match lasted >= hold {
                true => State::Firing,
                false => State::Pending,
            };
        }
        let is_news = (before == State::Firing) != (self.state == State::Firing);
        is_news.then_some(self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(60);

    fn run(watch: &mut Watch, looks: &[(u64, Option<f64>)]) -> Vec<(State, Option<State>)> {
        let looks = looks.iter().map(|(at_s, value)| {
            let news = watch.look(*value, 0.8, HOLD, at_s * 1_000);
            (watch.state(), news)
        });
        looks.collect()
    }

    #[test]
    fn what_is_above_its_limit_for_long_enough_fires_once_and_is_over_at_once() {
        let mut watch = Watch::default();
        let told = run(
            &mut watch,
            &[
                (10, Some(0.8)),
                (11, Some(0.81)),
                (70, Some(0.9)),
                (71, Some(0.9)),
                (80, Some(2.0)),
                (81, Some(0.8)),
            ],
        );
        let (ok, pending, firing) = (State::Ok, State::Pending, State::Firing);
        let expected = [
            (ok, None),
            (pending, None),
            (pending, None),
            (firing, Some(firing)),
            (firing, None),
            (ok, Some(ok)),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_dip_begins_the_wait_anew_and_nothing_measured_is_a_dip() {
        let mut watch = Watch::default();
        for dip in [Some(0.1), None, Some(f64::NAN)] {
            let told = run(&mut watch, &[(0, Some(1.0)), (59, dip), (60, Some(1.0))]);
            assert_eq!(told[2], (State::Pending, None), "{dip:?}");
            assert_eq!(watch.since_unix_ms(), Some(60_000));
            watch = Watch::default();
        }
    }

    #[test]
    fn a_limit_that_is_raised_ends_an_alert() {
        let mut watch = Watch::default();
        watch.look(Some(0.9), 0.8, Duration::ZERO, 1);
        assert_eq!(watch.state(), State::Firing);
        assert_eq!(watch.look(Some(0.9), 0.95, HOLD, 2), Some(State::Ok));
    }
}
