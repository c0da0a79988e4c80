//! Folders that a node writes to: there, writable, with room.

use super::finding::{Area, Finding, Severity};
use crate::units::format_bytes;

/// With less nothing more is written for long.
const BYTES_LEAST: u64 = 64 << 20;
const BYTES_LITTLE: u64 = 1 << 30;
const PERCENT_LITTLE: u64 = 5;

/// A folder that a node writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// The configuration's key.
    pub key: String,
    /// The folder.
    pub path: String,
    /// What its file system says; else why it could not be asked.
    pub space: Result<Space, String>,
}

/// A file system, as seen by whoever may not use what is reserved for root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that are free.
    pub bytes_free: u64,
    /// Bytes in all.
    pub bytes: u64,
    /// Files that may still be made.
    pub files_free: u64,
    /// Files in all; 0 where the file system has no such bound.
    pub files: u64,
    /// Whether it may be written to.
    pub is_writable: bool,
    /// The folder itself is there; else its nearest parent was asked, in which it is made.
    pub is_there: bool,
}

pub(super) fn judge(folder: &Folder) -> Finding {
    let check = format!("{} ({})", folder.key, folder.path);
    let (key, path) = (&folder.key, &folder.path);
    let space = match &folder.space {
        Ok(space) => space,
        Err(why) => {
            return Finding::ok(Area::Disk, check, why).bad(
                Severity::Error,
                "what should survive the node is not kept there",
                format!("`install -d -o weir {path}`, or another folder for `{key}`"),
            );
        }
    };
    let is_there = if space.is_there { "" } else { ", not made yet" };
    let found = format!(
        "{} of {} free{}{is_there}",
        format_bytes(rounded(space.bytes_free)),
        format_bytes(rounded(space.bytes)),
        files(space),
    );
    let finding = Finding::ok(Area::Disk, check, found);
    let free_up = format!(
        "`du -xh {path} | sort -h | tail` shows what to remove; or another folder for `{key}`"
    );
    if !space.is_writable {
        let fix = format!("`chown -R weir {path}` for the user that runs the node");
        return finding.bad(Severity::Error, "the node cannot write there", fix);
    }
    let no_files = space.files > 0 && space.files_free == 0;
    let few_files = space.files > 0 && share(space.files_free, space.files) < PERCENT_LITTLE;
    let little =
        space.bytes_free < BYTES_LITTLE && share(space.bytes_free, space.bytes) < PERCENT_LITTLE;
    if space.bytes_free < BYTES_LEAST || no_files {
        let effect = "profiles, purges and logs are not kept: the next start knows less";
        finding.bad(Severity::Error, effect, free_up)
    } else if little || few_files {
        let effect = "the disk is soon full; what is then not kept is lost";
        finding.bad(Severity::Warning, effect, free_up)
    } else {
        finding
    }
}

fn files(space: &Space) -> String {
    match space.files {
        0 => String::new(),
        files => format!(", {} % of {files} inodes", share(space.files_free, files)),
    }
}

/// Whole percent.
fn share(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}

/// To whole MiB, so that it is short to read.
const fn rounded(bytes: u64) -> u64 {
    match bytes {
        0..=1_048_575 => bytes,
        _ => bytes >> 20 << 20,
    }
}
