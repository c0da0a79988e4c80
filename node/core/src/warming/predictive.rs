//! What is refreshed before it expires, because it is asked for often.

use super::Counted;

/// How long a refresh may take at least and at most, in milliseconds.
const WITHIN_MS: (u64, u64) = (1_000, 30_000);

/// What makes an entry worth it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PredictiveRules {
    /// Requests within the window.
    pub requests_min: u64,
    /// What its fetch costs, in milliseconds.
    pub cost_min_ms: u64,
    /// After how much of its lifetime, in percent.
    pub refresh_at_percent: u8,
}

impl Default for PredictiveRules {
    fn default() -> Self {
        Self {
            requests_min: 10,
            cost_min_ms: 5,
            refresh_at_percent: 90,
        }
    }
}

/// What is known of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// How often it was asked for within the window.
    pub requests: Counted,
    /// How long its fetch took, in milliseconds.
    pub fetch_cost_ms: u64,
    /// How old it is, in milliseconds.
    pub age_ms: u64,
    /// For how long it is fresh, in milliseconds.
    pub ttl_ms: u64,
    /// When somebody looks again, in milliseconds from now.
    pub next_look_ms: u64,
}

impl Observed {
    /// How long a refresh that begins now may take, the wait for its turn included, in milliseconds: until what it
    /// refreshes is over, and one fetch more. After that whoever asks has it fetched.
    pub fn refresh_within_ms(&self) -> u64 {
        let left_ms = self.ttl_ms.saturating_sub(self.age_ms);
        let (least, most) = WITHIN_MS;
        left_ms
            .saturating_add(self.fetch_cost_ms)
            .clamp(least, most)
    }
}

impl PredictiveRules {
    /// Whether it is to be refreshed now: after most of its lifetime, or earlier if it would be too late by the next
    /// look, but not before half of it. Only requests that certainly came count; what is stale already is fetched by
    /// whoever asks for it.
    pub fn refresh_now(&self, entry: &Observed) -> bool {
        let due_ms = entry.ttl_ms / 100 * u64::from(self.refresh_at_percent)
            + entry.ttl_ms % 100 * u64::from(self.refresh_at_percent) / 100;
        let last_look_ms = entry.ttl_ms.saturating_sub(entry.next_look_ms);
        let due_ms = due_ms.min(last_look_ms.max(entry.ttl_ms / 2));
        entry.requests.at_least() >= self.requests_min
            && entry.fetch_cost_ms >= self.cost_min_ms
            && (due_ms..entry.ttl_ms).contains(&entry.age_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Observed {
        Observed {
            requests: Counted {
                count: 10,
                error: 0,
            },
            fetch_cost_ms: 5,
            age_ms: 900,
            ttl_ms: 1_000,
            next_look_ms: 0,
        }
    }

    fn refresh(entry: Observed) -> bool {
        PredictiveRules::default().refresh_now(&entry)
    }

    #[test]
    fn what_is_asked_for_often_and_costs_is_refreshed_before_it_expires() {
        assert!(refresh(entry()));
        assert!(refresh(Observed {
            age_ms: 999,
            ..entry()
        }));
    }

    #[test]
    fn what_is_rare_cheap_young_or_stale_is_not() {
        let requests = Counted { count: 9, error: 0 };
        assert!(!refresh(Observed {
            requests,
            ..entry()
        }));
        let requests = Counted {
            count: 50,
            error: 41,
        };
        assert!(!refresh(Observed {
            requests,
            ..entry()
        }));
        assert!(!refresh(Observed {
            fetch_cost_ms: 4,
            ..entry()
        }));
        assert!(!refresh(Observed {
            age_ms: 899,
            ..entry()
        }));
        assert!(!refresh(Observed {
            age_ms: 1_000,
            ..entry()
        }));
        assert!(!refresh(Observed {
            age_ms: 0,
            ttl_ms: 0,
            ..entry()
        }));
    }

    #[test]
    fn what_would_be_stale_by_the_next_look_is_refreshed_in_the_second_half_of_its_life() {
        let at = |age_ms, next_look_ms| {
            refresh(Observed {
                age_ms,
                next_look_ms,
                ..entry()
            })
        };
        assert!(at(700, 300) && !at(699, 300));
        assert!(at(500, 5_000) && !at(499, 5_000));
    }

    #[test]
    fn a_refresh_takes_no_longer_than_what_it_refreshes_and_one_fetch() {
        let within = |age_ms, fetch_cost_ms| {
            let observed = Observed {
                age_ms,
                fetch_cost_ms,
                ttl_ms: 100_000,
                ..entry()
            };
            observed.refresh_within_ms()
        };
        assert_eq!(within(90_000, 500), 10_500);
        assert_eq!(within(50_000, 500), 30_000);
        assert_eq!(within(99_999, 5), 1_000);
        assert_eq!(within(u64::MAX, u64::MAX), 30_000);
    }

    #[test]
    fn a_lifetime_without_end_overflows_nothing() {
        assert!(!refresh(Observed {
            ttl_ms: u64::MAX,
            ..entry()
        }));
    }
}
