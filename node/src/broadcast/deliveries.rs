//! Subscribers whose frames another thread takes one by one: those of gRPC.
//!
//! A task on the control thread's shard has the connection; a channel of one frame leads to whoever writes them, so
//! what a slow client does not take waits in the outbox, under its bounds.

use std::pin::Pin;

use futures::future::join_all;
use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tonic::Status;
use weir_broadcast::{Connection, Encoding, Since, Writing};
use weir_core::broadcast::{CutReason, Pattern, Refused, TopicName};
use weir_proto::convert::decode_position;
use weir_proto::node::v1 as pb;

use super::{Broadcast, describe};

/// How often a subscriber that is being written to is looked at, whether it was ended.
const CUT_LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);

/// What comes to a subscriber, and why it ends.
pub type Deliveries = Pin<Box<dyn Stream<Item = Result<pb::Delivery, Status>> + Send>>;

impl Broadcast {
    /// What comes to a subscriber who asks for these, one after the other, until one of both ends.
    ///
    /// # Errors
    /// When the control thread does not take any more subscribers now.
    pub fn session(
        &self,
        client: &str,
        asks: impl Stream<Item = Result<pb::SessionRequest, Status>> + Send + 'static,
    ) -> Result<Deliveries, Status> {
        let (frames, mut taken) = mpsc::channel(1);
        let (broadcast, client) = (self.clone(), client.to_owned());
        let is_begun = self.topics().run_on(self.control_shard(), move |shard| {
            let connection = shard.connect(&client, Encoding::Grpc);
            tokio::task::spawn_local(async move {
                let session = Session {
                    broadcast,
                    connection,
                    frames,
                };
                session.run(asks).await;
            });
        });
        if !is_begun {
            return Err(Status::resource_exhausted(
                "too many subscribers begin at once",
            ));
        }
        Ok(Box::pin(futures::stream::poll_fn(move |cx| {
            taken.poll_recv(cx)
        })))
    }
}

struct Session {
    broadcast: Broadcast,
    connection: Connection,
    frames: mpsc::Sender<Result<pb::Delivery, Status>>,
}

impl Session {
    async fn run(self, asks: impl Stream<Item = Result<pb::SessionRequest, Status>>) {
        // A client that is done with asking goes on listening.
        let mut asks = std::pin::pin!(asks.chain(futures::stream::pending()));
        let mut writing = Writing::new();
        loop {
            let ended = tokio::select! {
                biased;
                () = self.frames.closed() => return,
                ask = asks.next() => match ask {
                    Some(Ok(ask)) => self.apply(ask).await,
                    Some(Err(_)) | None => return,
                },
                () = self.connection.ready() => self.write(&mut writing).await,
            };
            if let Err(status) = ended {
                // Whoever does not take the last word is gone.
                let _ = self.frames.send(Err(status)).await;
                return;
            }
        }
    }

    async fn apply(&self, ask: pb::SessionRequest) -> Result<(), Status> {
        let refused = |refused: Refused| Status::invalid_argument(refused.to_string());
        let mut wanted = Vec::new();
        for topic in ask.subscribe {
            let name = TopicName::any(&topic.topic).map_err(refused)?;
            wanted.push((name, since_of(&topic)));
        }
        let mesh = self.broadcast.mesh();
        join_all(wanted.iter().map(|(name, _)| mesh.follow(name))).await;
        for (name, since) in wanted {
            self.connection
                .subscribe(&name, since, self.broadcast.now())
                .map_err(refused)?;
        }
        for topic in ask.unsubscribe {
            self.connection
                .unsubscribe(&TopicName::any(&topic).map_err(refused)?);
        }
        for pattern in ask.subscribe_patterns {
            let pattern = Pattern::new(&pattern).map_err(refused)?;
            self.connection
                .subscribe_pattern(&pattern)
                .map_err(refused)?;
        }
        for pattern in ask.unsubscribe_patterns {
            self.connection
                .unsubscribe_pattern(&Pattern::new(&pattern).map_err(refused)?);
        }
        Ok(())
    }

    async fn write(&self, writing: &mut Writing) -> Result<(), Status> {
        self.connection
            .take(writing, self.broadcast.now())
            .map_err(cut)?;
        while let Some(frame) = writing.pop() {
            let Some(delivery) = describe::delivery(&frame) else {
                continue;
            };
            let mut sent = std::pin::pin!(self.frames.send(Ok(delivery)));
            // The shard ends a connection that takes nothing for too long.
            while tokio::time::timeout(CUT_LOOK_INTERVAL, &mut sent)
                .await
                .is_err()
            {
                if let Some(reason) = self.connection.cut_reason() {
                    return Err(cut(reason));
                }
            }
        }
        Ok(())
    }
}

fn since_of(topic: &pb::TopicSubscription) -> Since {
    use pb::topic_subscription::Since as Asked;
    match topic.since {
        None | Some(Asked::All(false)) => Since::Now,
        Some(Asked::All(true)) => Since::Start,
        Some(Asked::Position(position)) => Since::Position(decode_position(position)),
    }
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
