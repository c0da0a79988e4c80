//! A disk that stops working after so many operations.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::actors::config_agent::last_known_good::files::{Disk, Files};

/// What happens once the operations are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The process was killed: nothing happens any more, and what was being written is half there.
    Dead,
    /// The machine lost its power: as with [`Fault::Dead`], and names that were not made safe are the old ones.
    PowerLost,
    /// Files can be made but not filled.
    Full,
    /// Nothing can be changed.
    ReadOnly,
}

/// How many operations that change something are left; shared with the test.
pub(super) type Left = Arc<AtomicUsize>;

/// A disk with a fault.
pub(super) struct Faulty {
    disk: Disk,
    fault: Fault,
    left: Left,
    folder: PathBuf,
    /// What names stood for before they were changed, as long as that is not safe.
    unsafe_names: RefCell<Vec<(String, Option<Vec<u8>>)>>,
}

impl Faulty {
    pub(super) fn boxed(folder: &Path, fault: Fault, left: usize) -> (Box<Self>, Left) {
        let left = Arc::new(AtomicUsize::new(left));
        let faulty = Self {
            disk: Disk::without_sync(folder),
            fault,
            left: Arc::clone(&left),
            folder: folder.to_owned(),
            unsafe_names: RefCell::default(),
        };
        (Box::new(faulty), left)
    }

    /// Whether one more change goes through.
    fn change(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        let order = Ordering::Relaxed;
        let goes_through = self.left.fetch_update(order, order, one_less).is_ok();
        if !goes_through && self.fault == Fault::PowerLost {
            for (name, before) in self.unsafe_names.take().into_iter().rev() {
                let path = self.folder.join(name);
                match before {
                    Some(bytes) => std::fs::write(path, bytes).unwrap(),
                    None => std::fs::remove_file(path).unwrap(),
                }
            }
        }
        goes_through
    }

    fn note_before(&self, name: &str) {
        let before = std::fs::read(self.folder.join(name)).ok();
        self.unsafe_names
            .borrow_mut()
            .push((name.to_owned(), before));
    }

    fn error(&self) -> io::Error {
        match self.fault {
            Fault::Dead | Fault::PowerLost => io::Error::other("dead"),
            Fault::Full => io::ErrorKind::StorageFull.into(),
            Fault::ReadOnly => io::ErrorKind::ReadOnlyFilesystem.into(),
        }
    }

    fn is_dead(&self) -> bool {
        matches!(self.fault, Fault::Dead | Fault::PowerLost)
            && self.left.load(Ordering::Relaxed) == 0
    }
}

impl Files for Faulty {
    fn prepare(&mut self) -> io::Result<()> {
        self.disk.prepare()
    }

    fn read(&self, name: &str, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        if self.is_dead() {
            return Err(self.error());
        }
        self.disk.read(name, bytes_max)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.change() {
            return self.disk.create(name, bytes);
        }
        if self.fault != Fault::ReadOnly {
            // A dead process that left a file half written cannot have left a second one.
            let _ = self.disk.create(name, &bytes[..bytes.len() / 2]);
        }
        Err(self.error())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if self.change() {
            self.note_before(to);
            return self.disk.rename(from, to);
        }
        Err(self.error())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if self.change() || self.fault == Fault::Full {
            if self.folder.join(name).exists() && !name.ends_with(".tmp") {
                self.note_before(name);
            }
            return self.disk.remove(name);
        }
        Err(self.error())
    }

    fn sync_folder(&self) -> io::Result<()> {
        if self.change() {
            self.unsafe_names.take();
            return self.disk.sync_folder();
        }
        Err(self.error())
    }
}
