//! Why a response is stored, reused or not, for people.

use super::policy::Policy;
use super::stored::Exchange;
use super::time::UnixMs;

/// One step of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was looked at, such as `cache-control: max-age`.
    pub what: &'static str,
    /// What was found, printable.
    pub found: String,
    /// What follows.
    pub effect: String,
}

/// The steps by which a response is judged, in order; the last is the verdict.
pub fn explain(exchange: &Exchange<'_>, policy: &Policy, now: UnixMs) -> Vec<Step> {
    let _ = (exchange, policy, now);
    Vec::new()
}
