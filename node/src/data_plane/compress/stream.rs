//! An answer that is compressed on its way to one client.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use weir_cache::codings::{CompressedBody, Encoder, Level, streamed_memory_bytes_max};
use weir_core::content_coding::Coding;

use super::super::activity::Running;
use super::super::body::{BodyError, ResponseBody};
use super::super::connection::Client;
use super::super::core::Core;
use super::super::stream_watch::StreamWatch;

/// Memory for the compressors of one core: of brotli some 16 at a time, of gzip some 270.
const BYTES_MAX: usize = 128 << 20;

/// What the compressors of one core take.
#[derive(Debug, Default)]
pub(in super::super) struct Compressors {
    bytes: Cell<usize>,
}

impl Compressors {
    /// Takes so much, if there is.
    fn take(&self, bytes: usize) -> bool {
        let taken = self.bytes.get() + bytes;
        let has_room = taken <= BYTES_MAX;
        if has_room {
            self.bytes.set(taken);
        }
        has_room
    }

    fn give_back(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() - bytes);
    }
}

/// Memory that one compressor may take, until dropped.
pub(in super::super) struct Room {
    core: Rc<Core>,
    bytes: usize,
}

impl Room {
    /// Room for one stream, if there is.
    pub(super) fn take(core: &Rc<Core>, coding: Coding, level: Level) -> Option<Self> {
        let bytes = streamed_memory_bytes_max(coding, level);
        core.compressors.take(bytes).then(|| Self {
            core: Rc::clone(core),
            bytes,
        })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.core.compressors.give_back(self.bytes);
    }
}

/// An answer's body, compressed. The accounts of the exchange are settled within, at the backend's last byte.
pub(in super::super) struct StreamBody {
    body: CompressedBody<ResponseBody>,
    watch: Option<Rc<StreamWatch>>,
    _room: Room,
    /// The client's connection is not idle before the compressor has given out its rest.
    _running: Running,
}

impl StreamBody {
    pub(super) fn new(body: ResponseBody, encoder: Encoder, room: Room, client: &Client) -> Self {
        Self {
            watch: body.watch(),
            body: CompressedBody::new(body, encoder),
            _room: room,
            _running: Running::begin(&client.activity),
        }
    }

    pub(in super::super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) => {
                // Also of what was given out because the backend pauses.
                if let Some(watch) = &self.watch {
                    watch.clients_turn();
                }
            }
            Poll::Ready(Some(Err(BodyError::Compression(error)))) => {
                tracing::warn!(%error, "an answer was cut");
            }
            _ => {}
        }
        polled
    }

    pub(in super::super) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressors_of_one_core_never_take_more_than_128_mib() {
        for coding in [Coding::Brotli, Coding::Gzip, Coding::Zstd] {
            let compressors = Compressors::default();
            let bytes = streamed_memory_bytes_max(coding, Level::new(4));
            let mut streams = 0;
            while compressors.take(bytes) {
                streams += 1;
                assert!(compressors.bytes.get() <= 128 << 20);
            }
            assert!(streams >= 5, "{coding:?}: {streams}");
            assert!(!compressors.take(bytes), "what is refused is not taken");
            compressors.give_back(bytes);
            assert!(compressors.take(bytes) && !compressors.take(bytes));
            (0..streams).for_each(|_| compressors.give_back(bytes));
            assert_eq!(compressors.bytes.get(), 0);
        }
    }
}
