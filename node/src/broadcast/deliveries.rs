//! Subscribers of gRPC, whose deliveries another thread takes one by one.

use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use weir_broadcast::{Control, Encoding, Writing};
use weir_core::broadcast::CutReason;
use weir_proto::node::v1 as pb;

use super::ask::Ask;
use super::doors::{Coming, Turned};
use super::session::{Next, Session};
use super::stream::give;
use super::{Broadcast, describe};

/// Where else a subscriber is let in that is turned away, in the metadata of the status.
const ALTERNATIVE: &str = "weir-alternative";

/// What comes to a subscriber, and why it ends.
pub type Deliveries = Pin<Box<dyn Stream<Item = Result<pb::Delivery, Status>> + Send>>;

impl Broadcast {
    /// What comes to a subscriber who asks for these, one after the other, until one of both ends. The first one that
    /// cannot be done ends it, if it `is_strict`; else it is answered.
    ///
    /// # Errors
    /// Why the subscriber is turned away.
    pub async fn session(
        &self,
        coming: Coming,
        asks: impl Stream<Item = Result<pb::SessionRequest, Status>> + Send + 'static,
        is_strict: bool,
    ) -> Result<Deliveries, Status> {
        let (frames, taken) = mpsc::channel(1);
        let (tell, ended) = oneshot::channel();
        let serve = move |session, _| async move {
            let caller = Caller {
                session,
                frames,
                is_strict,
            };
            // Whoever called may have gone.
            let _ = tell.send(caller.run(asks).await);
        };
        let opened = self.open_elsewhere(coming, Encoding::Grpc, serve).await;
        opened.map_err(|turned| status_of(&turned))?;
        Ok(Box::pin(deliveries(taken, ended)))
    }
}

fn deliveries(
    taken: mpsc::Receiver<Bytes>,
    ended: oneshot::Receiver<Status>,
) -> impl Stream<Item = Result<pb::Delivery, Status>> + Send {
    let frames = futures::stream::unfold(taken, async |mut taken| {
        let frame = taken.recv().await?;
        Some((describe::delivery(&frame), taken))
    });
    let deliveries = frames.filter_map(async |delivery| delivery.map(Ok));
    let last = futures::stream::once(async { ended.await.ok().map(Err) });
    deliveries.chain(last.filter_map(async |last| last))
}

struct Caller {
    session: Session,
    frames: mpsc::Sender<Bytes>,
    is_strict: bool,
}

impl Caller {
    /// Serves to the end; why it is one.
    async fn run(mut self, asks: impl Stream<Item = Result<pb::SessionRequest, Status>>) -> Status {
        // A caller that is done with asking goes on listening.
        let mut asks = std::pin::pin!(asks.chain(futures::stream::pending()));
        let mut writing = Writing::new();
        let gone = || Status::cancelled("the caller has gone");
        loop {
            let is_full = self.session.is_full();
            let done = tokio::select! {
                biased;
                () = self.frames.closed() => return gone(),
                ask = asks.next(), if !is_full => match ask {
                    Some(Ok(ask)) => self.apply(ask).await,
                    Some(Err(_)) | None => return gone(),
                },
                next = self.session.next(true) => match next {
                    Next::Answer(answer) => self.answer(answer).await,
                    Next::Frames => self.write(&mut writing).await,
                },
            };
            match done {
                Ok(()) => {}
                Err(Ended::Cut(Some(reason))) => return cut(reason),
                Err(Ended::Cut(None)) => return gone(),
                Err(Ended::Refused(status)) => return status,
            }
        }
    }

    async fn apply(&mut self, ask: pb::SessionRequest) -> Result<(), Ended> {
        let answer = match Ask::from_request(ask) {
            Ok(ask) => self.session.apply(ask),
            Err(bad) => Some(bad.into()),
        };
        match answer {
            Some(answer) => self.answer(answer).await,
            None => Ok(()),
        }
    }

    async fn answer(&self, answer: Control) -> Result<(), Ended> {
        match answer {
            Control::Error { field, message, .. } if self.is_strict => {
                let message = format!("{field}: {message}");
                Err(Ended::Refused(Status::invalid_argument(message)))
            }
            answer => self.give(answer.encode(Encoding::Grpc)).await,
        }
    }

    async fn write(&self, writing: &mut Writing) -> Result<(), Ended> {
        let (connection, broadcast) = (self.session.connection(), self.session.broadcast());
        let taken = connection.take(writing, || broadcast.now());
        taken.map_err(|reason| Ended::Cut(Some(reason)))?;
        while let Some(frame) = writing.pop() {
            self.give(frame).await?;
        }
        Ok(())
    }

    async fn give(&self, frame: Bytes) -> Result<(), Ended> {
        let given = give(&self.session, &self.frames, frame).await;
        given.map_err(Ended::Cut)
    }
}

enum Ended {
    /// By the node for this reason; by the caller without.
    Cut(Option<CutReason>),
    Refused(Status),
}

fn cut(reason: CutReason) -> Status {
    let message = format!("the node ends this subscription: {}", reason.as_str());
    match reason {
        CutReason::Slow | CutReason::TooManyTopics => Status::resource_exhausted(message),
        CutReason::Unauthorized => Status::permission_denied(message),
        CutReason::Operator => Status::aborted(message),
        CutReason::Draining => Status::unavailable(message),
    }
}

fn status_of(turned: &Turned) -> Status {
    let code = match turned.word() {
        "unauthenticated" => Code::Unauthenticated,
        "forbidden" => Code::PermissionDenied,
        "too_many" => Code::ResourceExhausted,
        "unavailable" => Code::Unavailable,
        _ => Code::InvalidArgument,
    };
    let mut status = Status::new(code, turned.to_string());
    if let Some(Ok(there)) = turned.alternative().map(MetadataValue::try_from) {
        status.metadata_mut().insert(ALTERNATIVE, there);
    }
    status
}
