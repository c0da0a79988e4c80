//! A request's body on its way to the backend.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

/// Who keeps an upload waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UploadState {
    /// The backend has not taken what there is.
    WaitingForBackend,
    /// The client has not sent more.
    WaitingForClient,
    /// The client broke off or broke the framing.
    ClientFailed,
    /// All of it was handed to the backend's connection.
    Done,
}

/// How far an upload is; shared by the body, which the backend's connection owns, and the request.
#[derive(Debug)]
pub(super) struct UploadProgress {
    state: Cell<UploadState>,
    since: Cell<Instant>,
    bytes: Cell<u64>,
    cut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Why an upload ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// The client's stream failed.
    #[error("the client broke off")]
    Client(#[source] hyper::Error),
    /// Nobody waits for the answer any more.
    #[error("cut")]
    Cut(#[source] h2::Error),
}

impl UploadProgress {
    /// Ends the upload, which has no end of its own once its answer has ended early.
    pub(super) fn cut(&self) {
        self.cut.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn state(&self) -> UploadState {
        self.state.get()
    }

    pub(super) fn since(&self) -> Instant {
        self.since.get()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    fn enter(&self, state: UploadState) {
        self.state.set(state);
        self.since.set(Instant::now());
    }
}

/// The body that a backend's connection reads.
#[derive(Debug)]
pub(super) struct UploadBody(Option<Streamed>);

#[derive(Debug)]
struct Streamed {
    from_client: Incoming,
    progress: Rc<UploadProgress>,
}

impl UploadBody {
    /// No body at all.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// The client's body; nothing of it is read before the backend's connection asks.
    pub(super) fn new(from_client: Incoming, now: Instant) -> (Self, Option<Rc<UploadProgress>>) {
        if from_client.is_end_stream() {
            return (Self::none(), None);
        }
        let progress = Rc::new(UploadProgress {
            state: Cell::new(UploadState::WaitingForBackend),
            since: Cell::new(now),
            bytes: Cell::new(0),
            cut: Cell::new(false),
            waker: RefCell::default(),
        });
        let body = Self(Some(Streamed {
            from_client,
            progress: Rc::clone(&progress),
        }));
        (body, Some(progress))
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Some(Streamed {
            from_client,
            progress,
        }) = &mut self.0
        else {
            return Poll::Ready(None);
        };
        if progress.cut.get() {
            let cancelled = h2::Error::from(h2::Reason::CANCEL);
            return Poll::Ready(Some(Err(UploadError::Cut(cancelled))));
        }
        let mut polled = Pin::new(from_client).poll_frame(cx);
        match &mut polled {
            Poll::Pending => {
                progress.waker.replace(Some(cx.waker().clone()));
                if progress.state() != UploadState::WaitingForClient {
                    progress.enter(UploadState::WaitingForClient);
                }
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    weir_core::proxy::strip_trailers(trailers);
                }
                let len = frame.data_ref().map_or(0, Bytes::len) as u64;
                progress.bytes.set(progress.bytes.get() + len);
                progress.enter(UploadState::WaitingForBackend);
            }
            Poll::Ready(Some(Err(_))) => progress.enter(UploadState::ClientFailed),
            Poll::Ready(None) => progress.enter(UploadState::Done),
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(UploadError::Client)))
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|streamed| streamed.from_client.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |streamed| {
            streamed.from_client.size_hint()
        })
    }
}

impl Drop for UploadBody {
    fn drop(&mut self) {
        // A body of known length is dropped after its last byte without being asked for its end.
        if let Some(Streamed {
            from_client,
            progress,
        }) = &self.0
            && from_client.is_end_stream()
            && progress.state() != UploadState::ClientFailed
        {
            progress.enter(UploadState::Done);
        }
    }
}
