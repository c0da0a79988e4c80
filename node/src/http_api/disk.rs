//! How much room is left where the node keeps what must survive it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::telemetry::metrics::Exposition;

/// The file system of a folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Disk(Option<Arc<Watched>>);

#[derive(Debug)]
struct Watched {
    folder: PathBuf,
    /// A look is under way: one that hangs, on a network file system, is the only one.
    looks: AtomicBool,
    free_bytes: AtomicU64,
    bytes: AtomicU64,
}

impl Disk {
    /// That of the folder, if there is one, looked at for the first time.
    pub fn new(folder: Option<PathBuf>) -> Self {
        let watched = folder.map(|folder| Watched {
            folder,
            looks: AtomicBool::new(false),
            free_bytes: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        if let Some(watched) = &watched {
            watched.look();
        }
        Self(watched.map(Arc::new))
    }

    /// What was found last. Looks again beside that, so nobody waits for a disk.
    pub(super) fn render(&self, text: &mut Exposition) {
        let families = [
            (
                "weir_data_dir_free_bytes",
                "Room on the file system of node.data_dir, as the last scrape found it.",
            ),
            (
                "weir_data_dir_size_bytes",
                "Size of the file system of node.data_dir.",
            ),
        ];
        for (at, (name, help)) in families.into_iter().enumerate() {
            text.family(name, "gauge", help);
            let Some(watched) = &self.0 else { continue };
            let value = match at {
                0 => &watched.free_bytes,
                _ => &watched.bytes,
            };
            text.sample(name, &[], value.load(Ordering::Relaxed));
        }
        let idle = |watched: &&Arc<Watched>| !watched.looks.swap(true, Ordering::AcqRel);
        if let Some(watched) = self.0.as_ref().filter(idle) {
            let watched = Arc::clone(watched);
            tokio::task::spawn_blocking(move || {
                watched.look();
                watched.looks.store(false, Ordering::Release);
            });
        }
    }
}

impl Watched {
    fn look(&self) {
        let Ok(found) = rustix::fs::statvfs(&self.folder) else {
            return;
        };
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        self.free_bytes
            .store(bytes(found.f_bavail), Ordering::Relaxed);
        self.bytes.store(bytes(found.f_blocks), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::TextFormat;

    fn told(disk: &Disk) -> String {
        let mut text = Exposition::new(TextFormat::Prometheus);
        disk.render(&mut text);
        text.into_text()
    }

    #[tokio::test]
    async fn the_room_of_the_folders_disk_is_told_at_the_first_scrape() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(Some(folder.path().to_owned()));
        let text = told(&disk);
        let of = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().parse().unwrap()
        };
        let (free, size) = (
            of("weir_data_dir_free_bytes "),
            of("weir_data_dir_size_bytes "),
        );
        assert!(0 < free && free <= size, "{free} of {size}");
    }

    #[tokio::test]
    async fn without_a_folder_there_are_families_and_no_samples() {
        let text = told(&Disk::new(None));
        assert!(
            text.contains("# TYPE weir_data_dir_free_bytes gauge"),
            "{text}"
        );
        assert!(
            !text.lines().any(|line| line.starts_with("weir_")),
            "{text}"
        );
    }
}
