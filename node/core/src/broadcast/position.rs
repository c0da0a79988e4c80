//! Where a subscriber is in a topic.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// One life of a topic: offsets compare only within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

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
