//! Parts of files in memory before anybody sends them: a core never waits for a disk.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, fstat, fstatfs, open, sendfile};
use rustix::io::Errno;
use weir_core::files::Stamp;

use super::super::super::answer::Reason;
use super::super::disk::stamp_of;

/// Nowhere: what is sent there has been in memory.
pub(in super::super) fn nowhere() -> Option<Arc<OwnedFd>> {
    let opened = open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    opened.ok().map(Arc::new)
}

/// Brings a part of a file into memory, so that whoever sends it does not wait for a disk; without copying it. Blocks.
/// Says no if whoever sends it might have to wait all the same.
///
/// # Errors
/// [`Reason::FileChanged`], [`Reason::FileError`].
pub(in super::super) fn bring_in(
    nowhere: &OwnedFd,
    file: &OwnedFd,
    stamp: &Stamp,
    range: &Range<u64>,
) -> Result<bool, Reason> {
    if !is_local(file) {
        return Ok(false);
    }
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from(range.end - at).map_err(|_| Reason::FileError)?;
        match sendfile(nowhere, file, Some(&mut at), wanted) {
            Ok(0) => return Err(Reason::FileChanged),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::IO) => return Err(Reason::FileError),
            // Not every file system has it.
            Err(_) => return Ok(false),
        }
    }
    let now = fstat(file).map_err(|_| Reason::FileError)?;
    match stamp.is_torn(&stamp_of(&now)) {
        true => Err(Reason::FileChanged),
        false => Ok(true),
    }
}

/// Whether a file is where nothing but its bytes has to be waited for. Others ask a server or a process again whether
/// what is in memory is still right.
pub(super) fn is_local(file: &OwnedFd) -> bool {
    fstatfs(file).is_ok_and(|found| LOCAL.contains(&(found.f_type as u64 & 0xFFFF_FFFF)))
}

/// Numbers of file systems (`linux/magic.h` and those of their own).
const LOCAL: [u64; 11] = [
    0x0000_EF53, // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0xF2F5_2010, // f2fs
    0x2FC1_2FC1, // zfs
    0xCA45_1A4E, // bcachefs
    0x0102_1994, // tmpfs
    0x8584_58F6, // ramfs
    0x794C_7630, // overlayfs
    0x7371_7368, // squashfs
    0xE0F5_E1E2, // erofs
];
