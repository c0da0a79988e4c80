//! What is fetched before it is asked for: what is asked for often, and what a schedule says.
//!
//! One node warms a key, its owner.

mod asked;
mod cron;
mod cron_field;
mod expand;
mod hot;
mod hot_list;
mod predictive;
mod schedule;
mod space_saving;
#[cfg(test)]
mod tests;

pub use asked::{Asked, BadAsked, URL_BYTES_MAX};
pub use cron::{Cron, CronError, JITTER_MAX_MS};
pub use expand::{REQUESTS_MAX, TooManyRequests, count_requests, count_scheduled, requests};
pub use hot::HotKeys;
pub use hot_list::{DamagedList, LIST_BYTES_MAX, LIST_ENTRIES_MAX, read_hot_list, write_hot_list};
pub use predictive::{Observed, PredictiveRules};
pub use schedule::{BadSchedule, BadUrl, Schedule, Timetable, Wanted};
pub use space_saving::{COUNTED_KEYS, Counted, SpaceSaving};
