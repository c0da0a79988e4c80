//! All bounds, and refusals that name them.

use thiserror::Error;

use super::{BatchLimits, HistoryLimits, OutboxLimits};

/// Why something is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// More bytes than a text or a message may have.
    #[error("{field} has {bytes} bytes, more than {max}")]
    TooLong {
        /// Of what.
        field: &'static str,
        /// That it has.
        bytes: usize,
        /// That it may have.
        max: usize,
    },
    /// A character that is not allowed.
    #[error("{field} holds {found:?}; allowed are letters, digits and _ . : - /")]
    Character {
        /// In what.
        field: &'static str,
        /// The first one.
        found: char,
    },
    /// Two points without anything between, or a point at an end.
    #[error("{field} {value:?} has an empty segment")]
    EmptySegment {
        /// Of what.
        field: &'static str,
        /// All of it.
        value: String,
    },
    /// A topic that only the node itself publishes to.
    #[error("{field} {value:?} is one of the node's own")]
    Reserved {
        /// In what.
        field: &'static str,
        /// The topic.
        value: String,
    },
    /// A pattern without wildcards, or with some where none may be.
    #[error(
        "pattern {value:?} has no whole segment * and no > at its end, or a part of a segment is one"
    )]
    Wildcards {
        /// The pattern.
        value: String,
    },
    /// A bound of what may be there at once.
    #[error("{field} would be {value}, more than {max}")]
    TooMany {
        /// Of what.
        field: &'static str,
        /// How many there would be.
        value: usize,
        /// How many there may be.
        max: usize,
    },
    /// A bound of what may wait just now; there is room again when less waits.
    #[error("{field} would be {value}, more than {max}; try again")]
    Full {
        /// Of what.
        field: &'static str,
        /// How many there would be.
        value: usize,
        /// How many there may be.
        max: usize,
    },
    /// A limit that does not do.
    #[error("{field} is {value}, and has to be from {min} to {max}")]
    OutOfRange {
        /// The limit.
        field: &'static str,
        /// What it would be.
        value: u128,
        /// The least that does.
        min: u128,
        /// The most that does.
        max: u128,
    },
    /// Bytes that are not what the publisher says.
    #[error("data is not {expected}")]
    Content {
        /// What they should be.
        expected: &'static str,
    },
    /// A message of a class that does not take this.
    #[error("{field} does not go with class {class}")]
    Class {
        /// What.
        field: &'static str,
        /// The class.
        class: &'static str,
    },
}

/// All bounds of a node's messages. They may change at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message.
    pub message_bytes_max: usize,
    /// Bytes of the key of a message, and of the key that makes publishing it twice harmless.
    pub key_bytes_max: usize,
    /// Topics of this node.
    pub topics_max: usize,
    /// Patterns of this node.
    pub patterns_max: usize,
    /// Topics that one connection asks for by name.
    pub connection_topics_max: usize,
    /// Patterns of one connection.
    pub connection_patterns_max: usize,
    /// Topics of one connection, those that its patterns take included.
    pub connection_matches_max: usize,
    /// What goes together.
    pub batch: BatchLimits,
    /// What is kept of each topic.
    pub history: HistoryLimits,
    /// What waits for one connection.
    pub outbox: OutboxLimits,
    /// Bytes of everything that is kept or waits, each counted once.
    pub retained_bytes_max: u64,
    /// Messages that wait for one thread.
    pub inbox_messages_max: usize,
    /// Bytes of them.
    pub inbox_bytes_max: usize,
    /// Bytes of the shortest frame that is compressed for connections that have agreed on that; 0 for none.
    pub deflate_bytes_min: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 1 << 20,
            key_bytes_max: 128,
            topics_max: 100_000,
            patterns_max: 16_384,
            connection_topics_max: 128,
            connection_patterns_max: 16,
            connection_matches_max: 10_000,
            batch: BatchLimits::default(),
            history: HistoryLimits::default(),
            outbox: OutboxLimits::default(),
            retained_bytes_max: 256 << 20,
            inbox_messages_max: 16_384,
            inbox_bytes_max: 64 << 20,
            deflate_bytes_min: 0,
        }
    }
}

impl Limits {
    /// Whether they do, each and together.
    ///
    /// # Errors
    ///
    /// The first limit that does not.
    pub fn check(&self) -> Result<(), Refused> {
        let usize_max: usize = 1 << 40;
        for (field, value, min, max) in [
            ("message_bytes_max", self.message_bytes_max, 1, 64 << 20),
            ("key_bytes_max", self.key_bytes_max, 1, 1 << 10),
            ("topics_max", self.topics_max, 1, 10_000_000),
            ("batch.messages_max", self.batch.messages_max, 1, 1_000),
            ("batch.bytes_max", self.batch.bytes_max, 1, 16 << 20),
            ("history.messages_max", self.history.messages_max, 0, 10_000),
            ("history.keys_max", self.history.keys_max, 0, 1_024),
            (
                "outbox.bytes_max",
                self.outbox.bytes_max,
                1 << 10,
                usize_max,
            ),
            ("inbox_messages_max", self.inbox_messages_max, 1, 1 << 20),
            (
                "inbox_bytes_max",
                self.inbox_bytes_max,
                self.message_bytes_max,
                usize_max,
            ),
        ] {
            in_range(field, value as u128, min as u128, max as u128)?;
        }
        let delay = self.batch.delay_max.as_millis();
        in_range("batch.delay_max (ms)", delay, 1, 60_000)?;
        let age = self.history.age_max.as_millis();
        in_range("history.age_max (ms)", age, 1, 86_400_000)?;
        let age = self.outbox.age_max.as_millis();
        in_range("outbox.age_max (ms)", age, 100, 600_000)
    }
}

fn in_range(field: &'static str, value: u128, min: u128, max: u128) -> Result<(), Refused> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Refused::OutOfRange {
        field,
        value,
        min,
        max,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_limit_that_does_not_do_is_named_with_its_bounds() {
        let mut limits = Limits::default();
        assert_eq!(limits.check(), Ok(()));
        limits.batch.messages_max = 0;
        let why = limits.check().unwrap_err().to_string();
        assert_eq!(why, "batch.messages_max is 0, and has to be from 1 to 1000");
        limits.batch.messages_max = 1;
        limits.outbox.age_max = Duration::from_millis(1);
        let why = limits.check().unwrap_err().to_string();
        assert_eq!(
            why,
            "outbox.age_max (ms) is 1, and has to be from 100 to 600000"
        );
    }
}
