//! As what a knob's value is read.

use std::time::Duration;

use weir_core::tuning::Value;

/// A type that a knob is read as.
pub(super) trait Tuned: Sized {
    fn of(value: &Value) -> Option<Self>;
}

impl Tuned for Duration {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Duration(duration) => Some(*duration),
            _ => None,
        }
    }
}

impl Tuned for Option<Duration> {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Off => Some(None),
            value => Duration::of(value).map(Some),
        }
    }
}

impl Tuned for u64 {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bytes(number) | Value::Count(number) => Some(*number),
            Value::Percent(percent) => Some(Self::from(*percent)),
            _ => None,
        }
    }
}

impl Tuned for u32 {
    fn of(value: &Value) -> Option<Self> {
        u64::of(value).and_then(|number| Self::try_from(number).ok())
    }
}

impl Tuned for usize {
    fn of(value: &Value) -> Option<Self> {
        u64::of(value).and_then(|number| Self::try_from(number).ok())
    }
}

impl Tuned for Vec<String> {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Texts(texts) => Some(texts.clone()),
            _ => None,
        }
    }
}

impl Tuned for bool {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        }
    }
}

impl Tuned for f64 {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Ratio(ratio) => Some(ratio.as_f64()),
            _ => None,
        }
    }
}

impl Tuned for String {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Choice(choice) => Some(choice.clone()),
            _ => None,
        }
    }
}
