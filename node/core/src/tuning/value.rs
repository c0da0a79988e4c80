//! Values of knobs, each with its unit in its type.

use std::fmt;
use std::time::Duration;

use crate::units::{format_bytes, format_duration};

/// A share from 0 to 1, exact to a millionth so that equal shares are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(u32);

impl Ratio {
    /// Parts of a million; `None` above one.
    pub const fn from_ppm(ppm: u32) -> Option<Self> {
        match ppm {
            0..=1_000_000 => Some(Self(ppm)),
            _ => None,
        }
    }

    /// The nearest share; `None` outside 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to a million"
    )]
    pub fn from_f64(share: f64) -> Option<Self> {
        (0.0..=1.0)
            .contains(&share)
            .then(|| Self((share * 1e6).round() as u32))
    }

    /// Parts of a million.
    pub const fn ppm(self) -> u32 {
        self.0
    }

    /// As a number from 0 to 1.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

/// The value of a knob.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// A duration that is switched off.
    Off,
    /// A time, in whole milliseconds.
    Duration(Duration),
    /// A size.
    Bytes(u64),
    /// A number of things.
    Count(u64),
    /// Percent; some knobs go beyond 100.
    Percent(u32),
    /// A share.
    Ratio(Ratio),
    /// On or off.
    Flag(bool),
    /// One of a closed list.
    Choice(String),
    /// Texts, in order.
    Texts(Vec<String>),
}

impl fmt::Display for Value {
    /// As people write it, and as [`super::Knob::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Duration(duration) => f.write_str(&format_duration(*duration)),
            Self::Bytes(bytes) => f.write_str(&format_bytes(*bytes)),
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Ratio(ratio) => write!(f, "{}", ratio.as_f64()),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Choice(choice) => f.write_str(choice),
            Self::Texts(texts) => f.write_str(&texts.join(", ")),
        }
    }
}
