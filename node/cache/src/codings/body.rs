//! A body whose data are compressed on their way.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::CodingError;
use super::encoder::Encoder;
use super::steps::Operation;

/// What a frame holds at least, if neither a pause nor the end comes first; less than a step's output above it.
const FRAME_BYTES: usize = 16 * 1024;
/// What is taken before other tasks of the thread have their turn: below 1 ms at 40 MB/s.
const TURN_BYTES: usize = 32 * 1024;
/// What the smallest frame counts for, so that many of nothing end a turn too.
const STEP_BYTES_MIN: usize = 64;

/// `B`, compressed. Trailers and errors pass; what was taken is given out when `B` pauses.
///
/// Holds less than 32 KiB of output besides the frame of `B` that it is at, the trailers and the [`Encoder`], which is
/// let go at the end.
#[derive(Debug)]
pub struct CompressedBody<B> {
    body: B,
    work: Work,
}

#[derive(Debug)]
struct Work {
    /// None after the end.
    encoder: Option<Encoder>,
    /// What is under way; none while more of the body is wanted.
    operation: Option<Operation>,
    input: Bytes,
    output: BytesMut,
    trailers: Option<HeaderMap>,
    turn_bytes_left: usize,
}

/// Where the work came to a halt.
enum Halt {
    Frame(Bytes),
    Hungry,
    TurnOver,
    End,
}

impl<B> CompressedBody<B> {
    /// `body` through `encoder`. An empty body becomes the coding's empty stream.
    pub fn new(body: B, encoder: Encoder) -> Self {
        Self {
            body,
            work: Work {
                encoder: Some(encoder),
                operation: None,
                input: Bytes::new(),
                output: BytesMut::new(),
                trailers: None,
                turn_bytes_left: TURN_BYTES,
            },
        }
    }
}

impl Work {
    fn advance(&mut self) -> Result<Halt, CodingError> {
        loop {
            if self.output.len() >= FRAME_BYTES {
                return Ok(Halt::Frame(self.output.split().freeze()));
            }
            let Some(encoder) = &mut self.encoder else {
                return Ok(if self.output.is_empty() {
                    Halt::End
                } else {
                    Halt::Frame(self.output.split().freeze())
                });
            };
            let Some(operation) = self.operation else {
                return Ok(Halt::Hungry);
            };
            if self.turn_bytes_left == 0 {
                return Ok(Halt::TurnOver);
            }
            let taken = self.input.len().min(self.turn_bytes_left);
            let step = encoder.step(operation, &self.input[..taken], &mut self.output)?;
            self.input.advance(step.read);
            self.turn_bytes_left = self
                .turn_bytes_left
                .saturating_sub(step.read.max(STEP_BYTES_MIN));
            if !step.done || !self.input.is_empty() {
                continue;
            }
            self.operation = None;
            match operation {
                // The compressor may have given out everything before.
                Operation::Flush if !self.output.is_empty() => {
                    return Ok(Halt::Frame(self.output.split().freeze()));
                }
                Operation::Process | Operation::Flush => {}
                Operation::Finish => self.encoder = None,
            }
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => {
                self.input = data;
                self.operation = Some(Operation::Process);
            }
            Err(frame) => {
                self.trailers = frame.into_trailers().ok();
                self.operation = Some(Operation::Finish);
            }
        }
    }

    /// Whether there is something to give out while the body pauses.
    fn flush(&mut self) -> bool {
        let wanted = self.encoder.as_ref().is_some_and(Encoder::is_unflushed);
        if wanted {
            self.operation = Some(Operation::Flush);
        }
        wanted
    }

    fn abandon(&mut self) {
        self.encoder = None;
        self.operation = None;
        self.input = Bytes::new();
        self.output = BytesMut::new();
        self.trailers = None;
    }
}

impl<B> Body for CompressedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: From<CodingError>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Self { body, work } = &mut *self;
        loop {
            match work.advance() {
                Ok(Halt::Frame(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Halt::End) => {
                    return Poll::Ready(work.trailers.take().map(|t| Ok(Frame::trailers(t))));
                }
                Ok(Halt::TurnOver) => {
                    work.turn_bytes_left = TURN_BYTES;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(Halt::Hungry) => match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => work.take(frame),
                    Poll::Ready(Some(Err(error))) => {
                        work.abandon();
                        return Poll::Ready(Some(Err(error)));
                    }
                    Poll::Ready(None) => work.operation = Some(Operation::Finish),
                    Poll::Pending if work.flush() => {}
                    Poll::Pending => {
                        work.turn_bytes_left = TURN_BYTES;
                        return Poll::Pending;
                    }
                },
                Err(error) => {
                    work.abandon();
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let Work {
            encoder,
            output,
            trailers,
            ..
        } = &self.work;
        encoder.is_none() && output.is_empty() && trailers.is_none()
    }

    /// Nothing is known before the end.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
