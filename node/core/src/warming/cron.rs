//! Schedules as cron tells them, in UTC.

use thiserror::Error;

/// The longest jitter, in milliseconds.
pub const JITTER_MAX_MS: u64 = 30_000;

/// What is wrong with a cron expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CronError {
    /// Not five fields.
    #[error(
        "cron {expression:?} has {found} fields, expected 5: minute hour day-of-month month day-of-week"
    )]
    Fields {
        /// The expression.
        expression: String,
        /// How many it has.
        found: usize,
    },
    /// A field with a value that it cannot have.
    #[error("cron field {field}: {value:?} is not {bound}")]
    Value {
        /// Which field.
        field: &'static str,
        /// The part that is wrong.
        value: String,
        /// What it may be.
        bound: String,
    },
    /// No such day, as the 30th of February.
    #[error("cron {expression:?} never comes: no month of it has such a day")]
    Never {
        /// The expression.
        expression: String,
    },
}

/// A cron expression of five fields: minute, hour, day of month, month, day of week (0 and 7 are Sunday), in UTC.
///
/// Each is `*`, a value, a range `a-b`, a step `*/n`, `a-b/n` or `a/n`, or a list of those; months and days of the week
/// also by their first three letters. If both days are restricted, either suffices, as in every cron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron {}

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// Names the field, the value and what it may be.
    pub fn parse(expression: &str) -> Result<Self, CronError> {
        panic!("not written yet: {expression}")
    }

    /// The first time after `unix_ms`, in milliseconds since 1970; none after the year 9999.
    pub fn next_after(&self, unix_ms: u64) -> Option<u64> {
        panic!("not written yet: {unix_ms}")
    }

    /// [`Self::next_after`], later by up to `jitter_max_ms` (at most [`JITTER_MAX_MS`]) as `random` says, so that nodes
    /// do not ask an origin all at once.
    pub fn next_with_jitter(&self, unix_ms: u64, jitter_max_ms: u64, random: u64) -> Option<u64> {
        panic!("not written yet: {unix_ms} {jitter_max_ms} {random}")
    }
}
