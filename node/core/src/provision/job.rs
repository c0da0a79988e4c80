//! When a job is tried again, and how long a claim allows to act.
//!
//! Delays have a little jitter only: [`crate::backoff`] draws from zero on, and a job that failed for reasons that take
//! time should not come back at once.

use std::time::{Duration, Instant};

/// Side effects must not begin so shortly before the claim may be somebody else's.
const CLAIM_MARGIN: Duration = Duration::from_secs(2);
/// Most that a delay differs from what it would be, either way.
const JITTER: f64 = 0.1;

/// How often a job is tried, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRules {
    /// Attempts that may fail; the last one makes the job dead. 0 counts as 1.
    pub attempts_max: u32,
    /// Wait after the first failed attempt; doubles with each further one.
    pub retry_delay: Duration,
    /// Longest wait, before jitter.
    pub retry_delay_max: Duration,
    /// After so long an attempt is asked to end.
    pub soft_limit: Duration,
    /// After so long an attempt is cut, and counts as failed.
    pub hard_limit: Duration,
}

impl Default for JobRules {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            retry_delay: Duration::from_secs(60),
            retry_delay_max: Duration::from_secs(600),
            soft_limit: Duration::from_secs(270),
            hard_limit: Duration::from_secs(300),
        }
    }
}

/// How an attempt ended that did not complete its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// It failed, and may work another time.
    Failed,
    /// It will never work.
    Hopeless,
    /// It was refused before anything was done; with the time that this takes at least, if that is known.
    Refused(Option<Duration>),
}

/// What becomes of a job after an attempt that did not complete it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is tried again.
    Retry {
        /// Not before this Unix time.
        not_before: Duration,
        /// Whether the attempt counts against [`JobRules::attempts_max`].
        counts: bool,
    },
    /// It is kept to be looked at, and not tried again by itself.
    Dead,
}

/// How far an attempt is with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// It has time.
    InTime,
    /// It is asked to end.
    SoftLimit,
    /// It is cut.
    HardLimit,
}

impl JobRules {
    /// The wait after this attempt, the first being 1. `random` is from 0 to 1 and decides the jitter: -10 % to +10 %.
    pub fn retry_delay(&self, attempt: u32, random: f64) -> Duration {
        let doublings = attempt.saturating_sub(1);
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let delay = self.retry_delay.saturating_mul(factor);
        let delay = delay.min(self.retry_delay_max);
        let jitter = JITTER * (random.clamp(0.0, 1.0) * 2.0 - 1.0);
        Duration::try_from_secs_f64(delay.as_secs_f64() * (1.0 + jitter)).unwrap_or(delay)
    }

    /// What becomes of the job. `attempt` is the one that ended, the first being 1; `now` is Unix time.
    pub fn verdict(&self, attempt: u32, end: AttemptEnd, random: f64, now: Duration) -> Verdict {
        let counts = end == AttemptEnd::Failed;
        let wait = match end {
            AttemptEnd::Hopeless => return Verdict::Dead,
            AttemptEnd::Failed if attempt >= self.attempts_max => return Verdict::Dead,
            AttemptEnd::Failed => self.retry_delay(attempt, random),
            AttemptEnd::Refused(eta) => {
                let usual = self.retry_delay(1, random);
                eta.map_or(usual, |eta| usual.max(eta))
            }
        };
        Verdict::Retry {
            not_before: now.saturating_add(wait),
            counts,
        }
    }

    /// How far an attempt is that began at `since`.
    pub fn pace(&self, since: Instant, now: Instant) -> Pace {
        let taken = now.saturating_duration_since(since);
        match taken {
            _ if taken >= self.hard_limit => Pace::HardLimit,
            _ if taken >= self.soft_limit => Pace::SoftLimit,
            _ => Pace::InTime,
        }
    }
}

/// Until when a claim allows to begin side effects: two seconds less than its time to live. `sent_at` is when the last
/// keep-alive that was answered well, or the claim itself, was *sent*. `None` when it never does.
pub fn may_begin_until(sent_at: Instant, claim_ttl: Duration) -> Option<Instant> {
    let usable = claim_ttl.checked_sub(CLAIM_MARGIN)?;
    sent_at.checked_add(usable)
}

/// Whether a claim allows to begin side effects now; see [`may_begin_until`].
pub fn may_begin(sent_at: Instant, claim_ttl: Duration, now: Instant) -> bool {
    may_begin_until(sent_at, claim_ttl).is_some_and(|until| now < until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn delays_double_up_to_their_maximum() {
        let rules = JobRules::default();
        let delays: Vec<u64> = (1..=6)
            .map(|attempt| rules.retry_delay(attempt, 0.5).as_secs())
            .collect();
        assert_eq!(delays, [60, 120, 240, 480, 600, 600]);
        assert_eq!(rules.retry_delay(u32::MAX, 0.5), seconds(600));
        assert_eq!(rules.retry_delay(0, 0.5), seconds(60));
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let rules = JobRules::default();
        assert_eq!(rules.retry_delay(1, 0.0), seconds(54));
        assert_eq!(rules.retry_delay(1, 1.0), seconds(66));
        assert_eq!(rules.retry_delay(1, 99.0), seconds(66));
        let endless = JobRules {
            retry_delay: Duration::MAX,
            retry_delay_max: Duration::MAX,
            ..rules
        };
        assert_eq!(endless.retry_delay(9, 1.0), Duration::MAX);
    }

    #[test]
    fn the_last_failed_attempt_makes_a_job_dead() {
        let rules = JobRules::default();
        let verdict = |attempt| rules.verdict(attempt, AttemptEnd::Failed, 0.5, seconds(1_000));
        let retry = |at| Verdict::Retry {
            not_before: seconds(at),
            counts: true,
        };
        let verdicts = [1, 2, 3, 4].map(verdict);
        assert_eq!(
            verdicts,
            [retry(1_060), retry(1_120), Verdict::Dead, Verdict::Dead]
        );
        let hopeless = rules.verdict(1, AttemptEnd::Hopeless, 0.5, seconds(0));
        assert_eq!(hopeless, Verdict::Dead);
    }

    #[test]
    fn a_refusal_costs_no_attempt_and_waits_at_least_until_it_may_end() {
        let rules = JobRules::default();
        for (eta, at) in [(None, 60), (Some(10), 60), (Some(290), 290)] {
            let end = AttemptEnd::Refused(eta.map(seconds));
            let expected = Verdict::Retry {
                not_before: seconds(at),
                counts: false,
            };
            assert_eq!(rules.verdict(99, end, 0.5, Duration::ZERO), expected);
        }
    }

    #[test]
    fn an_attempt_is_asked_to_end_before_it_is_cut() {
        let (rules, since) = (JobRules::default(), Instant::now());
        let pace = |at| rules.pace(since, since + seconds(at));
        assert_eq!([pace(0), pace(269)], [Pace::InTime; 2]);
        assert_eq!([pace(270), pace(299)], [Pace::SoftLimit; 2]);
        assert_eq!(pace(300), Pace::HardLimit);
    }

    #[test]
    fn nothing_begins_in_the_last_two_seconds_of_a_claim() {
        let (sent_at, ttl) = (Instant::now(), seconds(10));
        assert!(may_begin(sent_at, ttl, sent_at));
        let last = sent_at + Duration::from_millis(7_999);
        assert!(may_begin(sent_at, ttl, last));
        assert!(!may_begin(sent_at, ttl, sent_at + seconds(8)));
        assert!(!may_begin(sent_at, seconds(2), sent_at));
        assert_eq!(may_begin_until(sent_at, seconds(1)), None);
    }
}
