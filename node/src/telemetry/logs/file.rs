//! The file that lines are written to, and those before it.

use std::fs;
use std::io;
use std::path::PathBuf;

use weir_core::logs::Rotation;

use super::counts::LogCounts;
use crate::logs::rotate::{Position, RotatingFile, Written};

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

/// The file that is open.
#[derive(Debug)]
pub struct LogFile {
    files: LogFiles,
    open: Option<RotatingFile>,
    /// The last try failed: the next one says so no more.
    is_failing: bool,
}

impl LogFile {
    /// Opens nothing yet.
    pub const fn new(files: LogFiles) -> Self {
        Self {
            files,
            open: None,
            is_failing: false,
        }
    }

    /// Where the file ends, which is opened; `None` when it cannot be. The first line tells why.
    pub(super) fn position(&mut self) -> Option<Position> {
        self.open().ok().map(|open| open.position())
    }

    /// Writes lines; those that cannot be written are counted. Tells where the file ends now.
    pub(super) fn write<'a>(
        &mut self,
        lines: impl ExactSizeIterator<Item = &'a str>,
        counts: &LogCounts,
    ) -> Option<Position> {
        let count = lines.len() as u64;
        let mut text = Vec::new();
        for line in lines {
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        let (written, position, is_stuck) = match self.open() {
            Ok(open) => {
                let written = open.write_lines(&text);
                (written, Some(open.position()), open.is_stuck())
            }
            Err(error) => {
                let error = Some(error);
                let nothing = Written {
                    error,
                    ..Written::default()
                };
                (nothing, None, false)
            }
        };
        counts.rotated(written.rotations);
        let lost = count.saturating_sub(written.lines);
        match (written.error, written.rotation_error) {
            (None, None) => self.is_failing &= is_stuck,
            (Some(error), _) => {
                counts.file_failed(lost);
                self.complain(&error, "log lines are not written to the file");
            }
            (None, Some(error)) => {
                counts.file_failed(lost);
                self.complain(&error, "the log file or one before it cannot be put aside");
            }
        }
        position
    }

    /// This goes into the queue as well, so it is said once.
    fn complain(&mut self, error: &io::Error, what: &'static str) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let path = self.files.path();
            tracing::warn!(path = %path.display(), %error, "{what}");
        }
    }

    /// The folder may have gone meanwhile, with all that was in it.
    fn open(&mut self) -> io::Result<&mut RotatingFile> {
        fs::create_dir_all(&self.files.folder)?;
        let open = match self.open.take() {
            Some(open) => open,
            None => RotatingFile::open(&self.files.path(), self.files.rotation)?,
        };
        Ok(self.open.insert(open))
    }
}
