//! Where a subscriber is in all its topics, in one line: what a browser sends back by itself when it comes again.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{Position, TopicName};

/// Bytes of the longest line.
pub const POSITIONS_BYTES_MAX: usize = 4_096;
/// Stands at the end of a line that does not tell all topics.
const MORE: &str = "~";

/// Where a subscriber is in its topics. Of topics that it did not ask for by name, those that were quiet for longest
/// are left out when there are too many; the line says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    topics: BTreeMap<TopicName, At>,
    turn: u64,
    bytes: usize,
    is_partial: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At {
    position: Position,
    turn: u64,
    is_named: bool,
}

/// A text that tells no positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "expected <topic>@<epoch>-<offset>, several with commas between, for example engines.up@9f3c-17"
)]
pub struct PositionsError;

impl Positions {
    /// Notes where a topic is that was asked for by name; whether there is room for it.
    pub fn name(&mut self, topic: &TopicName, position: Position) -> bool {
        self.put(topic, position, true);
        self.bytes <= POSITIONS_BYTES_MAX
    }

    /// Notes where a topic is.
    pub fn set(&mut self, topic: &TopicName, position: Position) {
        let is_named = self.topics.get(topic).is_some_and(|at| at.is_named);
        self.put(topic, position, is_named);
        while self.bytes > POSITIONS_BYTES_MAX {
            let others = self.topics.iter().filter(|(_, at)| !at.is_named);
            let quietest = others.min_by_key(|(_, at)| at.turn);
            let Some(quietest) = quietest.map(|(topic, _)| topic.clone()) else {
                return;
            };
            self.forget(&quietest);
            self.is_partial = true;
        }
    }

    /// Where a topic is.
    pub fn get(&self, topic: &TopicName) -> Option<Position> {
        Some(self.topics.get(topic)?.position)
    }

    /// Every topic, and where it is.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicName, Position)> {
        self.topics.iter().map(|(topic, at)| (topic, at.position))
    }

    /// Whether there are topics of which it says nothing.
    pub const fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    fn put(&mut self, topic: &TopicName, position: Position, is_named: bool) {
        self.forget(topic);
        self.turn += 1;
        let turn = self.turn;
        self.bytes += bytes_of(topic);
        let at = At {
            position,
            turn,
            is_named,
        };
        self.topics.insert(topic.clone(), at);
    }

    fn forget(&mut self, topic: &TopicName) {
        if self.topics.remove(topic).is_some() {
            self.bytes -= bytes_of(topic);
        }
    }
}

/// Of a topic in the line, with the comma; the offset at its longest, so that what fits goes on fitting.
fn bytes_of(topic: &TopicName) -> usize {
    const AT_EPOCH_OFFSET_COMMA: usize = 1 + 16 + 1 + 20 + 1;
    topic.as_str().len() + AT_EPOCH_OFFSET_COMMA
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (topic, position)) in self.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            write!(f, "{comma}{topic}@{position}")?;
        }
        match (self.is_partial, self.topics.is_empty()) {
            (false, _) => Ok(()),
            (true, true) => f.write_str(MORE),
            (true, false) => write!(f, ",{MORE}"),
        }
    }
}

impl FromStr for Positions {
    type Err = PositionsError;

    fn from_str(text: &str) -> Result<Self, PositionsError> {
        let mut positions = Self::default();
        if text.len() > POSITIONS_BYTES_MAX {
            return Err(PositionsError);
        }
        for part in text.split(',').filter(|part| !part.is_empty()) {
            if part == MORE {
                positions.is_partial = true;
                continue;
            }
            let (topic, position) = part.rsplit_once('@').ok_or(PositionsError)?;
            let topic = TopicName::any(topic).map_err(|_| PositionsError)?;
            let position = position.parse().map_err(|_| PositionsError)?;
            positions.put(&topic, position, false);
        }
        Ok(positions)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Epoch;
    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName::any(name).unwrap()
    }

    fn at(offset: u64) -> Position {
        let epoch = Epoch(0x9f3c);
        Position { epoch, offset }
    }

    #[test]
    fn a_line_reads_back() {
        let mut positions = Positions::default();
        assert!(positions.name(&topic("a.b"), at(1)));
        positions.set(&topic("c"), at(7));
        positions.set(&topic("a.b"), at(2));
        assert_eq!(positions.to_string(), "a.b@9f3c-2,c@9f3c-7");
        let read: Positions = positions.to_string().parse().unwrap();
        assert_eq!(read.get(&topic("a.b")), Some(at(2)));
        assert_eq!(read.to_string(), positions.to_string());
        assert!("".parse::<Positions>().unwrap().is_empty());
        for bad in ["9f3c-1", "a@", "a@1", "a b@1-1", "@1-1", &"a".repeat(5_000)] {
            assert_eq!(bad.parse::<Positions>(), Err(PositionsError), "{bad}");
        }
    }

    #[test]
    fn too_many_topics_leave_the_quietest_out_and_never_one_with_a_name() {
        let mut positions = Positions::default();
        positions.name(&topic("named"), at(1));
        for n in 0..200 {
            positions.set(&topic(&format!("topic.{n}")), at(n));
        }
        let line = positions.to_string();
        assert!(line.len() <= POSITIONS_BYTES_MAX, "{}", line.len());
        assert!(
            line.ends_with(",~") && line.contains("named@9f3c-1"),
            "{line}"
        );
        assert!(line.contains("topic.199@") && !line.contains("topic.0@"));
        let read: Positions = line.parse().unwrap();
        assert!(read.is_partial());
    }

    #[test]
    fn names_that_do_not_fit_are_not_taken() {
        let mut positions = Positions::default();
        let long = |n: usize| topic(&format!("{}{n}", "a".repeat(240)));
        let fitting = (0..100).take_while(|n| positions.name(&long(*n), at(0)));
        assert_eq!(fitting.count(), POSITIONS_BYTES_MAX / 280);
    }
}
