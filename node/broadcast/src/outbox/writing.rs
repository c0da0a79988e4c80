//! What a connection is writing.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf as _, Bytes};

/// Slices of one vectored write.
pub const SLICES_MAX: usize = 64;

/// Frames on their way into a socket. One that takes a part only gets the rest next.
#[derive(Debug, Default)]
pub struct Writing {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Writing {
    /// Nothing to write.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fills `slices` with what is to be written next; how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.frames) {
            *slice = IoSlice::new(frame);
            filled += 1;
        }
        filled
    }

    /// So many bytes were written.
    pub fn advance(&mut self, mut written: usize) {
        self.bytes = self.bytes.saturating_sub(written);
        while let Some(first) = self.frames.front_mut() {
            if first.len() > written {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.frames.pop_front();
        }
    }

    /// The next frame, for transports that take them one by one.
    pub fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    /// Frames that are not written, the first one maybe in part.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Bytes that are not written.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Something of the transport's own, behind what is to be written.
    pub fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_socket_takes_in_parts_is_written_once() {
        for step in 1..8 {
            let mut writing = Writing::new();
            for frame in ["one", "", "three", "4"] {
                writing.push(Bytes::from_static(frame.as_bytes()));
            }
            let mut written = Vec::new();
            while !writing.is_empty() {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let filled = writing.slices(&mut slices);
                let all: Vec<u8> = slices[..filled]
                    .iter()
                    .flat_map(|slice| slice.to_vec())
                    .collect();
                let taken = step.min(all.len());
                written.extend_from_slice(&all[..taken]);
                writing.advance(taken);
            }
            assert_eq!(
                (&written[..], writing.bytes()),
                (&b"onethree4"[..], 0),
                "{step}"
            );
        }
    }
}
