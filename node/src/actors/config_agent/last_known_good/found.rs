//! Reads what an earlier run left.

use std::io;

use super::files::{Files, temporary};
use super::records::{Damage, RunRecord, SlotRecord, decode_quarantine};
use super::{PAYLOAD_BYTES_MAX, QUARANTINE, Quarantined, RUN, slots};

/// Bytes of a file without a payload, and of what is around a payload.
const FILE_BYTES_MAX: usize = 64 << 10;

/// The file that tells of the last run.
pub(super) enum LastRunFile {
    /// There is none.
    Absent,
    /// There is one that cannot be read.
    Unreadable,
    /// It says this.
    Says(RunRecord),
}

/// What is in the folder.
pub(super) struct Found {
    pub(super) slots: [Option<SlotRecord>; 2],
    pub(super) run: LastRunFile,
    pub(super) quarantine: Vec<Quarantined>,
    /// What cannot be used, for people.
    pub(super) notes: Vec<String>,
}

impl Found {
    /// An empty folder.
    pub(super) fn nothing() -> Self {
        Self {
            slots: [None, None],
            run: LastRunFile::Absent,
            quarantine: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Reads everything, and takes away what a crash left half written.
    pub(super) fn read(files: &dyn Files) -> Self {
        for name in slots::NAMES.into_iter().chain([RUN, QUARANTINE]) {
            // What cannot be taken away is in nobody's way.
            let _ = files.remove(&temporary(name));
        }
        let mut found = Self::nothing();
        for at in 0..slots::NAMES.len() {
            found.slots[at] = found
                .noting(slots::NAMES[at], read_slot(files, at))
                .flatten();
        }
        let run = read(files, RUN, FILE_BYTES_MAX, RunRecord::decode);
        found.run = match found.noting(RUN, run) {
            None => LastRunFile::Unreadable,
            Some(None) => LastRunFile::Absent,
            Some(Some(run)) => LastRunFile::Says(run),
        };
        let quarantine = read(files, QUARANTINE, FILE_BYTES_MAX, decode_quarantine);
        let quarantine = found.noting(QUARANTINE, quarantine).flatten();
        found.quarantine = quarantine.unwrap_or_default();
        found
    }

    fn noting<T>(&mut self, name: &str, read: io::Result<T>) -> Option<T> {
        read.inspect_err(|error| self.notes.push(format!("{name}: {error}")))
            .ok()
    }
}

/// Reads a slot; `None` if there is none.
pub(super) fn read_slot(files: &dyn Files, at: usize) -> io::Result<Option<SlotRecord>> {
    let bytes_max = PAYLOAD_BYTES_MAX + FILE_BYTES_MAX;
    read(files, slots::NAMES[at], bytes_max, SlotRecord::decode)
}

fn read<T>(
    files: &dyn Files,
    name: &str,
    bytes_max: usize,
    decode: fn(Vec<u8>) -> Result<T, Damage>,
) -> io::Result<Option<T>> {
    let bytes = files.read(name, bytes_max)?;
    bytes.map(decode).transpose().map_err(io::Error::other)
}
