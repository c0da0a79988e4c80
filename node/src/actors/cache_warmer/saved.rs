//! The list on disk of what is asked for most.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;
use weir_core::warming::{Asked, LIST_BYTES_MAX, read_hot_list, write_hot_list};

use crate::events::{Events, Kind};

/// In the node's folder.
const NAME: &str = "cache-hot-list";

/// The list, and what is on the disk of it.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    path: Option<PathBuf>,
    /// As it was written last; one write at a time.
    last: Arc<Mutex<Vec<u8>>>,
}

impl Saved {
    /// In this folder.
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self {
            path: folder.map(|folder| folder.join(NAME)),
            last: Arc::default(),
        }
    }

    /// What was written last, at most so many; nothing of a list that is damaged.
    pub(super) fn read(&self, most: usize, events: &Events) -> Vec<Asked> {
        let Some(path) = self.path.as_deref().filter(|_| most > 0) else {
            return Vec::new();
        };
        let why = match read(path) {
            Ok(None) => return Vec::new(),
            Ok(Some(bytes)) => match read_hot_list(&bytes) {
                Ok(mut list) => {
                    list.truncate(most);
                    return list;
                }
                Err(damaged) => damaged.to_string(),
            },
            Err(error) => error.to_string(),
        };
        tracing::warn!(path = %path.display(), why, "what was asked for most is not known");
        events.record(Kind::CacheHotListDamaged, events.node(), [("why", why)]);
        Vec::new()
    }

    /// Writes the list if it is another one. Nothing is no list: what the process before left stays.
    pub(super) fn write(&self, list: Vec<Asked>) -> impl Future<Output = ()> + 'static {
        let this = self.clone();
        async move {
            let Some(path) = this.path.filter(|_| !list.is_empty()) else {
                return;
            };
            let mut last = this.last.lock().await;
            let bytes = write_hot_list(&list);
            if *last == bytes {
                return;
            }
            let written = bytes.clone();
            let kept = tokio::task::spawn_blocking(move || keep(&path, &written)).await;
            match kept.map_err(io::Error::other).flatten() {
                Ok(()) => *last = bytes,
                Err(error) => tracing::warn!(%error, "what is asked for most is not on disk"),
            }
        }
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // Opening a pipe would wait for whoever writes to it.
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_file() => {}
        Ok(_) => return Err(io::Error::other("it is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(LIST_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Whole or not at all, also when the machine stops meanwhile.
fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let new = path.with_extension("new");
    // What a process before left, or somebody put there, is not written through.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}
