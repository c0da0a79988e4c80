//! The folder, as few operations as will do.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::records::Damage;

/// What [`super::LastKnownGood`] does with its folder; names are of files in it.
pub(super) trait Files: Send {
    /// Makes the folder if it is missing and sees to it that no other process uses it.
    fn prepare(&mut self) -> io::Result<()>;
    /// A whole file; `None` if there is none.
    fn read(&self, name: &str, bytes_max: usize) -> io::Result<Option<Vec<u8>>>;
    /// Makes a file that was not there, down to the disk.
    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Gives a file another's name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Takes a file away if it is there.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes what was made, renamed and removed last.
    fn sync_folder(&self) -> io::Result<()>;
}

/// The name under which a file is written before it takes its place.
pub(super) fn temporary(name: &str) -> String {
    format!("{name}.tmp")
}

/// Puts `bytes` in the place of a file: whenever this ends, the file is the old one or the new one.
pub(super) fn replace(files: &dyn Files, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary(name);
    files.remove(&temporary)?;
    let placed = files
        .create(&temporary, bytes)
        .and_then(|()| files.rename(&temporary, name));
    if placed.is_err() {
        // A full disk needs the room; what stays is taken away by the next try.
        let _ = files.remove(&temporary);
    }
    placed?;
    files.sync_folder()
}

const LOCK: &str = "lock";

/// A folder on a disk.
pub(super) struct Disk {
    folder: PathBuf,
    /// Held open: the lock goes with the process, however that ends.
    lock: Option<File>,
    /// Brings a file or a folder down to the disk.
    sync: fn(&File) -> io::Result<()>,
}

impl Disk {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            lock: None,
            sync: File::sync_all,
        }
    }

    /// For tests of what does not depend on the disk's own memory: waiting for it takes long.
    #[cfg(test)]
    pub(super) fn without_sync(folder: &Path) -> Self {
        Self {
            sync: |_| Ok(()),
            ..Self::new(folder)
        }
    }

    fn make_folder(&self) -> io::Result<()> {
        if self.folder.is_dir() {
            return Ok(());
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        match self.folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => (self.sync)(&File::open(parent)?),
            _ => Ok(()),
        }
    }

    /// The lock's file, also on a disk that cannot be written to.
    fn open_lock(&self) -> io::Result<File> {
        let path = self.folder.join(LOCK);
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .or_else(|_| File::open(&path))
    }
}

impl Files for Disk {
    fn prepare(&mut self) -> io::Result<()> {
        self.make_folder()?;
        if self.lock.is_some() {
            return Ok(());
        }
        // Without a lock, on a disk that has none, two nodes in one folder are merely not noticed.
        let Ok(lock) = self.open_lock() else {
            return Ok(());
        };
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            let kind = io::ErrorKind::ResourceBusy;
            return Err(io::Error::new(kind, "in use by another process"));
        }
        self.lock = Some(lock);
        Ok(())
    }

    fn read(&self, name: &str, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        let path = self.folder.join(name);
        // Opening a pipe would wait for whoever writes to it.
        if std::fs::symlink_metadata(&path).is_ok_and(|there| !there.is_file()) {
            let what = format!("{name} is no regular file");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max {
            return Err(io::Error::other(Damage::TooLarge { bytes_max }));
        }
        Ok(Some(bytes))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(self.folder.join(name))?;
        file.write_all(bytes)?;
        (self.sync)(&file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        (self.sync)(&File::open(&self.folder)?)
    }
}
