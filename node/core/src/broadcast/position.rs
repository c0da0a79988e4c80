//! Where a subscriber is in a topic.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use super::Refused;
use crate::cache::UnixMs;

/// One life of a topic: offsets compare only within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// How far an epoch of another node may be ahead of this node's clock. One that is further would be the last of its
/// topic: each one that follows has to be greater.
const EPOCH_AHEAD_MAX: Duration = Duration::from_secs(24 * 3_600);
/// The last offset that another node may tell.
const OFFSET_MAX: u64 = 1 << 62;
/// Bits of an epoch below its time.
const RANDOM_BITS: u32 = 22;

impl Epoch {
    /// One that begins now: greater than those that began before, on any node whose clock is right. Two nodes that
    /// begin one at once have two.
    pub const fn begun(now: UnixMs, random: u64) -> Self {
        let drawn = now.0.wrapping_shl(RANDOM_BITS) | (random & ((1 << RANDOM_BITS) - 1));
        match drawn {
            0 => Self(1),
            drawn => Self(drawn),
        }
    }

    /// One that ends this one, whatever the clocks say.
    pub const fn next(self, random: u64) -> Self {
        let step = 1 + (random & ((1 << RANDOM_BITS) - 1));
        Self(self.0.saturating_add(step))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// The last message that somebody has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// The topic's life.
    pub epoch: Epoch,
    /// The message's number in it, from 1; 0 is before all.
    pub offset: u64,
}

impl Position {
    /// Whether another node may tell of it: epochs and offsets beyond are mistakes, or meant to end a topic for good.
    ///
    /// # Errors
    ///
    /// What is beyond its bound.
    pub fn check_told(self, now: UnixMs) -> Result<(), Refused> {
        let begun = u128::from(self.epoch.0 >> RANDOM_BITS);
        let max = u128::from(now.0) + EPOCH_AHEAD_MAX.as_millis();
        for (field, value, max) in [
            ("epoch (ms since 1970) of another node", begun, max),
            (
                "offset of another node",
                u128::from(self.offset),
                u128::from(OFFSET_MAX),
            ),
        ] {
            if value > max {
                let min = 0;
                return Err(Refused::OutOfRange {
                    field,
                    value,
                    min,
                    max,
                });
            }
        }
        Ok(())
    }
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected <epoch>-<offset>, a hexadecimal and a decimal number, for example 9f3c-17")]
pub struct PositionError;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (epoch, offset) = text.split_once('-').ok_or(PositionError)?;
        // What `parse` takes besides, such as a sign, is not what anybody was told.
        let digits = |text: &str, radix| text.chars().all(|c| c.is_digit(radix));
        if !digits(epoch, 16) || !digits(offset, 10) {
            return Err(PositionError);
        }
        Ok(Self {
            epoch: Epoch(u64::from_str_radix(epoch, 16).map_err(|_| PositionError)?),
            offset: offset.parse().map_err(|_| PositionError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_greater_than_those_before_it() {
        let first = Epoch::begun(UnixMs(1_790_000_000_000), u64::MAX);
        assert!(Epoch::begun(UnixMs(1_790_000_000_001), 0) > first);
        assert!(first.next(0) > first && first.next(u64::MAX) > first.next(0));
        assert_eq!(Epoch::begun(UnixMs(0), 0), Epoch(1));
    }

    #[test]
    fn an_epoch_that_would_be_the_last_is_not_believed() {
        let now = UnixMs(1_790_000_000_000);
        let day = 24 * 3_600_000;
        for (epoch, offset, is_sound) in [
            (Epoch::begun(UnixMs(now.0 + day), u64::MAX), 1, true),
            (Epoch::begun(UnixMs(now.0 + day + 1), 0), 1, false),
            (Epoch(u64::MAX), 1, false),
            (Epoch::begun(now, 0), u64::MAX, false),
            (Epoch(0), 0, true),
        ] {
            let position = Position { epoch, offset };
            assert_eq!(position.check_told(now).is_ok(), is_sound, "{position}");
        }
    }

    #[test]
    fn a_position_reads_back_and_nothing_else_reads() {
        for (epoch, offset) in [(0, 0), (0x9f3c, 17), (u64::MAX, u64::MAX)] {
            let position = Position {
                epoch: Epoch(epoch),
                offset,
            };
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for text in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "+1-1",
            "1-+1",
            "g-1",
            "1-1-1",
            "1 -1",
            "10000000000000000-1",
        ] {
            assert_eq!(text.parse::<Position>(), Err(PositionError), "{text}");
        }
    }
}
