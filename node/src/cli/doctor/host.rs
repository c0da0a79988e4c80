//! What the host says of itself: `/proc/sys`, limits, who keeps the clock, room on disks.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};
use rustix::process::{Resource, getrlimit};
use weir_core::doctor::{Daemon, Folder, OpenFiles, Parameters, Read, Space};

use crate::cli::control_plane::StorePlace;
use crate::config::Config;

/// Where the kernel shows its parameters.
pub(super) const PROC: &str = "/proc/sys";
/// Bytes of one parameter; more is none.
const PARAMETER_BYTES_MAX: u64 = 4_096;

/// Files that daemons make, and what they mean.
const SYNCHRONISED: [(&str, &str); 1] =
    [("run/systemd/timesync/synchronized", "systemd-timesyncd")];
const RUNNING: [(&str, &str); 5] = [
    ("run/chrony/chronyd.pid", "chronyd"),
    ("run/chronyd.pid", "chronyd"),
    ("run/ntpd.pid", "ntpd"),
    ("run/openntpd.pid", "ntpd"),
    ("run/ptp4l.pid", "ptp4l"),
];

/// Every parameter that is judged, below a folder laid out as `/proc/sys` is.
pub(super) fn parameters(root: &Path) -> Parameters {
    let read = |name: &'static str| (name, read(&root.join(name.replace('.', "/"))));
    weir_core::doctor::parameters().map(read).collect()
}

fn read(path: &Path) -> Read {
    use io::Read as _;
    let mut text = String::new();
    let opened = std::fs::File::open(path);
    match opened.and_then(|file| file.take(PARAMETER_BYTES_MAX).read_to_string(&mut text)) {
        Ok(_) => Read::Said(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Read::Absent,
        Err(error) => Read::Failed(error.to_string()),
    }
}

/// Limits of this process, which a node that is started from here inherits.
pub(super) fn open_files() -> OpenFiles {
    let limit = getrlimit(Resource::Nofile);
    OpenFiles {
        soft: limit.current,
        hard: limit.maximum,
    }
}

/// Who keeps the clock of the system that has its root there.
pub(super) fn daemon(root: &Path) -> Daemon {
    let there = |(path, _): &&(&str, &'static str)| root.join(path).exists();
    let synchronised = SYNCHRONISED.iter().find(there);
    let running = || RUNNING.iter().find(there);
    match synchronised {
        Some((_, name)) => Daemon::Synchronised(name),
        None => running().map_or(Daemon::None, |(_, name)| Daemon::Running(name)),
    }
}

/// Folders that a node with this configuration, and a control plane with this store, write to.
pub(super) fn folders(config: &Config, store: Option<&StorePlace>) -> Vec<Folder> {
    let data = config.node.data_dir.as_ref();
    let mut named: Vec<(&str, &PathBuf)> = data
        .map(|path| ("node.data_dir", path))
        .into_iter()
        .collect();
    named.extend(config.logs.dir.as_ref().map(|path| ("logs.dir", path)));
    if let Some(StorePlace::Embedded(path)) = store {
        named.push(("--store", path));
    }
    named
        .into_iter()
        .map(|(key, path)| folder(key, path))
        .collect()
}

fn folder(key: &str, path: &Path) -> Folder {
    Folder {
        key: key.to_owned(),
        path: path.display().to_string(),
        space: space(path).map_err(|error| error.to_string()),
    }
}

/// The file system of a folder, or of the parent in which it will be made.
fn space(path: &Path) -> io::Result<Space> {
    let is_there = path.exists();
    let absolute = std::path::absolute(path)?;
    let there = absolute.ancestors().find(|parent| parent.exists());
    let there = there.unwrap_or(Path::new("/"));
    if !there.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    let said = statvfs(there)?;
    Ok(Space {
        bytes_free: said.f_bavail.saturating_mul(said.f_frsize),
        bytes: said.f_blocks.saturating_mul(said.f_frsize),
        files_free: said.f_favail,
        files: said.f_files,
        is_writable: access(there, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
        is_there,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_below_any_root() {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &[u8]| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        file("net/core/somaxconn", b"4096\n");
        file("net/core/rmem_max", &[b'1'; 10_000]);
        file("net/core/wmem_max", b"\xff\xfe");
        std::fs::create_dir_all(root.path().join("fs/file-max")).unwrap();
        let read = parameters(root.path());
        assert_eq!(read["net.core.somaxconn"], Read::Said("4096\n".to_owned()));
        assert_eq!(read["net.netfilter.nf_conntrack_max"], Read::Absent);
        assert!(matches!(&read["net.core.rmem_max"], Read::Said(text) if text.len() == 4_096));
        assert!(matches!(&read["net.core.wmem_max"], Read::Failed(_)));
        assert!(matches!(&read["fs.file-max"], Read::Failed(_)));
    }

    #[test]
    fn a_daemon_is_known_by_the_file_that_it_makes() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(daemon(root.path()), Daemon::None);
        std::fs::create_dir_all(root.path().join("run/chrony")).unwrap();
        std::fs::write(root.path().join("run/chrony/chronyd.pid"), "1").unwrap();
        assert_eq!(daemon(root.path()), Daemon::Running("chronyd"));
        std::fs::create_dir_all(root.path().join("run/systemd/timesync")).unwrap();
        std::fs::write(root.path().join("run/systemd/timesync/synchronized"), "").unwrap();
        assert_eq!(
            daemon(root.path()),
            Daemon::Synchronised("systemd-timesyncd")
        );
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_its_parent() {
        let root = tempfile::tempdir().unwrap();
        let found = space(&root.path().join("a/b")).unwrap();
        assert!(!found.is_there && found.is_writable && found.bytes > 0);
        assert!(space(root.path()).unwrap().is_there);
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(space(&file.join("below")).is_err());
    }
}
