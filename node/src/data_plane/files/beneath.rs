//! Opens what is below a directory and nothing else.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat, openat2};
use rustix::io::Errno;

/// Times that a look-up is made again because something was renamed meanwhile.
const RACES_MAX: usize = 8;
/// What is no regular file must neither be waited for nor become the node's terminal.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
const STEP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The directory itself, which may be reached through links.
pub(super) fn root(path: &std::path::Path) -> Result<OwnedFd, Errno> {
    open(path, STEP, Mode::empty())
}

/// Opens a path below `root` for reading; an empty one is the root. Links are followed as long as they stay below.
///
/// # Errors
/// `EXDEV` for what leads out of the root; else what the system says.
pub(super) fn open_beneath(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..RACES_MAX {
        match openat2(root, path, READ, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Filters of system calls say either of what they do not know.
            Err(Errno::NOSYS | Errno::PERM) => return open_stepwise(root, path),
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

/// The same without `openat2` (Linux before 5.6): name by name, and no link is followed.
fn open_stepwise(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let last = names.pop().ok_or(Errno::NOENT)?;
    let mut below: Option<OwnedFd> = None;
    for name in names {
        let from = below.as_ref().unwrap_or(root);
        below = Some(open_name(from, name, STEP)?);
    }
    open_name(below.as_ref().unwrap_or(root), last, READ)
}

fn open_name(from: impl AsFd, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    if name == b".." {
        return Err(Errno::XDEV);
    }
    openat(from, name, flags | OFlags::NOFOLLOW, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    type Open = fn(&OwnedFd, &[u8]) -> Result<OwnedFd, Errno>;

    /// A root with a file and a folder, links of every kind, and a secret beside it.
    fn stage() -> (tempfile::TempDir, OwnedFd) {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join("root").join(name);
        std::fs::create_dir_all(at("sub")).unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        std::fs::write(at("file"), "file").unwrap();
        std::fs::write(at("sub/inner"), "inner").unwrap();
        symlink("../secret", at("out")).unwrap();
        symlink(folder.path().join("secret"), at("absolute")).unwrap();
        symlink("..", at("up")).unwrap();
        symlink("/proc/self/root", at("magic")).unwrap();
        symlink("self", at("self")).unwrap();
        symlink("sub/inner", at("within")).unwrap();
        let opened = root(&folder.path().join("root")).unwrap();
        (folder, opened)
    }

    #[test]
    fn nothing_outside_is_opened_with_or_without_the_kernels_help() {
        let (_folder, root) = stage();
        for open in [open_beneath as Open, open_stepwise] {
            assert!(open(&root, b"file").is_ok());
            assert!(open(&root, b"sub/inner").is_ok());
            assert!(open(&root, b".").is_ok());
            for path in [
                "out",
                "absolute",
                "up/secret",
                "up",
                "magic/etc/passwd",
                "self",
                "..",
                "../secret",
                "sub/../../secret",
                "/etc/passwd",
            ] {
                assert!(open(&root, path.as_bytes()).is_err(), "{path}");
            }
            assert_eq!(open(&root, b"file/x").err(), Some(Errno::NOTDIR));
            assert_eq!(open(&root, b"missing").err(), Some(Errno::NOENT));
        }
    }

    #[test]
    fn links_within_are_followed_only_where_the_kernel_watches_them() {
        let (_folder, root) = stage();
        assert!(open_beneath(&root, b"within").is_ok());
        assert_eq!(open_stepwise(&root, b"within").err(), Some(Errno::LOOP));
    }
}
