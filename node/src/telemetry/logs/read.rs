//! The newest lines of files, read from their ends. Blocks; memory and work are bounded whatever the files hold.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use weir_core::logs::{Backwards, Judged, Query};

use super::file::LogFiles;
use crate::logs::rotate::{FileId, Position};

/// Bytes that are read at a time.
const BLOCK_BYTES: usize = 64 << 10;
/// Bytes that are looked at for one answer.
pub const SCAN_BYTES_MAX: u64 = 32 << 20;
/// Bytes of lines of one answer.
pub(super) const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The newest first.
    pub(super) lines: Vec<Vec<u8>>,
    /// There are more, or may be.
    pub(super) is_cut: bool,
    /// Bytes that were read.
    pub(super) bytes_read: u64,
}

/// What is still wanted of the files.
struct Search<'a> {
    query: &'a Query,
    oldest: Option<&'a str>,
    tail: Tail,
    bytes: usize,
}

impl Search<'_> {
    /// Takes a line; false when no more is wanted.
    fn take(&mut self, line: &[u8]) -> bool {
        match self.query.judge(line, self.oldest) {
            Judged::TooOld => false,
            Judged::Unwanted => true,
            Judged::Wanted => {
                let bytes = self.bytes + line.len();
                if self.tail.lines.len() == self.query.lines_max || bytes > ANSWER_BYTES_MAX {
                    self.tail.is_cut = true;
                    return false;
                }
                self.bytes = bytes;
                self.tail.lines.push(line.to_vec());
                true
            }
        }
    }

    /// Reads a file from `end`; false when no more is wanted. A file that was cut meanwhile ends where it ends.
    fn read(&mut self, file: &File, mut end: u64) -> bool {
        let mut backwards = Backwards::default();
        let mut block = vec![0; BLOCK_BYTES];
        while end > 0 {
            if self.tail.bytes_read >= SCAN_BYTES_MAX {
                self.tail.is_cut = true;
                return false;
            }
            let begin = end.saturating_sub(BLOCK_BYTES as u64);
            let wanted = usize::try_from(end - begin).unwrap_or(BLOCK_BYTES);
            let Ok(count) = read_at(file, &mut block[..wanted], begin) else {
                return true;
            };
            self.tail.bytes_read += count as u64;
            if !backwards.take(&block[..count], |line| self.take(line)) {
                return false;
            }
            end = begin;
        }
        backwards.finish(|line| self.take(line))
    }
}

/// As many bytes as are there.
fn read_at(file: &File, block: &mut [u8], begin: u64) -> std::io::Result<usize> {
    let mut count = 0;
    while count < block.len() {
        match file.read_at(&mut block[count..], begin + count as u64) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// The newest lines that are wanted, of what was written up to `position`; of everything where that is not known.
pub(super) fn tail(
    files: &LogFiles,
    position: Option<Position>,
    query: &Query,
    oldest: Option<&str>,
) -> Tail {
    let mut search = Search {
        query,
        oldest,
        tail: Tail::default(),
        bytes: 0,
    };
    // Files that are put aside meanwhile come again under another name.
    let mut seen: Vec<FileId> = Vec::new();
    let mut position = position.filter(|position| is_there(files, position.id));
    for path in files.paths() {
        let Ok(file) = File::open(path) else { continue };
        let Ok(metadata) = file.metadata() else {
            continue;
        };
        let id = FileId::of(&metadata);
        if !metadata.is_file() || seen.contains(&id) {
            continue;
        }
        let end = match position {
            // It is newer than what is wanted.
            Some(wanted) if wanted.id != id => continue,
            Some(wanted) => wanted.bytes.min(metadata.len()),
            None => metadata.len(),
        };
        position = None;
        seen.push(id);
        if !search.read(&file, end) {
            break;
        }
    }
    search.tail
}

/// Whether the file has any of its names.
fn is_there(files: &LogFiles, id: FileId) -> bool {
    let mut paths = files.paths();
    paths.any(|path| std::fs::metadata(path).is_ok_and(|metadata| FileId::of(&metadata) == id))
}
