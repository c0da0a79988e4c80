//! What a subscriber who was away gets.

use super::{Epoch, Position};

/// What may still be read of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The topic's life.
    pub epoch: Epoch,
    /// The last offset that is gone: everything after it is there, or was replaced by newer messages.
    pub floor: u64,
    /// The last offset.
    pub last: u64,
}

/// What follows the position that somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Everything after it.
    Complete,
    /// `from..=to` is gone; everything after that.
    Gap {
        /// The first offset that is missing.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// The position means nothing here: it is of an earlier life of the topic.
    Restarted,
    /// The position is later than anything here. Where the topic is numbered, that is a future that did not come; a
    /// copy may only be late.
    Ahead,
}

/// What follows `position`, all of it or told as missing.
pub fn resume(position: Position, window: Window) -> Resume {
    if (position.epoch, position.offset) > (window.epoch, window.last) {
        return Resume::Ahead;
    }
    if position.epoch != window.epoch {
        return Resume::Restarted;
    }
    if position.offset < window.floor {
        return Resume::Gap {
            from: position.offset + 1,
            to: window.floor,
        };
    }
    Resume::Complete
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_told_and_nothing_is_made_up() {
        let window = Window {
            epoch: Epoch(1),
            floor: 5,
            last: 9,
        };
        for (epoch, offset, expected) in [
            (1, 9, Resume::Complete),
            (1, 5, Resume::Complete),
            (1, 4, Resume::Gap { from: 5, to: 5 }),
            (1, 0, Resume::Gap { from: 1, to: 5 }),
            (1, 10, Resume::Ahead),
            (2, 7, Resume::Ahead),
            (0, 10, Resume::Restarted),
        ] {
            let position = Position {
                epoch: Epoch(epoch),
                offset,
            };
            assert_eq!(resume(position, window), expected, "{position}");
        }
    }
}
