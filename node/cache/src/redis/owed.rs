//! Keys under which Redis may have an older value than it should, because the newer one did not get there.
//!
//! They are deleted before anything else is asked of a Redis that is back, and else as soon as it takes something.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// What one more key costs besides its bytes.
const KEY_BYTES: usize = 128;

/// Keys that have to be deleted, each by the stamp of the newest value that was lost; bounded by bytes.
#[derive(Debug)]
pub(super) struct Owed {
    kept: Mutex<Kept>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Kept {
    stamps: BTreeMap<Vec<u8>, u64>,
    bytes: usize,
}

impl Owed {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            kept: Mutex::default(),
            bytes_max,
        }
    }

    /// Adds a key; false if there is no room for it.
    pub(super) fn add(&self, key: Vec<u8>, stamp: u64) -> bool {
        let mut kept = self.kept.lock();
        if let Some(before) = kept.stamps.get_mut(&key) {
            *before = stamp.max(*before);
            return true;
        }
        let bytes = kept.bytes + key.len() + KEY_BYTES;
        if bytes > self.bytes_max {
            return false;
        }
        kept.bytes = bytes;
        kept.stamps.insert(key, stamp);
        true
    }

    /// Takes at most so many.
    pub(super) fn take(&self, most: usize) -> Vec<(Vec<u8>, u64)> {
        let mut kept = self.kept.lock();
        let mut taken = Vec::new();
        while taken.len() < most {
            let Some((key, stamp)) = kept.stamps.pop_first() else {
                break;
            };
            kept.bytes -= key.len() + KEY_BYTES;
            taken.push((key, stamp));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_owed_once_by_its_newest_stamp_and_there_are_only_so_many() {
        let owed = Owed::new(2 * (KEY_BYTES + 1));
        for stamp in [3, 5, 4] {
            assert!(owed.add(b"a".to_vec(), stamp));
        }
        assert!(owed.add(b"b".to_vec(), 6));
        assert!(!owed.add(b"c".to_vec(), 7));
        assert!(owed.add(b"a".to_vec(), 2), "it is there");
        assert_eq!(owed.take(1), [(b"a".to_vec(), 5)]);
        assert!(owed.add(b"c".to_vec(), 7));
        let rest = [(b"b".to_vec(), 6), (b"c".to_vec(), 7)];
        assert_eq!(owed.take(9), rest);
        assert_eq!(owed.kept.lock().bytes, 0);
    }
}
