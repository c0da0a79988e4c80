//! Schedules as cron tells them, in UTC.

use thiserror::Error;

use super::cron_field::{DAY, Field, HOUR, MINUTE, MONTH, WEEKDAY};
use crate::calendar::{DAY_MS, LAST_UNIX_MS, date};

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
/// also by their first three letters. If neither day begins with `*`, either suffices, as in every cron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;
/// The 29th of February on a given day of the week comes within 40 years, also around 2100, which has none.
const DAYS_SEARCHED: u64 = 40 * 366;

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// Names the field, the value and what it may be.
    pub fn parse(expression: &str) -> Result<Self, CronError> {
        let fields: Vec<&str> = expression.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(CronError::Fields {
                expression: expression.to_owned(),
                found: fields.len(),
            });
        };
        let mut weekday = WEEKDAY.parse(weekday)?;
        weekday.bits |= weekday.bits >> 7;
        let cron = Self {
            minute: MINUTE.parse(minute)?,
            hour: HOUR.parse(hour)?,
            day: DAY.parse(day)?,
            month: MONTH.parse(month)?,
            weekday,
        };
        match cron.next_after(0) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never {
                expression: expression.to_owned(),
            }),
        }
    }

    /// The first time after `unix_ms`, in milliseconds since 1970; none after the year 9999.
    pub fn next_after(&self, unix_ms: u64) -> Option<u64> {
        let from = (unix_ms / MINUTE_MS)
            .checked_add(1)?
            .checked_mul(MINUTE_MS)?;
        let today = from / DAY_MS;
        let first = self.time_of_day(from % DAY_MS).map(|time| (today, time));
        let first = first.filter(|_| self.has_day(today));
        let (day, time) = first.or_else(|| {
            let later = today + 1..=today + DAYS_SEARCHED;
            let day = later.into_iter().find(|day| self.has_day(*day))?;
            Some((day, self.time_of_day(0)?))
        })?;
        Some(day * DAY_MS + time).filter(|next| *next <= LAST_UNIX_MS)
    }

    /// [`Self::next_after`], later by up to `jitter_max_ms` (at most [`JITTER_MAX_MS`]) as `random` says, so that nodes
    /// do not ask an origin all at once.
    pub fn next_with_jitter(&self, unix_ms: u64, jitter_max_ms: u64, random: u64) -> Option<u64> {
        let jitter_ms = random % (jitter_max_ms.min(JITTER_MAX_MS) + 1);
        Some(self.next_after(unix_ms)? + jitter_ms)
    }

    fn has_day(&self, day: u64) -> bool {
        if day > LAST_UNIX_MS / DAY_MS {
            return false;
        }
        let (_, month, of_month) = date(day);
        // The first day of 1970 was a Thursday.
        let is_weekday = self.weekday.has((day + 4) % 7);
        let is_day = self.day.has(of_month);
        let is_either = match self.day.is_any || self.weekday.is_any {
            true => is_day && is_weekday,
            false => is_day || is_weekday,
        };
        self.month.has(month) && is_either
    }

    /// The first one of a day from a time on, in milliseconds of that day.
    fn time_of_day(&self, from_ms: u64) -> Option<u64> {
        let (from_hour, from_minute) = (from_ms / HOUR_MS, from_ms % HOUR_MS / MINUTE_MS);
        let mut hours = (from_hour..24).filter(|hour| self.hour.has(*hour));
        hours.find_map(|hour| {
            let first = match hour == from_hour {
                true => from_minute,
                false => 0,
            };
            let minute = (first..60).find(|minute| self.minute.has(*minute))?;
            Some(hour * HOUR_MS + minute * MINUTE_MS)
        })
    }
}
