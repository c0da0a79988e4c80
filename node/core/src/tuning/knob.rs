//! What a knob is: its kind, bounds, default, and when a change takes effect.

use std::time::Duration;

use super::problem::{Code, Problem};
use super::value::{Ratio, Value};
use crate::units::{UnitError, format_bytes, format_duration, parse_bytes, parse_duration};

/// Bytes of one text, and texts of one list.
const TEXT_BYTES_MAX: usize = 1_024;
const TEXTS_MAX: usize = 64;

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApplyClass {
    /// At once.
    Hot,
    /// For connections opened from then on.
    NewConnections,
    /// After what it rules was drained and made anew.
    Drain,
    /// When the node starts again.
    Restart,
    /// By whoever runs the host; a node only compares.
    Host,
}

impl ApplyClass {
    /// As people read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::NewConnections => "new connections",
            Self::Drain => "drain",
            Self::Restart => "restart",
            Self::Host => "host",
        }
    }
}

/// The type of a knob's values, with their bounds, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A time.
    Duration(Duration, Duration),
    /// A time, or `off`.
    DurationOrOff(Duration, Duration),
    /// A size.
    Bytes(u64, u64),
    /// A number of things.
    Count(u64, u64),
    /// Percent.
    Percent(u32, u32),
    /// A share from 0 to 1.
    Ratio,
    /// `true` or `false`.
    Flag,
    /// One of these.
    Choice(&'static [&'static str]),
    /// Texts, separated by commas.
    Texts,
}

/// A default, as it can be declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Literal {
    /// `off`.
    Off,
    /// A time.
    Duration(Duration),
    /// A size.
    Bytes(u64),
    /// A number of things.
    Count(u64),
    /// Percent.
    Percent(u32),
    /// Parts of a million.
    Ppm(u32),
    /// On or off.
    Flag(bool),
    /// One of the knob's choices.
    Choice(&'static str),
    /// Texts.
    Texts(&'static [&'static str]),
}

/// One knob.
#[derive(Debug, PartialEq, Eq)]
pub struct Knob {
    /// Section and name, such as `balancer.drain_timeout`.
    pub path: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// Its value when no layer sets it.
    pub default: Literal,
    /// When a change takes effect.
    pub apply: ApplyClass,
    /// What it does, in one sentence.
    pub meaning: &'static str,
}

impl Knob {
    /// The part before the dot.
    pub fn section(&self) -> &'static str {
        self.path.split('.').next().unwrap_or_default()
    }

    /// The part after the dot.
    pub fn name(&self) -> &'static str {
        self.path
            .split_once('.')
            .map_or(self.path, |(_, name)| name)
    }

    /// The longest time that it may be set to; `None` where it is no time.
    pub fn longest(&self) -> Option<Duration> {
        match self.kind {
            Kind::Duration(_, longest) | Kind::DurationOrOff(_, longest) => Some(longest),
            _ => None,
        }
    }

    /// Its value when no layer sets it.
    pub fn default_value(&self) -> Value {
        match self.default {
            Literal::Off => Value::Off,
            Literal::Duration(duration) => Value::Duration(duration),
            Literal::Bytes(bytes) => Value::Bytes(bytes),
            Literal::Count(count) => Value::Count(count),
            Literal::Percent(percent) => Value::Percent(percent),
            Literal::Ppm(ppm) => {
                Value::Ratio(Ratio::from_ppm(ppm).expect("declared shares are at most one"))
            }
            Literal::Flag(flag) => Value::Flag(flag),
            Literal::Choice(choice) => Value::Choice(choice.to_owned()),
            Literal::Texts(texts) => {
                Value::Texts(texts.iter().map(|text| (*text).to_owned()).collect())
            }
        }
    }

    /// What its values may be, for people.
    pub fn bound(&self) -> String {
        match self.kind {
            Kind::Duration(low, high) => {
                format!("{} to {}", format_duration(low), format_duration(high))
            }
            Kind::DurationOrOff(low, high) => {
                format!(
                    "{} to {}, or off",
                    format_duration(low),
                    format_duration(high)
                )
            }
            Kind::Bytes(low, high) => format!("{} to {}", format_bytes(low), format_bytes(high)),
            Kind::Count(low, high) => format!("{low} to {high}"),
            Kind::Percent(low, high) => format!("{low}% to {high}%"),
            Kind::Ratio => "0 to 1".to_owned(),
            Kind::Flag => "true or false".to_owned(),
            Kind::Choice(choices) => choices.join(", "),
            Kind::Texts => format!("at most {TEXTS_MAX} texts of {TEXT_BYTES_MAX} bytes"),
        }
    }

    /// Reads a value as people write it.
    ///
    /// # Errors
    /// What is wrong with it, with the bound.
    pub fn parse(&self, text: &str) -> Result<Value, Problem> {
        let text = text.trim();
        let value = self.parse_kind(text).map_err(|message| {
            Problem::new(self.path, Code::Type, message, shortened(text)).bounded(self.bound())
        })?;
        self.check(&value)?;
        Ok(value)
    }

    fn parse_kind(&self, text: &str) -> Result<Value, String> {
        let unit = |error: UnitError| error.to_string();
        match self.kind {
            Kind::DurationOrOff(..) if text == "off" => Ok(Value::Off),
            Kind::Duration(..) | Kind::DurationOrOff(..) => {
                parse_duration(text).map(Value::Duration).map_err(unit)
            }
            Kind::Bytes(..) => match text.parse() {
                Ok(bytes) => Ok(Value::Bytes(bytes)),
                Err(_) => parse_bytes(text).map(Value::Bytes).map_err(unit),
            },
            Kind::Count(..) => text
                .parse()
                .map(Value::Count)
                .map_err(|_| "is no whole number".to_owned()),
            Kind::Percent(..) => text
                .strip_suffix('%')
                .unwrap_or(text)
                .trim_end()
                .parse()
                .map(Value::Percent)
                .map_err(|_| "is no whole number of percent".to_owned()),
            Kind::Ratio => text
                .parse()
                .ok()
                .and_then(Ratio::from_f64)
                .map(Value::Ratio)
                .ok_or_else(|| "is no share".to_owned()),
            Kind::Flag => match text {
                "true" | "on" => Ok(Value::Flag(true)),
                "false" | "off" => Ok(Value::Flag(false)),
                _ => Err("is neither true nor false".to_owned()),
            },
            Kind::Choice(_) => Ok(Value::Choice(text.to_owned())),
            Kind::Texts => Ok(Value::Texts(
                text.split(',')
                    .map(|item| item.trim().to_owned())
                    .filter(|item| !item.is_empty())
                    .collect(),
            )),
        }
    }

    /// Checks that a value is of this knob's kind and within its bounds.
    ///
    /// # Errors
    /// What is wrong with it, with the bound.
    pub fn check(&self, value: &Value) -> Result<(), Problem> {
        let within = match (self.kind, value) {
            (Kind::DurationOrOff(..), Value::Off)
            | (Kind::Ratio, Value::Ratio(_))
            | (Kind::Flag, Value::Flag(_)) => true,
            (
                Kind::Duration(low, high) | Kind::DurationOrOff(low, high),
                Value::Duration(duration),
            ) => (low..=high).contains(duration),
            (Kind::Bytes(low, high), Value::Bytes(found))
            | (Kind::Count(low, high), Value::Count(found)) => (low..=high).contains(found),
            (Kind::Percent(low, high), Value::Percent(found)) => (low..=high).contains(found),
            (Kind::Choice(choices), Value::Choice(found)) => choices.contains(&found.as_str()),
            (Kind::Texts, Value::Texts(texts)) => {
                texts.len() <= TEXTS_MAX && texts.iter().all(|text| text.len() <= TEXT_BYTES_MAX)
            }
            _ => return Err(self.problem(Code::Type, "is of another type", value)),
        };
        match within {
            true => Ok(()),
            false => Err(self.problem(Code::Range, "is out of bounds", value)),
        }
    }

    fn problem(&self, code: Code, message: &str, value: &Value) -> Problem {
        Problem::new(self.path, code, message, shortened(&value.to_string())).bounded(self.bound())
    }

    /// The name of its kind.
    pub const fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Duration(..) => "duration",
            Kind::DurationOrOff(..) => "duration_or_off",
            Kind::Bytes(..) => "bytes",
            Kind::Count(..) => "count",
            Kind::Percent(..) => "percent",
            Kind::Ratio => "ratio",
            Kind::Flag => "flag",
            Kind::Choice(_) => "choice",
            Kind::Texts => "texts",
        }
    }
}

/// Enough of a value to know it again.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
