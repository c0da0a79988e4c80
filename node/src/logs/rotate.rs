//! A file of lines that is set aside when it is full.
//!
//! `PATH` is written; `PATH.1` is what was set aside last, `PATH.2` before that, and so on. Files are renamed, never
//! copied or cut, so whoever follows one reads it to its end. All calls block: whoever writes has a thread for it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The open file, and how far it may grow.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    file: File,
    len: u64,
    bytes_max: u64,
    files_max: usize,
}

impl RotatingFile {
    /// Opens the file for appending, or makes it, readable by its owner and group only. Before it grew beyond
    /// `bytes_max` it is set aside; of all files together, the open one included, `files_max` are kept, and at least
    /// one is.
    ///
    /// # Errors
    /// What the system says; its folder is not made.
    pub fn open(path: &Path, bytes_max: u64, files_max: usize) -> io::Result<Self> {
        let (file, len) = open(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            len,
            bytes_max,
            files_max: files_max.max(1),
        })
    }

    /// New bounds, from the next write on.
    pub fn configure(&mut self, bytes_max: u64, files_max: usize) {
        self.bytes_max = bytes_max;
        self.files_max = files_max.max(1);
    }

    /// Bytes in the open file.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is in the open file.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends whole lines, each with its end, and keeps each in one file. A batch that is larger than a file is
    /// allowed to be goes into as many as it needs; a line that is larger has one to itself.
    ///
    /// # Errors
    /// What the system says; some of the lines may have been written then.
    pub fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        self.follow_path()?;
        let mut rest = lines;
        while !rest.is_empty() {
            let room = self.bytes_max.saturating_sub(self.len);
            match lines_within(rest, room) {
                0 if self.len > 0 => self.rotate()?,
                0 => rest = self.append(rest, first_line(rest))?,
                fitting => rest = self.append(rest, fitting)?,
            }
        }
        Ok(())
    }

    fn append<'a>(&mut self, bytes: &'a [u8], count: usize) -> io::Result<&'a [u8]> {
        let (now, later) = bytes.split_at(count);
        self.file.write_all(now)?;
        self.len += now.len() as u64;
        Ok(later)
    }

    /// Sets the file aside and opens an empty one; the oldest goes when there are too many.
    ///
    /// # Errors
    /// What the system says; the open file is then written on.
    pub fn rotate(&mut self) -> io::Result<()> {
        let aside = self.files_max - 1;
        self.remove_from(aside.max(1))?;
        for number in (1..aside).rev() {
            rename_if_there(
                &set_aside(&self.path, number),
                &set_aside(&self.path, number + 1),
            )?;
        }
        match aside {
            0 => remove_if_there(&self.path)?,
            _ => rename_if_there(&self.path, &set_aside(&self.path, 1))?,
        }
        (self.file, self.len) = open(&self.path)?;
        Ok(())
    }

    /// Files that were set aside under greater bounds go too.
    fn remove_from(&self, first: usize) -> io::Result<()> {
        for number in first.. {
            let old = set_aside(&self.path, number);
            match fs::remove_file(&old) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                removed => removed?,
            }
        }
        Ok(())
    }

    /// Somebody else may have renamed or removed the file.
    fn follow_path(&mut self) -> io::Result<()> {
        let ours = self.file.metadata()?;
        let is_same = fs::metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
        match is_same {
            // Somebody may have cut it, too.
            true => self.len = ours.len(),
            false => (self.file, self.len) = open(&self.path)?,
        }
        Ok(())
    }
}

/// Where the file is that was set aside so many turns ago, from 1 on.
pub fn set_aside(path: &Path, number: usize) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)?;
    let len = file.metadata()?.len();
    Ok((file, len))
}

/// Bytes of the whole lines that fit.
fn lines_within(lines: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if lines.len() <= room {
        return lines.len();
    }
    lines[..room]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1)
}

fn first_line(lines: &[u8]) -> usize {
    lines
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(lines.len(), |at| at + 1)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    if_there(fs::rename(from, to))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    if_there(fs::remove_file(path))
}

fn if_there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &Path) -> Vec<String> {
        let paths = [path.to_owned()]
            .into_iter()
            .chain((1..).map(|n| set_aside(path, n)));
        paths
            .map_while(|path| fs::read_to_string(path).ok())
            .collect()
    }

    #[test]
    fn a_full_file_is_set_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut file = RotatingFile::open(&path, 8, 3).unwrap();
        for number in 0..8 {
            file.write_lines(format!("l{number}\n").as_bytes()).unwrap();
        }
        assert_eq!(texts(&path), ["l6\nl7\n", "l4\nl5\n", "l2\nl3\n"]);
        file.configure(8, 1);
        file.rotate().unwrap();
        assert_eq!(texts(&path), [""]);
    }

    #[test]
    fn lines_are_never_torn_and_a_great_one_has_a_file_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut file = RotatingFile::open(&path, 6, 9).unwrap();
        file.write_lines(b"one\ntwo\nthree and more\nend\n")
            .unwrap();
        assert_eq!(
            texts(&path),
            ["end\n", "three and more\n", "two\n", "one\n"]
        );
        assert_eq!(file.len(), 4);
    }

    #[test]
    fn what_was_there_is_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        fs::write(&path, "old\n").unwrap();
        let mut file = RotatingFile::open(&path, 100, 2).unwrap();
        file.write_lines(b"new\n").unwrap();
        assert_eq!(texts(&path), ["old\nnew\n"]);
    }

    #[test]
    fn a_file_that_somebody_took_away_is_made_anew_and_a_cut_one_counted_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut file = RotatingFile::open(&path, 8, 2).unwrap();
        file.write_lines(b"one\n").unwrap();
        fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        file.write_lines(b"two\n").unwrap();
        assert_eq!(texts(&path), ["two\n"]);
        fs::write(&path, "").unwrap();
        file.write_lines(b"three\n").unwrap();
        assert_eq!(texts(&path), ["three\n"]);
    }
}
