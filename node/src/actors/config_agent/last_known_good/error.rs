//! What can go wrong.

use std::io;

use weir_core::probation::ContentHash;

use super::{PAYLOAD_BYTES_MAX, TEXT_BYTES_MAX};

/// What kept something from the disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The payload is too large.
    #[error("the payload has {bytes} bytes, more than {PAYLOAD_BYTES_MAX}")]
    PayloadTooLarge {
        /// What it has.
        bytes: usize,
    },
    /// The epoch is too long.
    #[error("the epoch has {bytes} bytes, more than {TEXT_BYTES_MAX}")]
    EpochTooLong {
        /// What it has.
        bytes: usize,
    },
    /// The content is in quarantine.
    #[error("content {hash} is in quarantine: {reason}")]
    Quarantined {
        /// The content.
        hash: ContentHash,
        /// Why it is there.
        reason: String,
    },
    /// Another process has the folder.
    #[error("data_dir is used by another process")]
    InUse,
    /// The folder cannot be used.
    #[error("the folder cannot be used")]
    Folder(#[source] io::Error),
    /// A file was not written; the old one stays.
    #[error("{file} cannot be written")]
    Write {
        /// Its name.
        file: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A slot cannot be read back.
    #[error("{file} cannot be read")]
    Read {
        /// Its name.
        file: &'static str,
        /// What the system says, or a [`super::Damage`].
        source: io::Error,
    },
    /// The disk took longer than the caller may wait; the work goes on.
    #[error("the disk did not answer in time")]
    Late,
    /// The work was given up because the node ends.
    #[error("given up because the node ends")]
    GivenUp,
}

impl Error {
    /// Why a folder could not be prepared.
    pub(super) fn of_folder(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::ResourceBusy => Self::InUse,
            _ => Self::Folder(source),
        }
    }
}
