//! The next bytes of a file, made ready while the client takes those before.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use weir_core::files::Stamp;

use super::super::answer::Reason;
use super::body::Limits;
use super::sendfile::bring_in;
use super::{disk, off_core};

/// Bytes of one read. A body holds at most two of them: one that the client takes, one ahead.
pub(super) const READ_BYTES: u64 = 128 << 10;
/// Bytes that are brought into memory at once to be sent from there, which take none of the node's.
pub(super) const BROUGHT_IN_BYTES: u64 = 2 << 20;

/// An open file in the state that is sent.
pub(super) struct Source {
    pub(super) file: Arc<OwnedFd>,
    pub(super) stamp: Stamp,
    pub(super) permits: Arc<Semaphore>,
    /// For `sendfile`, where it is wanted.
    pub(super) nowhere: Option<Arc<OwnedFd>>,
}

/// Bytes that a core may touch.
pub(super) enum Ready {
    Read(Bytes),
    /// They are in memory and can be sent from there.
    BroughtIn(Range<u64>),
    /// They cannot be sent; these were read, and those are still to be.
    Unfit(Bytes, Range<u64>),
}

type Chunk = Result<Ready, Reason>;

/// A chunk that is coming or there.
pub(super) enum Ahead {
    Coming(Pin<Box<dyn Future<Output = Chunk>>>),
    Here(Chunk),
}

impl Ahead {
    /// Begins with a chunk that is to be read, or sent.
    pub(super) fn begin(
        source: &Source,
        limits: &Limits,
        chunk: Range<u64>,
        sends: bool,
        cx: &mut Context<'_>,
    ) -> Self {
        let (file, stamp) = (Arc::clone(&source.file), source.stamp);
        let nowhere = source.nowhere.clone().filter(|_| sends);
        let due = limits.due(Instant::now());
        let permits = Arc::clone(&source.permits);
        let coming = off_core(permits, due, move || match nowhere {
            Some(nowhere) => ready_to_send(&nowhere, &file, &stamp, chunk),
            None => disk::read_range(&*file, &stamp, chunk).map(Ready::Read),
        });
        let mut ahead = Self::Coming(Box::pin(coming));
        // It begins when it is first asked for.
        if let Poll::Ready(chunk) = ahead.poll(cx) {
            ahead = Self::Here(chunk);
        }
        ahead
    }

    /// The chunk, once.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Chunk> {
        match self {
            Self::Coming(coming) => coming.as_mut().poll(cx),
            Self::Here(chunk) => {
                let gone = Err(Reason::FileError);
                Poll::Ready(std::mem::replace(chunk, gone))
            }
        }
    }
}

fn ready_to_send(nowhere: &OwnedFd, file: &OwnedFd, stamp: &Stamp, chunk: Range<u64>) -> Chunk {
    if bring_in(nowhere, file, stamp, &chunk)? {
        return Ok(Ready::BroughtIn(chunk));
    }
    let end = chunk.end.min(chunk.start + READ_BYTES);
    let bytes = disk::read_range(file, stamp, chunk.start..end)?;
    Ok(Ready::Unfit(bytes, end..chunk.end))
}
