//! The file that lines are written to, and those before it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use weir_core::logs::{Rotation, moves};

use super::counts::LogCounts;

/// Who may read it: the user and the group of the node.
const MODE: u32 = 0o640;

/// Where lines are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFiles {
    /// The folder; it is made when it is not there.
    pub folder: PathBuf,
    /// The file in it that is written to.
    pub name: String,
    /// Its bounds, and those of the files before it.
    pub rotation: Rotation,
}

impl LogFiles {
    /// The file that is written to.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// All files, the newest first, whether they are there or not.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let older = (1..self.rotation.files_max).map(|number| format!("{}.{number}", self.name));
        std::iter::once(self.name.clone())
            .chain(older)
            .map(|name| self.folder.join(name))
    }
}

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// Where in which file the last line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) id: FileId,
    pub(super) bytes: u64,
}

/// The file that is open.
#[derive(Debug)]
pub struct LogFile {
    files: LogFiles,
    open: Option<Open>,
    /// The last try failed: the next one says so no more.
    is_failing: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    id: FileId,
    bytes: u64,
    /// A line may have been written in part.
    is_torn: bool,
}

impl LogFile {
    /// Opens nothing yet.
    pub fn new(files: LogFiles) -> Self {
        Self {
            files,
            open: None,
            is_failing: false,
        }
    }

    /// Where the file ends, which is opened; `None` when it cannot be. The first line tells why.
    pub(super) fn position(&mut self) -> Option<Position> {
        let _ = self.look();
        let open = self.open.as_ref()?;
        Some(Position {
            id: open.id,
            bytes: open.bytes,
        })
    }

    /// Writes lines; those that cannot be written are counted. Tells where the file ends now.
    pub(super) fn write<'a>(
        &mut self,
        lines: impl ExactSizeIterator<Item = &'a str>,
        counts: &LogCounts,
    ) -> Option<Position> {
        let mut left = lines.len() as u64;
        let written = self.write_all(lines, &mut left, counts);
        match written {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                counts.file_failed(left);
                let path = self.files.path();
                // This goes into the queue as well, so it is said once.
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(path = %path.display(), %error, "log lines are not written to the file");
                }
            }
        }
        let open = self.open.as_ref()?;
        Some(Position {
            id: open.id,
            bytes: open.bytes,
        })
    }

    fn write_all<'a>(
        &mut self,
        lines: impl Iterator<Item = &'a str>,
        left: &mut u64,
        counts: &LogCounts,
    ) -> io::Result<()> {
        self.look()?;
        let (mut text, mut count) = (Vec::new(), 0);
        for line in lines {
            let more = text.len() as u64 + line.len() as u64 + 1;
            let bytes = self.open.as_ref().map_or(0, |open| open.bytes);
            let with_text = bytes + text.len() as u64;
            if self
                .files
                .rotation
                .is_due(with_text, more - text.len() as u64)
            {
                self.append(&mut text)?;
                *left -= std::mem::take(&mut count);
                self.put_aside()?;
                counts.rotated();
            }
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
            count += 1;
        }
        self.append(&mut text)?;
        *left -= count;
        Ok(())
    }

    /// Opens the file if it is not open, or is another one by now: somebody may have moved, removed or emptied it.
    fn look(&mut self) -> io::Result<()> {
        let there = fs::metadata(self.files.path()).ok();
        if let (Some(open), Some(there)) = (&mut self.open, &there)
            && open.id == FileId::of(there)
        {
            open.bytes = there.len();
            return Ok(());
        }
        self.open = None;
        fs::create_dir_all(&self.files.folder)?;
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(MODE)
            .open(self.files.path())?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("is no file"));
        }
        self.open = Some(Open {
            id: FileId::of(&metadata),
            bytes: metadata.len(),
            file,
            is_torn: false,
        });
        Ok(())
    }

    fn append(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.look()?;
        let Some(open) = &mut self.open else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if open.is_torn {
            open.file.write_all(b"\n")?;
        }
        open.is_torn = true;
        open.file.write_all(text)?;
        open.is_torn = false;
        open.bytes = open.file.metadata()?.len();
        text.clear();
        Ok(())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let (folder, name) = (&self.files.folder, &self.files.name);
        for (from, to) in moves(name, self.files.rotation.files_max) {
            rename(&folder.join(from), &folder.join(to))?;
        }
        if self.files.rotation.files_max == 1 {
            fs::remove_file(folder.join(name))?;
        }
        self.look()
    }
}

/// Of what is not there nothing is renamed.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
