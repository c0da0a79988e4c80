//! A response's body on its way to the client.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use weir_cache::codings::CodingError;

use super::answer::Reason;
use super::broadcast::ToldBody;
use super::cache::CachedBody;
use super::compress::StreamBody;
use super::exchange::Exchange;
use super::files::{FileBody, SendQueue};
use super::stream_watch::StreamWatch;
use super::upload::UploadState;
use crate::telemetry::logs::InTrace;

/// What a client gets: nothing, a text of the node's own, a file, what the cache holds, or the backend's stream.
pub struct ResponseBody(Content, u128);

enum Content {
    Empty,
    Full(Option<Bytes>),
    Backend(BackendBody),
    Cached(CachedBody),
    Compressed(Box<StreamBody>),
    File(Box<FileBody>),
    Told(Box<ToldBody>),
    /// One whose first bytes were looked at.
    Begun(Option<Bytes>, Box<ResponseBody>),
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The backend's connection failed.
    #[error("the backend broke off")]
    Backend(#[source] hyper::Error),
    /// What was fetched for this client and others broke off.
    #[error("the fetch broke off")]
    Fetch,
    /// It could not be compressed any further.
    #[error("compression failed")]
    Compression(#[from] CodingError),
    /// The node cut it.
    #[error("cut: {}", .0.as_str())]
    Cut(Reason),
}

impl BodyError {
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Backend(_) | Self::Fetch | Self::Compression(_) => Reason::BackendBodyCut,
            Self::Cut(reason) => *reason,
        }
    }
}

impl ResponseBody {
    /// No body.
    pub fn empty() -> Self {
        Self(Content::Empty, 0)
    }

    /// The same, whose lines in the log belong to this trace.
    pub(super) fn in_trace(self, trace_id: u128) -> Self {
        Self(self.0, trace_id)
    }

    /// A short text.
    pub fn full(text: Bytes) -> Self {
        Self(Content::Full(Some(text)), 0)
    }

    /// These bytes, and then the rest.
    pub(super) fn begun(first: Bytes, rest: Self) -> Self {
        Self(Content::Begun(Some(first), Box::new(rest)), 0)
    }

    pub(super) fn cached(body: CachedBody) -> Self {
        Self(Content::Cached(body), 0)
    }

    pub(super) fn compressed(body: StreamBody) -> Self {
        Self(Content::Compressed(Box::new(body)), 0)
    }

    /// What watches the client's HTTP/2 stream while this body is on its way.
    pub(super) fn watch(&self) -> Option<Rc<StreamWatch>> {
        let exchange = match &self.0 {
            Content::Backend(body) => body.exchange.as_deref(),
            Content::Cached(body) => body.exchange(),
            Content::File(body) => body.exchange(),
            Content::Told(body) => body.exchange(),
            Content::Begun(_, rest) => return rest.watch(),
            Content::Empty | Content::Full(_) | Content::Compressed(_) => None,
        };
        exchange?.watch.clone()
    }

    pub(super) fn file(body: FileBody) -> Self {
        Self(Content::File(Box::new(body)), 0)
    }

    /// What takes this body is a connection that writes its frames as they are.
    pub(super) fn goes_by(&mut self, queue: &Arc<SendQueue>) {
        match &mut self.0 {
            Content::File(body) => body.may_go_by(queue),
            Content::Cached(body) => body.may_go_by(queue),
            _ => {}
        }
    }

    pub(super) fn told(body: ToldBody) -> Self {
        Self(Content::Told(Box::new(body)), 0)
    }

    pub(super) fn backend(body: BackendBody) -> Self {
        Self(Content::Backend(body), 0)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let _lines = InTrace::enter(self.1);
        match &mut self.0 {
            Content::Empty => Poll::Ready(None),
            Content::Full(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Content::Backend(body) => body.poll_frame(cx),
            Content::Cached(body) => Pin::new(body).poll_frame(cx),
            Content::Compressed(body) => body.poll_frame(cx),
            Content::File(body) => body.poll_frame(cx),
            Content::Told(body) => body.poll_frame(cx),
            Content::Begun(first, rest) => match first.take() {
                Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
                None => Pin::new(rest.as_mut()).poll_frame(cx),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Empty => true,
            Content::Full(text) => text.is_none(),
            Content::Backend(body) => body.from_backend.is_end_stream(),
            Content::Cached(body) => body.is_end_stream(),
            Content::Compressed(body) => body.is_end_stream(),
            Content::File(body) => body.bytes_left() == 0,
            Content::Told(_) => false,
            Content::Begun(first, rest) => first.is_none() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Content::Backend(body) => body.from_backend.size_hint(),
            Content::Cached(body) => body.size_hint(),
            Content::Compressed(_) | Content::Told(_) => SizeHint::default(),
            Content::File(body) => SizeHint::with_exact(body.bytes_left()),
            Content::Begun(first, rest) => {
                let first = first.as_ref().map_or(0, |first| first.len() as u64);
                let whole = rest.size_hint().exact().map(|rest| first + rest);
                whole.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

/// The backend's stream, passed on frame by frame as the client takes it.
pub(super) struct BackendBody {
    from_backend: Incoming,
    exchange: Option<Box<Exchange>>,
    limits: BodyLimits,
    /// The node has ended it.
    cut: bool,
    /// Armed only while the backend keeps the client waiting.
    waiting: Option<Waiting>,
}

/// How long an answer may rest, and how the client learns that it rested longer.
#[derive(Clone, Copy)]
pub(super) struct BodyLimits {
    /// Because the backend says nothing.
    pub(super) read_timeout: Duration,
    /// Because the client does not go on with its upload; absent where it need not.
    pub(super) upload_idle_timeout: Option<Duration>,
    /// When the whole exchange must have ended, and the reason if it has not.
    pub(super) deadline: Option<(Instant, Reason)>,
    /// By a status in trailers; else by an end that is none.
    pub(super) grpc_trailers: bool,
}

struct Waiting {
    /// Absent while the backend is ahead of the client.
    since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl BackendBody {
    pub(super) fn new(from_backend: Incoming, exchange: Box<Exchange>, limits: BodyLimits) -> Self {
        if let Some(watch) = &exchange.watch {
            watch.begin(limits.deadline);
        }
        Self {
            from_backend,
            exchange: Some(exchange),
            limits,
            cut: false,
            waiting: None,
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.cut {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.from_backend).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(waiting) = &mut self.waiting {
                    waiting.since = None;
                }
                if let Some(watch) = self.watch() {
                    watch.clients_turn();
                }
                let frame = self.passed_on(frame);
                if frame.is_trailers() {
                    // The last frame: whoever reads them asks no further.
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.fail(Reason::BackendBodyCut);
                Poll::Ready(Some(Err(BodyError::Backend(error))))
            }
            Poll::Ready(None) => {
                self.complete();
                Poll::Ready(None)
            }
            Poll::Pending => {
                if let Some(watch) = self.watch() {
                    watch.backends_turn();
                }
                self.poll_overdue(cx)
            }
        }
    }

    fn watch(&self) -> Option<&StreamWatch> {
        self.exchange.as_ref()?.watch.as_deref()
    }

    fn passed_on(&mut self, mut frame: Frame<Bytes>) -> Frame<Bytes> {
        if let Some(exchange) = &mut self.exchange {
            if let Some(data) = frame.data_ref() {
                exchange.received(data.len());
            } else if let Some(trailers) = frame.trailers_mut() {
                weir_core::proxy::strip_trailers(trailers);
                if grpc_unavailable(trailers)
                    && let Some(attempt) = &mut exchange.attempt
                {
                    attempt.failed(None);
                }
            }
        }
        frame
    }

    fn poll_overdue(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let now = Instant::now();
            let since = self.waiting.as_ref().and_then(|waiting| waiting.since);
            let since = since.unwrap_or(now);
            let mut due = self.rest_due(since);
            if let Some(deadline) = self.limits.deadline
                && deadline.0 < due.0
            {
                due = deadline;
            }
            if now >= due.0 {
                return Poll::Ready(Some(self.cut_for(due.1)));
            }
            let waiting = self.waiting.get_or_insert_with(|| Waiting {
                since: None,
                timer: Box::pin(tokio::time::sleep_until(now)),
            });
            waiting.since = Some(since);
            if waiting.timer.deadline() > due.0 || waiting.timer.deadline() <= now {
                waiting.timer.as_mut().reset(due.0);
            }
            ready!(waiting.timer.as_mut().poll(cx));
        }
    }

    /// The last frame of a body that took too long.
    fn cut_for(&mut self, reason: Reason) -> Result<Frame<Bytes>, BodyError> {
        self.fail(reason);
        self.cut = true;
        if self.limits.grpc_trailers {
            Ok(Frame::trailers(reason.grpc_trailers()))
        } else {
            Err(BodyError::Cut(reason))
        }
    }

    /// Until when the rest that began at `since` may last, and whose fault it is if it lasts longer.
    fn rest_due(&self, since: Instant) -> (Instant, Reason) {
        let upload = self.exchange.as_ref().and_then(|e| e.upload.as_deref());
        match (upload, self.limits.upload_idle_timeout) {
            (Some(upload), Some(client_wait))
                if upload.state() == UploadState::WaitingForClient =>
            {
                let both_since = since.max(upload.since());
                (both_since + client_wait, Reason::ClientBodyTimeout)
            }
            (_, Some(_)) => (since + self.limits.read_timeout, Reason::ReadTimeout),
            // A quiet gRPC stream is no failure of its backend.
            (_, None) => (since + self.limits.read_timeout, Reason::StreamIdle),
        }
    }

    fn fail(&mut self, reason: Reason) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.failed(reason);
            if let Some(upload) = &exchange.upload {
                upload.cut();
            }
        }
    }

    fn complete(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.completed();
        }
    }
}

impl Drop for BackendBody {
    fn drop(&mut self) {
        // A body of known length is dropped after its last byte without being asked for its end.
        if self.from_backend.is_end_stream() {
            self.complete();
        }
    }
}

/// `grpc-status: 14` is gRPC's 503.
pub(super) fn grpc_unavailable(headers: &HeaderMap) -> bool {
    headers
        .get("grpc-status")
        .is_some_and(|status| status.as_bytes() == b"14")
}
