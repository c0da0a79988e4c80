//! Parts of a stored body, taken from it as the client takes them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_TYPE, HeaderMap};
use weir_cache::{Broken, Budget, Entry, EntryReader, PIECE_BYTES_MAX};
use weir_core::cache::range::Multipart;
use weir_core::content_coding::Coding;

/// What is sent of a stored body, step by step.
pub(super) struct Parts {
    reader: EntryReader,
    steps: std::vec::IntoIter<Step>,
    bytes: u64,
}

/// Bytes that are sent at once.
enum Step {
    /// What stands between parts.
    Between(Bytes),
    /// Of one piece of the body.
    Body(usize, Range<usize>),
    /// Of the body in a coding.
    Coded(Coding, Range<usize>),
}

impl Step {
    fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Between(text) => text.len(),
            Self::Body(_, bytes) | Self::Coded(_, bytes) => bytes.len(),
        };
        bytes as u64
    }
}

impl Parts {
    /// One part.
    pub(super) fn single(entry: Arc<Entry>, bytes: &Range<u64>, budget: &Budget) -> Self {
        Self::of(slices(&entry, bytes).collect(), entry, budget)
    }

    /// Several, whose boundary `draw` makes; says so in `headers`.
    pub(super) fn multiple(
        entry: Arc<Entry>,
        ranges: &[Range<u64>],
        draw: u64,
        headers: &mut HeaderMap,
        budget: &Budget,
    ) -> Self {
        let boundary = format!("{draw:016x}");
        let around = Multipart::new(&entry.stored, &boundary, entry.body_bytes);
        if let Ok(value) = HeaderValue::from_str(&around.content_type()) {
            headers.insert(CONTENT_TYPE, value);
        }
        let mut steps = Vec::new();
        for bytes in ranges {
            steps.push(Step::Between(Bytes::from(around.head(bytes))));
            steps.extend(slices(&entry, bytes));
        }
        steps.push(Step::Between(Bytes::from(around.end())));
        Self::of(steps, entry, budget)
    }

    /// All of a form in a coding, which is so long.
    pub(super) fn coded(entry: Arc<Entry>, coding: Coding, bytes: usize, budget: &Budget) -> Self {
        let steps = cut(0..bytes).map(|bytes| Step::Coded(coding, bytes));
        Self::of(steps.collect(), entry, budget)
    }

    fn of(steps: Vec<Step>, entry: Arc<Entry>, budget: &Budget) -> Self {
        Self {
            reader: EntryReader::new(entry, budget),
            bytes: steps.iter().map(Step::bytes).sum(),
            steps: steps.into_iter(),
        }
    }

    /// How long it is as a whole.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next bytes; `None` after the last ones.
    pub(super) fn next_piece(&mut self) -> Result<Option<Bytes>, Broken> {
        match self.steps.next() {
            None => Ok(None),
            Some(Step::Between(text)) => Ok(Some(text)),
            Some(Step::Body(piece, bytes)) => self.reader.slice(piece, bytes),
            Some(Step::Coded(coding, bytes)) => self.reader.coded(coding, bytes),
        }
    }
}

/// The steps that send these bytes of a stored body.
fn slices(entry: &Entry, bytes: &Range<u64>) -> impl Iterator<Item = Step> {
    let mut begin = 0;
    let pieces = entry
        .body
        .iter()
        .enumerate()
        .filter_map(move |(at, piece)| {
            let start = begin;
            begin += piece.len() as u64;
            let (from, to) = (bytes.start.max(start), bytes.end.min(begin));
            let offset = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
            (from < to).then(|| (at, offset(from)..offset(to)))
        });
    pieces.flat_map(|(at, bytes)| cut(bytes).map(move |bytes| Step::Body(at, bytes)))
}

/// Ranges of [`PIECE_BYTES_MAX`] at most that make up one.
fn cut(bytes: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let starts = bytes.clone().step_by(PIECE_BYTES_MAX);
    starts.map(move |from| from..bytes.end.min(from + PIECE_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_range_is_cut_into_pieces_that_make_it_up() {
        let all = 7..(2 * PIECE_BYTES_MAX + 8);
        let cuts: Vec<_> = cut(all.clone()).collect();
        assert_eq!(cuts.len(), 3);
        assert_eq!((cuts[0].start, cuts[2].end), (all.start, all.end));
        assert!(cuts.windows(2).all(|two| two[0].end == two[1].start));
        assert_eq!(cut(5..5).count(), 0);
    }
}
