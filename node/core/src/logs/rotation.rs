//! How far files of lines may grow.

/// Bounds of a file and of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of one file.
    pub bytes_max: u64,
    /// Files in all, the one that is written to included.
    pub files_max: u32,
}

impl Rotation {
    /// Bytes that a file of this length still takes; one that is stuck, because it cannot be put aside, grows to twice
    /// its bound rather than lose lines at once.
    pub const fn room(&self, bytes: u64, is_stuck: bool) -> u64 {
        let bytes_max = match is_stuck {
            true => self.bytes_max.saturating_mul(2),
            false => self.bytes_max,
        };
        bytes_max.saturating_sub(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_put_aside_takes_twice_its_bound() {
        let rotation = Rotation {
            bytes_max: 100,
            files_max: 3,
        };
        assert_eq!(
            (rotation.room(60, false), rotation.room(101, false)),
            (40, 0)
        );
        assert_eq!(
            (rotation.room(101, true), rotation.room(201, true)),
            (99, 0)
        );
    }
}
