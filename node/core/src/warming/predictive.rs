//! What is refreshed before it expires, because it is asked for often.

use super::Counted;

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
}

impl PredictiveRules {
    /// Whether it is to be refreshed now.
    pub fn refresh_now(&self, entry: &Observed) -> bool {
        panic!("not written yet: {entry:?}")
    }
}
