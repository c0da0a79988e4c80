//! One field of a cron expression.

use super::CronError;

/// What a field may hold.
pub(super) struct Bounds {
    pub(super) name: &'static str,
    pub(super) least: u32,
    pub(super) most: u32,
    /// Names of the values from `least` on.
    pub(super) names: &'static [&'static str],
}

pub(super) const MINUTE: Bounds = Bounds {
    name: "minute",
    least: 0,
    most: 59,
    names: &[],
};
pub(super) const HOUR: Bounds = Bounds {
    name: "hour",
    least: 0,
    most: 23,
    names: &[],
};
pub(super) const DAY: Bounds = Bounds {
    name: "day-of-month",
    least: 1,
    most: 31,
    names: &[],
};
pub(super) const MONTH: Bounds = Bounds {
    name: "month",
    least: 1,
    most: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
/// Sunday is 0 and 7.
pub(super) const WEEKDAY: Bounds = Bounds {
    name: "day-of-week",
    least: 0,
    most: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

/// The values of a field as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) bits: u64,
    /// Whether it begins with `*`: it restricts no day by itself.
    pub(super) is_any: bool,
}

impl Field {
    pub(super) fn has(self, value: u64) -> bool {
        self.bits & (1 << value) != 0
    }
}

impl Bounds {
    pub(super) fn parse(&self, text: &str) -> Result<Field, CronError> {
        let mut bits = 0;
        for part in text.split(',') {
            bits |= self.part(part)?;
        }
        Ok(Field {
            bits,
            is_any: text.starts_with('*'),
        })
    }

    fn part(&self, part: &str) -> Result<u64, CronError> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (part, None),
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (self.least, self.last()),
            (_, Some((from, to))) => (self.value(from)?, self.value(to)?),
            // A value with a step goes on to the end.
            (value, None) if step.is_some() => (self.value(value)?, self.last()),
            (value, None) => (self.value(value)?, self.value(value)?),
        };
        if from > to {
            return Err(self.wrong(
                range,
                "a range from the lower to the higher value".to_owned(),
            ));
        }
        let step = step.unwrap_or(1) as usize;
        Ok((from..=to)
            .step_by(step)
            .fold(0, |bits, value| bits | 1 << value))
    }

    /// The last one of `*`: Sunday is once in a week.
    fn last(&self) -> u32 {
        self.most.min(if self.least == 0 && self.most == 7 {
            6
        } else {
            self.most
        })
    }

    fn value(&self, text: &str) -> Result<u32, CronError> {
        let named = self
            .names
            .iter()
            .position(|name| text.eq_ignore_ascii_case(name));
        if let Some(at) = named {
            return Ok(self.least + at as u32);
        }
        number(text)
            .filter(|value| (self.least..=self.most).contains(value))
            .ok_or_else(|| self.wrong(text, self.bound()))
    }

    fn step(&self, text: &str) -> Result<u32, CronError> {
        let most = self.last();
        number(text)
            .filter(|step| (1..=most).contains(step))
            .ok_or_else(|| self.wrong(text, format!("a step from 1 to {most}")))
    }

    fn bound(&self) -> String {
        let numbers = format!("a number from {} to {}", self.least, self.most);
        match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!("{numbers} or a name from {first} to {last}"),
            _ => numbers,
        }
    }

    fn wrong(&self, value: &str, bound: String) -> CronError {
        CronError::Value {
            field: self.name,
            value: value.to_owned(),
            bound,
        }
    }
}

/// Digits only: `+5` is no cron.
fn number(text: &str) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}
