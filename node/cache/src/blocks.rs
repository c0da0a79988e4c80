//! Memory of bodies that are kept.
//!
//! Bodies of all sizes come and go. Were each piece as long as it happened to come, what one body leaves would seldom
//! fit another, and the allocator would hold pages of a dozen sizes with holes in each. So bodies are in blocks of one
//! size, whose places any body takes, and only the last one of a body is as long as its bytes.

use bytes::{Bytes, BytesMut};

/// Bytes of a block. It is one of the allocator's sizes, and nine fill a page of 512 KiB that keeps 4 KiB for itself.
pub(crate) const BLOCK_BYTES: usize = 56 << 10;

/// Bytes that one part of a block takes beside its own.
pub(crate) const PART_BYTES: u64 = (size_of::<Bytes>() + SHARED_BYTES) as u64;
/// What the parts of a block share.
const SHARED_BYTES: usize = 48;

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

/// What a body of so many bytes takes in blocks.
pub(crate) const fn block_bytes(body_bytes: u64) -> u64 {
    let last = body_bytes % BLOCK_BYTES as u64;
    body_bytes - last + given_bytes(last as usize)
}

/// Copies a body into blocks.
pub(crate) fn in_blocks(body: &[u8]) -> Box<[Bytes]> {
    body.chunks(BLOCK_BYTES)
        .map(Bytes::copy_from_slice)
        .collect()
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
    fn next_bytes(&self, piece_bytes: usize, length: Option<u64>) -> usize {
        let left = match length {
            Some(length) => length.saturating_sub(self.bytes),
            None => self.bytes,
        };
        let left = usize::try_from(left).unwrap_or(BLOCK_BYTES);
        left.max(piece_bytes).min(BLOCK_BYTES)
    }

    /// The body as it is kept: short ones in one part, and none with room that is not its own.
    pub(crate) fn finish(&self, parts: &[Bytes]) -> Box<[Bytes]> {
        let is_short = parts.len() > 1 && self.bytes <= BLOCK_BYTES as u64;
        let copied = match self.room.capacity() {
            _ if is_short => parts.len(),
            0 => 0,
            _ => self.parts,
        };
        let (stay, copied) = parts.split_at(parts.len() - copied);
        let last = (!copied.is_empty()).then(|| Bytes::from(copied.concat().into_boxed_slice()));
        stay.iter().cloned().chain(last).collect()
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
        for bytes in 1..10_000 {
            let given = given_bytes(bytes);
            assert!(given >= bytes as u64 && given <= 8 + bytes as u64 * 5 / 4);
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
        let mut filling = Filling::default();
        let parts: Vec<_> = pieces
            .iter()
            .flat_map(|bytes| filling.copy(&vec![0; *bytes], None))
            .collect();
        assert!(filling.room.capacity() > 0, "else this shows nothing");
        let last = kept.last().unwrap();
        let of_last_block = &parts[parts.len() - filling.parts..];
        assert_eq!(last.len(), of_last_block.concat().len());
        assert_eq!(kept.len(), parts.len() - filling.parts + 1);
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
