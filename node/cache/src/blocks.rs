//! Memory of bodies that are kept.
//!
//! Bodies of all sizes come and go. Were each piece as long as it happened to come, what one body leaves would seldom
//! fit another, and the allocator would hold pages of a dozen sizes with holes in each. So bodies are in blocks of one
//! size, whose places any body takes, and only the last one of a body is as long as its bytes. What the allocator would
//! give for that beyond its bytes, up to a quarter of them, is saved where it is worth a piece more: the last block is
//! then in two or three pieces.

use bytes::{Bytes, BytesMut};

/// Bytes of a block. It is one of the allocator's sizes, and nine fill a page of 512 KiB that keeps 4 KiB for itself.
pub(crate) const BLOCK_BYTES: usize = 56 << 10;

/// Bytes that one part of a block takes beside its own.
pub(crate) const PART_BYTES: u64 = (size_of::<Bytes>() + SHARED_BYTES) as u64;
/// What the parts of a block share.
const SHARED_BYTES: usize = 48;

/// What one piece more has to save beside what it costs.
const SAVED_BYTES_LEAST: u64 = 256;

/// Sizes that the allocator has between a power of two and the next one.
const CLASSES: u32 = 4;
/// Smaller ones go by this.
const WORD_BYTES: usize = 8;
/// Larger ones are given by this.
const SLICE_BYTES: usize = 64 << 10;
/// The largest one of a class.
const CLASSED_BYTES_MAX: usize = 512 << 10;

/// What the allocator gives for so many bytes.
pub(crate) const fn given_bytes(bytes: usize) -> u64 {
    let given = if bytes > CLASSED_BYTES_MAX {
        bytes.next_multiple_of(SLICE_BYTES)
    } else {
        let words = bytes.div_ceil(WORD_BYTES);
        if words <= 2 * CLASSES as usize {
            words * WORD_BYTES
        } else {
            let step = 1 << ((words - 1).ilog2() - CLASSES.ilog2());
            words.next_multiple_of(step) * WORD_BYTES
        }
    };
    given as u64
}

/// The most that the allocator gives to the last byte for no more than so many.
const fn filled_bytes(bytes: usize) -> usize {
    let words = bytes / WORD_BYTES;
    if words <= 2 * CLASSES as usize {
        return words * WORD_BYTES;
    }
    let step = 1 << (words.ilog2() - CLASSES.ilog2());
    (words - words % step) * WORD_BYTES
}

/// Bytes of the next piece of a body that has so many left.
const fn piece_bytes(left: usize) -> usize {
    if left >= BLOCK_BYTES {
        return BLOCK_BYTES;
    }
    let filled = filled_bytes(left);
    let in_two = filled as u64 + given_bytes(left - filled) + PART_BYTES;
    if given_bytes(left) >= in_two + SAVED_BYTES_LEAST {
        filled
    } else {
        left
    }
}

/// Bytes of the pieces of a body.
fn pieces(body_bytes: usize) -> impl Iterator<Item = usize> {
    let mut left = body_bytes;
    std::iter::from_fn(move || {
        let piece = piece_bytes(left);
        left -= piece;
        (piece > 0).then_some(piece)
    })
}

/// What a body of so many bytes takes in blocks.
pub(crate) fn block_bytes(body_bytes: u64) -> u64 {
    let last = body_bytes % BLOCK_BYTES as u64;
    body_bytes - last + pieces(last as usize).map(given_bytes).sum::<u64>()
}

/// Copies a body into blocks.
pub(crate) fn in_blocks(body: &[u8]) -> Box<[Bytes]> {
    let mut left = body;
    let copied = pieces(body.len()).map(|bytes| {
        let (piece, rest) = left.split_at(bytes);
        left = rest;
        Bytes::copy_from_slice(piece)
    });
    copied.collect()
}

/// The block that a body is copied into while it comes.
#[derive(Debug, Default)]
pub(crate) struct Filling {
    /// What is left of it.
    room: BytesMut,
    /// Parts of it that are full.
    parts: usize,
    /// Bytes in it and in all before it.
    bytes: u64,
}

impl Filling {
    /// Copies a piece, in as many parts as blocks have it. `length`: how long the body will be, if that is known.
    pub(crate) fn copy(&mut self, mut piece: &[u8], length: Option<u64>) -> Vec<Bytes> {
        let mut parts = Vec::new();
        while !piece.is_empty() {
            if self.room.capacity() == 0 {
                self.room = BytesMut::with_capacity(self.next_bytes(piece.len(), length));
                self.parts = 0;
            }
            let (taken, rest) = piece.split_at(piece.len().min(self.room.capacity()));
            self.room.extend_from_slice(taken);
            parts.push(self.room.split().freeze());
            self.parts += 1;
            self.bytes += taken.len() as u64;
            piece = rest;
        }
        parts
    }

    /// Bytes of the next block: for all that is to come, or, where nobody knows, for as much as has come.
    fn next_bytes(&self, coming_bytes: usize, length: Option<u64>) -> usize {
        match length {
            Some(length) => {
                let left = usize::try_from(length.saturating_sub(self.bytes));
                piece_bytes(left.unwrap_or(BLOCK_BYTES).max(coming_bytes))
            }
            None => {
                let come = usize::try_from(self.bytes).unwrap_or(BLOCK_BYTES);
                come.max(coming_bytes).min(BLOCK_BYTES)
            }
        }
    }

    /// The body as it is kept: what is shorter than a block in as few parts as are worth it, and none with room that is
    /// not its own.
    pub(crate) fn finish(&self, parts: &[Bytes]) -> Box<[Bytes]> {
        let is_short = self.bytes <= BLOCK_BYTES as u64;
        let copied = match self.room.capacity() {
            _ if is_short && !parts.iter().map(Bytes::len).eq(pieces(self.bytes as usize)) => {
                parts.len()
            }
            0 => 0,
            _ => self.parts,
        };
        let (stay, copied) = parts.split_at(parts.len() - copied);
        let copied = in_blocks(&copied.concat());
        stay.iter().cloned().chain(copied).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn filled(pieces: &[usize], length: Option<u64>) -> Box<[Bytes]> {
        let mut filling = Filling::default();
        let mut parts = Vec::new();
        for (number, bytes) in pieces.iter().enumerate() {
            parts.extend(filling.copy(&vec![number as u8; *bytes], length));
        }
        assert!(length.is_none() || filling.room.capacity() == 0);
        let kept = filling.finish(&parts);
        assert_eq!(kept.concat(), parts.concat());
        kept
    }

    fn lengths(kept: &[Bytes]) -> Vec<usize> {
        kept.iter().map(Bytes::len).collect()
    }

    #[test]
    fn the_allocator_gives_what_is_said() {
        let known = [(0, 0), (1, 8), (64, 64), (65, 80), (80, 80), (81, 96)];
        for (bytes, given) in known {
            assert_eq!(given_bytes(bytes), given, "{bytes}");
        }
        assert_eq!(given_bytes(BLOCK_BYTES), BLOCK_BYTES as u64);
        assert_eq!(given_bytes(BLOCK_BYTES + 1), 64 << 10);
        assert_eq!(given_bytes((512 << 10) + 1), 576 << 10);
        for bytes in 1..BLOCK_BYTES {
            let given = given_bytes(bytes);
            assert!(given >= bytes as u64 && given <= 8 + bytes as u64 * 5 / 4);
            let filled = filled_bytes(bytes);
            assert_eq!(given_bytes(filled), filled as u64, "{bytes}");
            let next = given_bytes(filled + 1);
            assert!(filled <= bytes && next > bytes as u64, "{bytes}");
        }
    }

    #[test]
    fn a_body_of_known_length_fills_blocks_and_the_last_one_is_no_longer_than_it() {
        let length = 2 * BLOCK_BYTES + 1_000;
        let kept = filled(&[100 << 10, length - (100 << 10)], Some(length as u64));
        let (first, second) = (BLOCK_BYTES, (100 << 10) - BLOCK_BYTES);
        assert_eq!(
            lengths(&kept),
            [first, second, BLOCK_BYTES - second, 1_000],
            "as the pieces came, and nothing copied again"
        );
        assert_eq!(kept[1].as_ptr().wrapping_add(second), kept[2].as_ptr());
    }

    #[test]
    fn a_short_body_is_one_part_however_it_came() {
        for length in [None, Some(3_000)] {
            assert_eq!(lengths(&filled(&[1_000, 1_000, 1_000], length)), [3_000]);
        }
        assert!(filled(&[], None).is_empty());
    }

    #[test]
    fn a_body_of_unknown_length_keeps_no_room_that_is_not_its_own() {
        let pieces = [10 << 10; 13];
        let kept = filled(&pieces, None);
        // Blocks of 10, 10, 20 and 40 KiB are full; of the fifth one 6 KiB would be left.
        let expected = [[10 << 10; 8].as_slice(), &[48 << 10, 2 << 10]].concat();
        assert_eq!(lengths(&kept), expected);
    }

    #[test]
    fn a_body_costs_its_blocks_and_of_the_last_one_what_the_allocator_gives() {
        let block = BLOCK_BYTES as u64;
        for (bytes, cost) in [
            (0, 0),
            (65, 80),
            (5_000, 5_120),
            (9_000, 8_192 + 896),
            (block - 1, block),
            (block, block),
            (2 * block + 65, 2 * block + 80),
        ] {
            assert_eq!(block_bytes(bytes), cost, "{bytes}");
        }
    }

    #[test]
    fn the_last_block_is_in_pieces_where_that_saves_memory() {
        for (bytes, pieces) in [
            (1_000, [1_000].as_slice()),
            // One piece would take 5,120.
            (5_000, &[5_000]),
            // And here 10,240.
            (9_000, &[8_192, 808]),
            (BLOCK_BYTES + 9_000, &[BLOCK_BYTES, 8_192, 808]),
            (46_160, &[40_960, 5_120, 80]),
        ] {
            let body = vec![1; bytes];
            assert_eq!(lengths(&in_blocks(&body)), pieces);
            assert_eq!(lengths(&filled(&[bytes], Some(bytes as u64))), pieces);
            if bytes <= BLOCK_BYTES {
                let halves = [bytes / 2, bytes - bytes / 2];
                assert_eq!(lengths(&filled(&halves, None)), pieces);
            }
        }
    }

    #[test]
    fn pieces_save_more_than_they_cost() {
        let (mut asked, mut taken) = (0, 0);
        for bytes in 0..BLOCK_BYTES {
            let count = pieces(bytes).count() as u64;
            let cost = block_bytes(bytes as u64) + count * PART_BYTES;
            assert!(count <= 3, "{bytes}");
            assert!(cost <= given_bytes(bytes) + PART_BYTES, "{bytes}");
            (asked, taken) = (asked + bytes as u64, taken + cost);
        }
        assert!(taken < asked + asked / 50, "{taken} for {asked}");
    }

    #[test]
    fn a_body_that_is_there_already_is_copied_into_blocks() {
        let body: Vec<u8> = (0..2 * BLOCK_BYTES + 7).map(|at| at as u8).collect();
        let kept = in_blocks(&body);
        assert_eq!(lengths(&kept), [BLOCK_BYTES, BLOCK_BYTES, 7]);
        assert_eq!(kept.concat(), body);
        assert!(in_blocks(&[]).is_empty());
    }

    #[test]
    fn what_comes_in_small_pieces_does_not_take_a_block_for_each() {
        let mut filling = Filling::default();
        let parts: Vec<_> = (0..1_000)
            .flat_map(|_| filling.copy(&[7; 100], None))
            .collect();
        let mut blocks = 1;
        for pair in parts.windows(2) {
            blocks += u32::from(pair[0].as_ptr().wrapping_add(100) != pair[1].as_ptr());
        }
        assert!(blocks < 15, "{blocks}");
    }
}
