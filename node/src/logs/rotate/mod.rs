//! A file of lines that is set aside when it is full.
//!
//! `PATH` is written; `PATH.1` is what was set aside last, `PATH.2` before that, and so on. Files are renamed, never
//! copied or cut, so whoever follows one reads it to its end. All calls block: whoever writes has a thread for it.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use weir_core::logs::Rotation;

/// Who may read it: the user and the group of the node.
const MODE: u32 = 0o640;
/// Writes from one try to set a full file aside to the next, when it failed.
const RETRY_WRITES: u32 = 16;

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Whose metadata these are.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// Where in which file the last line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The file.
    pub id: FileId,
    /// Bytes before the end.
    pub bytes: u64,
}

/// What became of lines.
#[derive(Debug, Default)]
pub struct Written {
    /// Bytes that are in files.
    pub bytes: usize,
    /// Lines that are there to their ends.
    pub lines: u64,
    /// Times that a full file was set aside.
    pub rotations: u64,
    /// Why a full file was not set aside; it is written on, up to twice its bound.
    pub rotation_error: Option<io::Error>,
    /// Why the other lines are not written.
    pub error: Option<io::Error>,
}

/// The open file, and how far it may grow.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    open: Open,
    rotation: Rotation,
    /// Writes until it is tried again to set the file aside, after that failed.
    retry_in: u32,
}

#[derive(Debug)]
struct Open {
    file: File,
    id: FileId,
    len: u64,
    /// The last line was written in part.
    is_torn: bool,
}

impl RotatingFile {
    /// Opens the file for appending, or makes it, readable by its owner and group only. Before it grew beyond its bound
    /// it is set aside; at least one file is kept.
    ///
    /// # Errors
    /// What the system says, and when it is no regular file; its folder is not made.
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            open: Open::at(path)?,
            rotation,
            retry_in: 0,
        })
    }

    /// New bounds, from the next write on.
    pub const fn configure(&mut self, rotation: Rotation) {
        self.rotation = rotation;
    }

    /// Where the open file ends.
    pub const fn position(&self) -> Position {
        Position {
            id: self.open.id,
            bytes: self.open.len,
        }
    }

    /// Whether the file is full and could not be set aside.
    pub const fn is_stuck(&self) -> bool {
        self.retry_in > 0
    }

    /// Appends whole lines, each with its end, and keeps each in one file. A batch that is larger than a file is
    /// allowed to be goes into as many as it needs; a line that is larger has one to itself.
    pub fn write_lines(&mut self, lines: &[u8]) -> Written {
        let mut written = Written::default();
        self.retry_in = self.retry_in.saturating_sub(1);
        written.error = self.write_all(lines, &mut written).err();
        let there = &lines[..written.bytes];
        written.lines = there.iter().filter(|byte| **byte == b'\n').count() as u64;
        written
    }

    fn write_all(&mut self, lines: &[u8], written: &mut Written) -> io::Result<()> {
        self.follow_path()?;
        while written.bytes < lines.len() {
            let rest = &lines[written.bytes..];
            let room = self.rotation.room(self.open.len, self.is_stuck());
            let count = match lines_within(rest, room) {
                0 if self.open.len == 0 => first_line(rest),
                0 if self.is_stuck() => {
                    return Err(io::Error::other("is full and cannot be set aside"));
                }
                0 => {
                    self.try_rotate(written);
                    continue;
                }
                fitting => fitting,
            };
            self.open.append(&rest[..count], &mut written.bytes)?;
        }
        Ok(())
    }

    fn try_rotate(&mut self, written: &mut Written) {
        match self.rotate() {
            Ok(()) => {
                written.rotations += 1;
                // Files of greater bounds that stay are no reason to write on the same one.
                if let Err(error) = self.remove_surplus() {
                    written.rotation_error = Some(error);
                }
            }
            Err(error) => {
                self.retry_in = RETRY_WRITES;
                written.rotation_error = Some(error);
            }
        }
    }

    /// Sets the file aside and opens an empty one; the oldest makes room when there are too many. One that fails
    /// midway loses nothing, however often it is tried again: files move up to the first free name only.
    fn rotate(&mut self) -> io::Result<()> {
        let aside = self.aside();
        let free = (1..aside).find(|number| !is_there(&set_aside(&self.path, *number)));
        for number in (1..free.unwrap_or(aside)).rev() {
            fs::rename(
                set_aside(&self.path, number),
                set_aside(&self.path, number + 1),
            )?;
        }
        let gone = match aside {
            0 => fs::remove_file(&self.path),
            _ => fs::rename(&self.path, set_aside(&self.path, 1)),
        };
        match gone {
            // Somebody else was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            gone => gone?,
        }
        self.open = Open::at(&self.path)?;
        Ok(())
    }

    /// Removes files that were set aside under greater bounds, the oldest first.
    fn remove_surplus(&self) -> io::Result<()> {
        let surplus = (self.aside() + 1..).map(|number| set_aside(&self.path, number));
        let there: Vec<PathBuf> = surplus.take_while(|path| is_there(path)).collect();
        there.iter().rev().try_for_each(fs::remove_file)
    }

    /// Files beside the open one.
    fn aside(&self) -> u32 {
        self.rotation.files_max.saturating_sub(1)
    }

    /// Somebody else may have renamed, removed or cut the file.
    fn follow_path(&mut self) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(there) if FileId::of(&there) == self.open.id => {
                self.open.len = there.len();
                self.open.is_torn &= there.len() > 0;
            }
            _ => {
                self.open = Open::at(&self.path)?;
                self.retry_in = 0;
            }
        }
        Ok(())
    }
}

impl Open {
    /// Never waits: a FIFO is refused, whether somebody reads it or not.
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(MODE)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("is no regular file"));
        }
        Ok(Self {
            file,
            id: FileId::of(&metadata),
            len: metadata.len(),
            is_torn: false,
        })
    }

    /// Appends lines, on a line of their own after one that is torn, and adds what is written to `count`.
    fn append(&mut self, lines: &[u8], count: &mut usize) -> io::Result<()> {
        if self.is_torn {
            self.put(b"\n", &mut 0)?;
        }
        self.put(lines, count)
    }

    fn put(&mut self, bytes: &[u8], count: &mut usize) -> io::Result<()> {
        let (put, done) = write_counted(&mut self.file, bytes);
        *count += put;
        if let Some(last) = bytes[..put].last() {
            self.is_torn = *last != b'\n';
        }
        // Others may write to it as well.
        let len = self.file.metadata().map(|metadata| metadata.len());
        self.len = len.unwrap_or(self.len + put as u64);
        done
    }
}

/// Writes all it can; tells how many bytes that is.
fn write_counted(out: &mut impl io::Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut count = 0;
    while count < bytes.len() {
        match out.write(&bytes[count..]) {
            Ok(0) => return (count, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (count, Err(error)),
        }
    }
    (count, Ok(()))
}

/// Where the file is that was set aside so many turns ago, from 1 on.
pub fn set_aside(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
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
