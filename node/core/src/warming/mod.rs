//! What is fetched before it is asked for: what is asked for often, and what a schedule says.
//!
//! One node warms a key, its owner. A window ends by [`SpaceSaving::reset`].

mod cron;
mod cron_field;
mod predictive;
mod space_saving;
#[cfg(test)]
mod tests;

pub use cron::{Cron, CronError, JITTER_MAX_MS};
pub use predictive::{Observed, PredictiveRules};
pub use space_saving::{COUNTED_KEYS, Counted, SpaceSaving};
