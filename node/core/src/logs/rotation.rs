//! When a file of lines is put aside, and under which names those before it are kept.

/// Bounds of a file and of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of one file.
    pub bytes_max: u64,
    /// Files in all, the one that is written to included.
    pub files_max: u32,
}

impl Rotation {
    /// Whether a file of this length is put aside before so many bytes are added. An empty one never is.
    pub const fn is_due(&self, bytes: u64, more: u64) -> bool {
        bytes > 0 && bytes.saturating_add(more) > self.bytes_max
    }
}

/// What is renamed to what when a file is put aside, the oldest first; what has the last name is gone then.
pub fn moves(name: &str, files_max: u32) -> Vec<(String, String)> {
    let aside = |number: u32| match number {
        0 => name.to_owned(),
        number => format!("{name}.{number}"),
    };
    let numbers = (0..files_max.saturating_sub(1)).rev();
    numbers
        .map(|number| (aside(number), aside(number + 1)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_put_aside_before_it_is_too_long() {
        let rotation = Rotation {
            bytes_max: 100,
            files_max: 3,
        };
        assert!(!rotation.is_due(0, 1_000));
        assert!(!rotation.is_due(60, 40));
        assert!(rotation.is_due(60, 41));
        assert!(rotation.is_due(1, u64::MAX));
    }

    #[test]
    fn the_oldest_makes_room_first() {
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(
            moves("a.log", 3),
            [pair("a.log.1", "a.log.2"), pair("a.log", "a.log.1")]
        );
        assert_eq!(moves("a.log", 2), [pair("a.log", "a.log.1")]);
        assert_eq!(moves("a.log", 1), []);
    }
}
