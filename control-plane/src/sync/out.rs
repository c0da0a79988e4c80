//! What waits to be sent to one node.
//!
//! A channel makes room for 32 messages at once, however few may wait. In boxes that is 300 bytes a stream, and
//! not several KiB.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use tokio::sync::mpsc::{self, error::TrySendError};
use tonic::Status;
use weir_proto::control::v1::ControlMessage;

/// Messages that wait to be sent: a push of each type, and some more.
const WAITING_MAX: usize = 16;

type Said = Result<ControlMessage, Status>;

/// The session's end.
#[derive(Clone)]
pub(super) struct Out(mpsc::Sender<Box<Said>>);

/// Room for one message.
pub(super) struct Permit<'a>(mpsc::Permit<'a, Box<Said>>);

/// The connection's end.
pub struct Messages(mpsc::Receiver<Box<Said>>);

/// Both ends.
pub(super) fn channel() -> (Out, Messages) {
    let (out, messages) = mpsc::channel(WAITING_MAX);
    (Out(out), Messages(messages))
}

impl Out {
    /// Says something if there is room.
    pub(super) fn try_send(&self, said: Said) -> Result<(), TrySendError<()>> {
        self.0
            .try_send(Box::new(said))
            .map_err(|refused| match refused {
                TrySendError::Full(_) => TrySendError::Full(()),
                TrySendError::Closed(_) => TrySendError::Closed(()),
            })
    }

    /// Room for one message, if there is some.
    pub(super) fn try_reserve(&self) -> Option<Permit<'_>> {
        self.0.try_reserve().ok().map(Permit)
    }
}

impl Permit<'_> {
    /// Says it.
    pub(super) fn send(self, message: ControlMessage) {
        self.0.send(Box::new(Ok(message)));
    }
}

impl Stream for Messages {
    type Item = Said;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Said>> {
        self.0.poll_recv(cx).map(|said| said.map(|said| *said))
    }
}
