//! The pieces of a body on their way into a fill.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::future::poll_fn;
use http_body::Body as _;
use tokio::time::{Instant, timeout_at};
use weir_cache::{Broken, FillWriter};

use super::super::body::ResponseBody;

/// For so long readers of a body that is not kept may hold up others, for each [`REPRIEVE_BYTES`] that come.
const HOLD_UP_MAX: Duration = Duration::from_secs(5);
const REPRIEVE_BYTES: u64 = 1 << 20;
/// Between two looks at whether somebody is held up.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Reads pieces as there is room for them.
pub(super) struct Pieces {
    /// Since when somebody was held up, and how many bytes had come.
    held_up_since: Option<(Instant, u64)>,
    bytes: u64,
}

impl Pieces {
    pub(super) const fn new() -> Self {
        Self {
            held_up_since: None,
            bytes: 0,
        }
    }

    /// The next piece of the body, once there is room for it; `None` after the last one.
    pub(super) async fn next(
        &mut self,
        body: &mut ResponseBody,
        writer: &mut FillWriter,
    ) -> Option<Result<Bytes, Broken>> {
        loop {
            if self.room(writer).await.is_err() {
                return Some(Err(Broken));
            }
            let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
            match frame {
                // Trailers are not stored (RFC 9111 section 3).
                Ok(frame) => match frame.into_data() {
                    Ok(piece) => {
                        self.bytes += piece.len() as u64;
                        return Some(Ok(piece));
                    }
                    Err(_) => continue,
                },
                Err(_) => return Some(Err(Broken)),
            }
        }
    }

    /// Waits for room, and cuts off readers that hold up others for too long.
    async fn room(&mut self, writer: &mut FillWriter) -> Result<(), Broken> {
        if let Some((_, bytes)) = self.held_up_since
            && self.bytes >= bytes + REPRIEVE_BYTES
        {
            self.held_up_since = None;
        }
        let at_once = poll_fn(|cx| match writer.poll_room(cx) {
            Poll::Ready(room) => Poll::Ready(Some(room)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(room) = at_once.await {
            return room;
        }
        loop {
            let look = Instant::now() + LOOK_INTERVAL;
            if let Ok(room) = timeout_at(look, poll_fn(|cx| writer.poll_room(cx))).await {
                return room;
            }
            let now = Instant::now();
            if !writer.is_held_up() {
                continue;
            }
            let (since, _) = *self.held_up_since.get_or_insert((now, self.bytes));
            if now - since >= HOLD_UP_MAX {
                let cut = writer.cut_laggards();
                tracing::debug!(cut, "readers held up others");
                self.held_up_since = None;
            }
        }
    }
}
