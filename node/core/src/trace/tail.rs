//! Which requests are worth telling once they are over, though nobody sampled them.

use std::time::Duration;

use super::sampler::Sampler;

/// What decides whether a request is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// The share that is sampled as it begins.
    pub head: Sampler,
    /// Some routes have shares of their own.
    pub has_routes: bool,
    /// Requests that took longer are slow; none is when absent.
    pub slow: Option<Duration>,
    /// Failed and slow requests that are told within a second on each core, beside sampled ones; 0: none.
    pub tail_per_second_max: u32,
}

impl Sampling {
    /// Only what is sampled as it begins.
    pub fn head_only(head: Sampler) -> Self {
        Self {
            head,
            has_routes: false,
            slow: None,
            tail_per_second_max: 0,
        }
    }

    /// Whether something may be told that is not sampled as it begins.
    pub fn looks_back(&self) -> bool {
        self.has_routes || self.tail_per_second_max > 0
    }

    /// Why a request is told that ended so; `None` if it is not.
    pub fn worth(&self, ended: Ended) -> Option<Worth> {
        match ended {
            Ended { sampled: true, .. } => Some(Worth::Sampled),
            _ if self.tail_per_second_max == 0 => None,
            Ended { failed: true, .. } => Some(Worth::Failed),
            Ended { took, .. } => self.slow.filter(|slow| took > *slow).map(|_| Worth::Slow),
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// It was sampled as it began.
    pub sampled: bool,
    /// The node or a backend failed it; what a client did wrong is no failure.
    pub failed: bool,
    /// How long it took.
    pub took: Duration,
}

/// Why a request is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// It was sampled as it began.
    Sampled,
    /// It failed.
    Failed,
    /// It was slow.
    Slow,
}

impl Worth {
    /// As spans name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sampled => "sampled",
            Self::Failed => "failed",
            Self::Slow => "slow",
        }
    }
}

/// Counts what is told within a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct TailBudget {
    second: u64,
    told: u32,
}

impl TailBudget {
    /// One more in this second (of any clock that does not go back), if it may be.
    pub fn take(&mut self, second: u64, per_second_max: u32) -> bool {
        if self.second != second {
            *self = Self { second, told: 0 };
        }
        let may = self.told < per_second_max;
        self.told += u32::from(may);
        may
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn sampling(per_second: u32) -> Sampling {
        Sampling {
            slow: Some(Duration::from_secs(1)),
            tail_per_second_max: per_second,
            ..Sampling::head_only(Sampler::new(0.0).unwrap())
        }
    }

    fn ended(sampled: bool, failed: bool, ms: u64) -> Ended {
        Ended {
            sampled,
            failed,
            took: Duration::from_millis(ms),
        }
    }

    #[test]
    fn what_failed_or_was_slow_is_told_though_nobody_sampled_it() {
        let sampling = sampling(1);
        assert_eq!(sampling.worth(ended(false, false, 1_000)), None);
        assert_eq!(
            sampling.worth(ended(false, false, 1_001)),
            Some(Worth::Slow)
        );
        assert_eq!(sampling.worth(ended(false, true, 0)), Some(Worth::Failed));
        assert_eq!(sampling.worth(ended(true, true, 0)), Some(Worth::Sampled));
    }

    #[test]
    fn without_a_budget_only_what_was_sampled_is_told() {
        let sampling = sampling(0);
        assert_eq!(sampling.worth(ended(false, true, 9_000)), None);
        assert_eq!(sampling.worth(ended(true, false, 0)), Some(Worth::Sampled));
        assert!(!sampling.looks_back());
    }

    #[test]
    fn a_flood_of_failures_is_told_up_to_its_budget_and_again_in_the_next_second() {
        let mut budget = TailBudget::default();
        let told =
            |budget: &mut TailBudget, second| (0..10).filter(|_| budget.take(second, 3)).count();
        assert_eq!(told(&mut budget, 5), 3);
        assert_eq!(told(&mut budget, 6), 3);
        assert!(!TailBudget::default().take(0, 0));
    }
}
