//! The health of one backend as a state machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checks::{Checks, Verdict};
use super::config::HealthConfig;
use super::ejection::{Ejection, Ejections};
use super::slow_start::FULL_PERMILLE;
use super::standing::Standing;
use crate::units::format_rough;

/// Stands in for a deadline too far away for the clock.
const FAR_AWAY: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);

#[derive(Clone, Copy, Debug)]
enum Drain {
    Running { deadline: Instant },
    Done { cut: bool },
}

/// The health of one backend.
///
/// Every method that changes it returns whether its [`Standing`] is now another than after the call
/// before. When several things keep a backend out, the standing tells of the operator's drain first,
/// then of an ejection, then of checks.
///
/// A backend that comes into service slow-starts, unless it is there when the node starts: a whole
/// pool at a tenth of its share helps nobody.
#[derive(Clone, Debug)]
pub struct BackendHealth {
    config: Arc<HealthConfig>,
    checks: Checks,
    ejections: Ejections,
    drain: Option<Drain>,
    in_service_since: Option<Instant>,
    /// Has taken work since it was last out; one that only drains still is.
    warm: bool,
    told: Standing,
}

impl BackendHealth {
    /// A backend that is there when the node starts: trusted until its checks fail.
    pub fn at_node_start(config: Arc<HealthConfig>) -> Self {
        Self {
            config,
            checks: Checks::new(Verdict::Passing),
            ejections: Ejections::default(),
            drain: None,
            in_service_since: None,
            warm: true,
            told: Standing::In,
        }
    }

    /// A backend added at `now` to a running node: pending until its first good check when there
    /// are active checks, in slow start otherwise.
    pub fn added(config: Arc<HealthConfig>, now: Instant) -> Self {
        let mut health = Self::at_node_start(config);
        if health.config.check.is_some() {
            health.checks = Checks::new(Verdict::Pending);
            health.warm = false;
        } else {
            health.in_service_since = Some(now);
        }
        health.told = health.standing(now);
        health
    }

    /// The configuration it is judged by.
    pub fn config(&self) -> &Arc<HealthConfig> {
        &self.config
    }

    /// Judges by `config` from now on. Without active checks their verdict is dropped.
    pub fn configure(&mut self, now: Instant, config: Arc<HealthConfig>) -> bool {
        if config.check.is_none() {
            self.checks = Checks::new(Verdict::Passing);
        }
        self.config = config;
        self.settle(now)
    }

    /// An active check ended; `detail` says why it failed. Ignored without active checks.
    ///
    /// A good check ends a passive ejection whose time is out, and an earlier one only if
    /// [`super::EjectionConfig::good_check_restores`] says so.
    pub fn probed(&mut self, now: Instant, ok: bool, detail: &str) -> bool {
        if self.config.check.is_none() {
            return self.settle(now);
        }
        if ok {
            self.checks.good(self.config.rise);
            self.ejections.end_if_over(now);
            let passive = self.ejections.current().is_some_and(|e| !e.by_hand);
            if passive && self.config.ejection.good_check_restores {
                self.ejections.end(now);
            }
        } else {
            self.checks.failed(self.config.fall, detail);
        }
        self.settle(now)
    }

    /// Takes note of the failures in a row that traffic has seen; call it at each tick, also while
    /// the backend is out. Returns whether it wants to be ejected: the caller asks
    /// [`super::may_eject`] and then calls [`Self::eject`].
    ///
    /// Failures from before its last return to service do not count.
    pub fn failure_run(&mut self, now: Instant, run: u32) -> bool {
        self.ejections.observe(&self.config.ejection, run) && self.standing(now).takes_work()
    }

    /// Ejects it for its failures, longer each time. Nothing happens when it takes no work anyway.
    pub fn eject(&mut self, now: Instant) -> bool {
        if self.standing(now).takes_work() {
            self.ejections.eject(&self.config.ejection, now);
        }
        self.settle(now)
    }

    /// The operator ejects it, for `duration` or until [`Self::restore`].
    pub fn eject_by_hand(&mut self, now: Instant, duration: Option<Duration>) -> bool {
        self.ejections.eject_by_hand(now, duration);
        self.settle(now)
    }

    /// The operator ends its ejection, of either kind. Failing checks and a drain stay.
    pub fn restore(&mut self, now: Instant) -> bool {
        self.ejections.end(now);
        self.settle(now)
    }

    /// The operator takes it out of service; what it has in flight may run for `deadline`. A drain
    /// that runs already gets the new deadline, one that is done stays done.
    pub fn drain(&mut self, now: Instant, deadline: Duration) -> bool {
        if !matches!(self.drain, Some(Drain::Done { .. })) {
            let deadline = now
                .checked_add(deadline)
                .or_else(|| now.checked_add(FAR_AWAY))
                .unwrap_or(now);
            self.drain = Some(Drain::Running { deadline });
        }
        self.settle(now)
    }

    /// The operator ends a drain, done or not. It slow-starts unless it was still warm.
    pub fn undrain(&mut self, now: Instant) -> bool {
        self.drain = None;
        self.settle(now)
    }

    /// Lets time pass: ejections run out, drains finish when nothing is `in_flight` or at their
    /// deadline, slow start ramps up.
    pub fn tick(&mut self, now: Instant, in_flight: u64) -> bool {
        self.ejections.end_if_over(now);
        if let Some(Drain::Running { deadline }) = self.drain {
            if in_flight == 0 {
                self.drain = Some(Drain::Done { cut: false });
            } else if now >= deadline {
                self.drain = Some(Drain::Done { cut: true });
            }
        }
        self.settle(now)
    }

    /// Where it stands. Only the slow start share moves with `now`; all else moves in
    /// [`Self::tick`] and the other methods.
    pub fn standing(&self, now: Instant) -> Standing {
        match self.drain {
            Some(Drain::Running { deadline }) => return Standing::Draining { deadline },
            Some(Drain::Done { cut }) => return Standing::Drained { cut },
            None => {}
        }
        if let Some(Ejection { until, by_hand, .. }) = self.ejections.current() {
            return Standing::Ejected { until, by_hand };
        }
        match (self.checks.verdict(), self.share_permille(now)) {
            (Verdict::Pending, _) => Standing::Pending,
            (Verdict::Failing, _) => Standing::Unhealthy,
            (Verdict::Passing, FULL_PERMILLE) => Standing::In,
            (Verdict::Passing, share_permille) => Standing::SlowStart { share_permille },
        }
    }

    /// Why it stands where it stands, for people.
    pub fn reason(&self, now: Instant) -> String {
        match self.standing(now) {
            Standing::In => "in service".to_owned(),
            Standing::SlowStart { share_permille } => {
                format!("slow start at {} %", share_permille / 10)
            }
            Standing::Pending => self.checks.pending_reason(),
            Standing::Unhealthy => self.checks.failing_reason(self.config.rise),
            Standing::Ejected { until, .. } => {
                let cause = self.ejections.current().map_or_else(String::new, cause);
                match until {
                    Some(until) => format!("{cause}, back in {}", time_left(now, until)),
                    None => cause,
                }
            }
            Standing::Draining { deadline } => {
                format!("draining by operator, cut in {}", time_left(now, deadline))
            }
            Standing::Drained { cut: false } => "drained by operator".to_owned(),
            Standing::Drained { cut: true } => {
                "drained by operator, cut at its deadline".to_owned()
            }
        }
    }

    fn share_permille(&self, now: Instant) -> u32 {
        self.in_service_since.map_or(FULL_PERMILLE, |since| {
            let age = now.saturating_duration_since(since);
            self.config.slow_start.share_permille(age)
        })
    }

    /// Starts the ramp if the backend has just come into service, and says whether it stands
    /// elsewhere than it was last told.
    fn settle(&mut self, now: Instant) -> bool {
        if !self.warm && self.standing(now).takes_work() {
            self.in_service_since = Some(now);
        }
        if self.share_permille(now) == FULL_PERMILLE {
            self.in_service_since = None;
        }
        let standing = self.standing(now);
        let draining = matches!(standing, Standing::Draining { .. });
        self.warm = standing.takes_work() || (self.warm && draining);
        std::mem::replace(&mut self.told, standing) != standing
    }
}

fn cause(ejection: Ejection) -> String {
    match ejection {
        Ejection { by_hand: true, .. } => "ejected by operator".to_owned(),
        Ejection { run: 1, .. } => "1 failure".to_owned(),
        Ejection { run, .. } => format!("{run} failures in a row"),
    }
}

/// From `now` to `then`, in whole seconds, rounded up so that nothing is due "in 0s" before it is.
fn time_left(now: Instant, then: Instant) -> String {
    let left = then.saturating_duration_since(now);
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    format_rough(Duration::from_secs(seconds))
}
