//! An engine's output on disk: two files of bounded size.

use std::fs::{self, File};
use std::io::{self, Write as _};

use super::lines::count;
use crate::process::folder::EngineFolder;

/// The size of each of the two files, bytes.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where an engine's lines go. A disk that takes none loses lines, and the next line that it takes says how many.
#[derive(Debug)]
pub(super) struct Files {
    folder: EngineFolder,
    file: Option<(File, u64)>,
    untold: u64,
}

impl Files {
    pub(super) fn new(folder: EngineFolder) -> Self {
        Self {
            folder,
            file: None,
            untold: 0,
        }
    }

    /// Writes whole lines, before which `lost_before` were lost; gives how many are lost now, those included.
    pub(super) fn append(&mut self, lines: &[u8], lost_before: u64) -> u64 {
        self.untold += lost_before;
        if self.write(lines).is_ok() {
            self.untold = 0;
            return lost_before;
        }
        // What made it fail may have gone by the next time, with the file.
        self.file = None;
        self.untold += count(lines);
        lost_before + count(lines)
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut text = Vec::new();
        if self.untold > 0 {
            writeln!(text, "[weir] {} lines were lost here", self.untold)?;
        }
        text.extend_from_slice(lines);
        let more = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let (mut file, bytes) = self.file_for(more)?;
        if let Err(error) = file.write_all(&text) {
            // Half a line would look like a whole one.
            let _ = file.set_len(bytes);
            return Err(error);
        }
        self.file = Some((file, bytes + more));
        Ok(())
    }

    fn file_for(&mut self, more: u64) -> io::Result<(File, u64)> {
        let output = self.folder.output();
        let open = || File::options().create(true).append(true).open(&output);
        let (file, bytes) = match self.file.take() {
            Some(open) => open,
            None => {
                let file = open()?;
                let bytes = file.metadata()?.len();
                (file, bytes)
            }
        };
        if bytes == 0 || bytes + more <= FILE_BYTES_MAX {
            return Ok((file, bytes));
        }
        fs::rename(&output, self.folder.output_before())?;
        Ok((open()?, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, EngineFolder) {
        let root = tempfile::tempdir().unwrap();
        let folder = EngineFolder::of(root.path(), "one");
        folder.make().unwrap();
        (root, folder)
    }

    #[test]
    fn two_files_of_bounded_size_hold_the_newest_lines() {
        let (_root, folder) = folder();
        let mut files = Files::new(folder.clone());
        for batch in 0..100_000 / 100 {
            let lines: String = (0..100)
                .map(|at| format!("line {:060}\n", batch * 100 + at))
                .collect();
            assert_eq!(files.append(lines.as_bytes(), 0), 0);
        }
        for path in [folder.output(), folder.output_before()] {
            let bytes = fs::metadata(&path).unwrap().len();
            assert!(bytes <= FILE_BYTES_MAX, "{bytes} of {}", path.display());
        }
        let last = folder.last_lines(20_000).unwrap();
        assert_eq!(last.len(), 20_000, "they reach into the file before");
        assert_eq!(last[0], format!("line {:060}", 80_000));
        assert_eq!(last[19_999], format!("line {:060}", 99_999));
    }

    #[test]
    fn a_full_disk_loses_lines_and_says_how_many_once_it_is_not() {
        let (_root, folder) = folder();
        std::os::unix::fs::symlink("/dev/full", folder.output()).unwrap();
        let mut files = Files::new(folder.clone());
        assert_eq!(files.append(b"one\ntwo\n", 0), 2);
        assert_eq!(files.append(b"three\n", 4), 5);
        fs::remove_file(folder.output()).unwrap();
        assert_eq!(files.append(b"eight\n", 0), 0);
        let lines = folder.last_lines(9).unwrap();
        assert_eq!(lines, ["[weir] 7 lines were lost here", "eight"]);
    }
}
