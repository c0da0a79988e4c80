//! The folder of a mesh: its logs and, unless told otherwise, everything else. It goes with `weir up`; one whose
//! `weir up` was killed goes with the next start.
//!
//! Who uses a folder has a lock in it: `weir up` one on [`LOCK`], each of its processes one on the log that it writes
//! to, through the file that it was given as standard error. The kernel ends locks with their processes.

use std::fs::{File, read_dir, remove_dir_all, rename, symlink_metadata};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::processes::demo_config;

const PREFIX: &str = "weir-up-";
const LOCK: &str = "lock";
const LOG_ENDING: &str = "log";

/// Where a mesh keeps its logs and, unless told otherwise, everything else.
pub(super) struct RunFolder {
    folder: TempDir,
    _lock: File,
}

impl RunFolder {
    /// A new one. Those that nobody uses any more are taken away.
    pub(super) fn new() -> io::Result<Self> {
        let among = std::env::temp_dir();
        // What cannot be taken away keeps nobody from starting.
        let _ = sweep(&among);
        Self::new_in(&among)
    }

    fn new_in(among: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(among)?;
        let (unlocked, lock) = (folder.path().join("lock.new"), folder.path().join(LOCK));
        let file = File::create(&unlocked)?;
        file.try_lock()?;
        // Under its name it is never without its lock.
        rename(unlocked, lock)?;
        Ok(Self {
            folder,
            _lock: file,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn log_of(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.{LOG_ENDING}"))
    }

    pub(super) fn write_demo(
        &self,
        backends: &[(String, SocketAddr)],
        engines: Option<u32>,
    ) -> io::Result<PathBuf> {
        let path = self.path().join("mesh.toml");
        std::fs::write(&path, demo_config(backends, engines)?)?;
        Ok(path)
    }
}

/// A log for a process to write to, which has a lock on it for as long as the process has it open.
pub(super) fn open_log(path: &Path) -> io::Result<File> {
    let log = File::options().create(true).append(true).open(path)?;
    log.try_lock_shared()?;
    Ok(log)
}

/// Takes away the folders of whoever was killed.
fn sweep(among: &Path) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    for entry in read_dir(among)?.filter_map(Result::ok) {
        let is_named = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let is_own = |found: std::fs::Metadata| found.is_dir() && found.uid() == own;
        if !is_named || !symlink_metadata(entry.path()).is_ok_and(is_own) {
            continue;
        }
        let folder = entry.path();
        if let Some(locks) = unused(&folder) {
            // With its locks, so that nobody else does the same.
            let _ = remove_dir_all(&folder);
            drop(locks);
        }
    }
    Ok(())
}

/// The locks of a folder that nobody uses; `None` while somebody does, or may.
fn unused(folder: &Path) -> Option<Vec<File>> {
    let mut locks = vec![File::open(folder.join(LOCK)).ok()?];
    locks[0].try_lock().ok()?;
    for entry in read_dir(folder).ok()? {
        let path = entry.ok()?.path();
        if path.extension().is_some_and(|ending| ending == LOG_ENDING) {
            let log = File::open(path).ok()?;
            log.try_lock().ok()?;
            locks.push(log);
        }
    }
    Some(locks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_once_neither_its_owner_nor_a_process_of_it_is_there() {
        let among = tempfile::tempdir().unwrap();
        let mesh = RunFolder::new_in(among.path()).unwrap();
        let log = open_log(&mesh.log_of("node-1")).unwrap();
        let path = mesh.path().to_owned();
        let is_there = || {
            sweep(among.path()).unwrap();
            path.exists()
        };
        assert!(is_there());
        let RunFolder { folder, _lock } = mesh;
        let _ = folder.keep();
        drop(log);
        assert!(is_there(), "its owner is there");
        let log = open_log(&path.join("node-1.log")).unwrap();
        drop(_lock);
        assert!(is_there(), "a node of it still writes");
        drop(log);
        assert!(!is_there());
    }

    #[test]
    fn what_only_looks_like_a_folder_of_a_mesh_stays() {
        let among = tempfile::tempdir().unwrap();
        let unlocked = among.path().join("weir-up-new");
        std::fs::create_dir(&unlocked).unwrap();
        let other = among.path().join("other");
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join(LOCK), "").unwrap();
        let link = among.path().join("weir-up-link");
        std::os::unix::fs::symlink(&other, &link).unwrap();
        sweep(among.path()).unwrap();
        assert!(unlocked.exists() && other.exists() && link.exists());
    }
}
