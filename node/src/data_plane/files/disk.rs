//! What is on disk. Everything here blocks: it runs on the blocking pool.

use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, pread};
use weir_core::content_coding::{AcceptEncoding, Coding, DEFAULT_PREFERENCE};
use weir_core::files::{Stamp, Wanted, content_type, is_coded, suffix};

use super::super::answer::Reason;
use super::beneath::{open_beneath, root};
use super::head::{Facts, Looked};
use crate::config::FilesSettings;

/// What is read whole and may be kept.
pub(super) const SMALL_BYTES_MAX: u64 = 64 << 10;
/// Times that a small file is read because it changed while it was.
const READS_MAX: usize = 3;

/// What is looked for.
pub(super) struct Ask {
    pub(super) settings: Arc<FilesSettings>,
    pub(super) wanted: Wanted,
    pub(super) accept: AcceptEncoding,
    /// What need not be read again.
    pub(super) known: Vec<(Stamp, Bytes)>,
}

/// What is there.
pub(super) enum Found {
    File(Box<Looked>),
    /// A directory, and a file was asked for.
    Directory,
}

/// Where the bytes are.
#[derive(Clone)]
pub(super) enum Content {
    Memory(Bytes),
    Disk(Arc<OwnedFd>),
}

/// Why nothing answers.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) reason: Reason,
    /// There is nothing: something else may answer for it.
    pub(super) is_missing: bool,
}

impl From<Reason> for Failed {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            is_missing: reason == Reason::FileNotFound,
        }
    }
}

impl From<Errno> for Failed {
    fn from(errno: Errno) -> Self {
        let reason = match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL => {
                Reason::FileNotFound
            }
            // A socket or a device that nobody serves cannot even be opened.
            Errno::ACCESS
            | Errno::PERM
            | Errno::XDEV
            | Errno::LOOP
            | Errno::NXIO
            | Errno::NODEV => Reason::FileForbidden,
            Errno::MFILE | Errno::NFILE => Reason::OutOfDescriptors,
            errno => {
                tracing::warn!(error = %errno, "a file cannot be read");
                Reason::FileError
            }
        };
        reason.into()
    }
}

/// A regular file that is open.
struct Open {
    file: OwnedFd,
    stamp: Stamp,
}

/// Finds what answers: the file, what was compressed of it, or an index of a directory.
pub(super) fn find(ask: &Ask) -> Result<Found, Failed> {
    let root = root(&ask.settings.root).map_err(|error| {
        let root = ask.settings.root.display();
        tracing::warn!(%root, %error, "the root of files cannot be opened");
        Reason::FileError
    })?;
    if ask.wanted.is_directory {
        return find_index(ask, &root);
    }
    match open_regular(&root, &ask.wanted.path)? {
        Some(original) => ask.read(&root, &ask.wanted.path, original),
        None => Ok(Found::Directory),
    }
}

fn find_index(ask: &Ask, root: &OwnedFd) -> Result<Found, Failed> {
    for name in &ask.settings.index {
        let mut path = ask.wanted.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        match open_regular(root, &path) {
            Ok(Some(original)) => return ask.read(root, &path, original),
            Ok(None) => {}
            Err(failed) if failed.is_missing => {}
            Err(failed) => return Err(failed),
        }
    }
    match open_regular(root, &ask.wanted.path)? {
        // What is in a directory is nobody's business.
        None => Err(Failed {
            reason: Reason::FileForbidden,
            is_missing: true,
        }),
        Some(_) => Err(Reason::FileNotFound.into()),
    }
}

impl Ask {
    fn read(&self, root: &OwnedFd, path: &[u8], original: Open) -> Result<Found, Failed> {
        let of_original = original.stamp;
        let mut opened = vec![(Coding::Identity, original)];
        if self.settings.precompressed && !is_coded(path) {
            opened.extend(coded(root, path, &of_original));
        }
        let stamps = opened.iter().map(|(coding, open)| (*coding, open.stamp));
        let facts = Facts {
            content_type: content_type(path, &self.settings.charset),
            variants: stamps.collect(),
        };
        let (coding, _) = facts.choose(&self.accept);
        let at = opened.iter().position(|(of, _)| *of == coding);
        let (_, Open { file, stamp }) = opened.swap_remove(at.unwrap_or(0));
        let known = self.known.iter().find(|(of, _)| *of == stamp);
        let (stamp, content) = match known {
            Some((_, bytes)) => (stamp, Content::Memory(bytes.clone())),
            None if stamp.bytes > SMALL_BYTES_MAX => (stamp, Content::Disk(Arc::new(file))),
            None => read_small(&file, stamp)?,
        };
        Ok(Found::File(Box::new(Looked {
            facts,
            coding,
            stamp,
            content,
        })))
    }
}

/// What was compressed beforehand and is not older than the original, the most wanted first.
fn coded(root: &OwnedFd, path: &[u8], original: &Stamp) -> Vec<(Coding, Open)> {
    let beside = |coding: Coding| {
        let path = [path, suffix(coding)?.as_bytes()].concat();
        let open = open_regular(root, &path).ok()??;
        open.stamp.is_usable_for(original).then_some((coding, open))
    };
    DEFAULT_PREFERENCE.into_iter().filter_map(beside).collect()
}

/// A regular file; none if it is a directory. Nothing else is served.
fn open_regular(root: &OwnedFd, path: &[u8]) -> Result<Option<Open>, Failed> {
    let file = open_beneath(root, path)?;
    let stat = fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let stamp = stamp_of(&stat);
            Ok(Some(Open { file, stamp }))
        }
        FileType::Directory => Ok(None),
        _ => Err(Reason::FileForbidden.into()),
    }
}

pub(super) fn stamp_of(stat: &rustix::fs::Stat) -> Stamp {
    let modified_ns = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
    Stamp {
        device: stat.st_dev,
        inode: stat.st_ino,
        bytes: u64::try_from(stat.st_size).unwrap_or(0),
        modified_ns,
    }
}

/// All of a small file, in one of its states.
fn read_small(file: &OwnedFd, mut stamp: Stamp) -> Result<(Stamp, Content), Failed> {
    for _ in 0..READS_MAX {
        match read_range(file, &stamp, 0..stamp.bytes) {
            Err(Reason::FileChanged) => stamp = stamp_of(&fstat(file)?),
            read => return Ok((stamp, Content::Memory(read?))),
        }
        if stamp.bytes > SMALL_BYTES_MAX {
            break;
        }
    }
    Err(Reason::FileChanged.into())
}

/// These bytes of the file, as long as it is in the state that they were asked of.
pub(super) fn read_range(
    file: impl AsFd,
    stamp: &Stamp,
    range: Range<u64>,
) -> Result<Bytes, Reason> {
    let wanted = usize::try_from(range.end - range.start).map_err(|_| Reason::FileError)?;
    let mut bytes = Vec::with_capacity(wanted);
    while bytes.len() < wanted {
        let at = range.start + bytes.len() as u64;
        match pread(&file, spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(Reason::FileChanged),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                tracing::warn!(%error, "a file cannot be read");
                return Err(Reason::FileError);
            }
        }
    }
    bytes.truncate(wanted);
    let now = fstat(&file).map_err(|_| Reason::FileError)?;
    match stamp.is_torn(&stamp_of(&now)) {
        true => Err(Reason::FileChanged),
        false => Ok(bytes.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_becomes_a_reason_and_only_what_is_missing_falls_back() {
        for (errno, reason, is_missing) in [
            (Errno::NOENT, Reason::FileNotFound, true),
            (Errno::NOTDIR, Reason::FileNotFound, true),
            (Errno::NAMETOOLONG, Reason::FileNotFound, true),
            (Errno::ACCESS, Reason::FileForbidden, false),
            (Errno::XDEV, Reason::FileForbidden, false),
            (Errno::LOOP, Reason::FileForbidden, false),
            (Errno::NXIO, Reason::FileForbidden, false),
            (Errno::MFILE, Reason::OutOfDescriptors, false),
            (Errno::IO, Reason::FileError, false),
        ] {
            let failed = Failed::from(errno);
            assert_eq!(
                (failed.reason, failed.is_missing),
                (reason, is_missing),
                "{errno}"
            );
        }
    }

    #[test]
    fn a_read_ends_where_the_file_is_no_longer_what_it_was() {
        use std::os::unix::fs::FileExt as _;
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"0123456789", 0).unwrap();
        let before = stamp_of(&fstat(&file).unwrap());
        assert_eq!(read_range(&file, &before, 2..5).unwrap(), "234");
        file.write_all_at(b"more", 10).unwrap();
        assert_eq!(read_range(&file, &before, 7..10).unwrap(), "789");
        file.set_len(8).unwrap();
        for range in [7..10, 0..3] {
            assert_eq!(read_range(&file, &before, range), Err(Reason::FileChanged));
        }
    }
}
