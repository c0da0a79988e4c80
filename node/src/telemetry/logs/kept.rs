//! The newest lines in memory, numbered, and how far the file is.

use std::collections::VecDeque;
use std::sync::Arc;

use super::capture::Line;
use crate::logs::rotate::Position;

/// Lines that are kept, and their bytes.
const LINES_MAX: usize = 4_096;
const BYTES_MAX: usize = 4 << 20;

/// The newest lines.
#[derive(Debug, Default)]
pub(super) struct Kept {
    lines: VecDeque<Arc<str>>,
    bytes: usize,
    /// The number of the last line.
    last: u64,
    /// Where the file ends with that line.
    position: Option<Position>,
}

impl Kept {
    /// Keeps lines that are in the file up to there; tells the number of the last.
    pub(super) fn put(&mut self, lines: Vec<Line>, position: Option<Position>) -> u64 {
        for line in lines {
            let line = line.into_text();
            self.bytes += line.len();
            self.lines.push_back(line);
            self.last += 1;
            while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
                let gone = self.lines.pop_front();
                self.bytes -= gone.map_or(self.bytes, |line| line.len());
            }
        }
        self.position = position;
        self.last
    }

    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    pub(super) const fn position(&self) -> Option<Position> {
        self.position
    }

    /// The newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &Arc<str>> {
        self.lines.iter().rev()
    }

    /// Whether lines are gone that were here.
    pub(super) fn forgot(&self) -> bool {
        self.last > self.lines.len() as u64
    }

    /// Lines after that number, and how many of these are gone.
    pub(super) fn after(&self, number: u64) -> (Vec<Arc<str>>, u64) {
        let wanted = self.last.saturating_sub(number);
        let here = usize::try_from(wanted)
            .unwrap_or(usize::MAX)
            .min(self.lines.len());
        let lines = self.lines.iter().skip(self.lines.len() - here).cloned();
        (lines.collect(), wanted - here as u64)
    }
}
