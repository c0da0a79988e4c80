//! Messages on their way to the node that numbers them, and their answers.

use std::collections::BTreeMap;
use std::pin::Pin;

use futures::future::Either;
use futures::stream::{FuturesUnordered, Stream, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::broadcast_peer_client::BroadcastPeerClient;
use weir_proto::node::v1::forward_response::What;

use super::super::describe;
use super::{Ack, Mesh, OPEN_TIMEOUT, wire};
use crate::peers::Peers;

/// Messages that wait for one node, or for its answers.
pub(crate) const WAITING_MAX: usize = 4_096;
/// Messages that may be on their way to a node that does not take them.
const AHEAD_MAX: usize = 256;

/// A message for another node.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) message: pb::PublishRequest,
    pub(crate) answer: oneshot::Sender<What>,
}

/// Takes messages to a node for as long as it is polled. Who waits for an answer that does not come is told by the end
/// of their channel.
pub(crate) async fn run(peers: Peers, node: String, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.recv().await {
        if let Err(why) = one_stream(&peers, &node, first, &mut jobs).await {
            tracing::debug!(node, why, "messages do not reach a node");
        }
    }
}

async fn one_stream(
    peers: &Peers,
    node: &str,
    first: Job,
    jobs: &mut mpsc::Receiver<Job>,
) -> Result<(), String> {
    let (out, requests) = mpsc::channel(AHEAD_MAX);
    let mut client =
        BroadcastPeerClient::with_interceptor(peers.channel_to(node)?, peers.key().shows())
            .max_decoding_message_size(wire::MESSAGE_BYTES_MAX);
    let mut waiting = Waiting::default();
    // The stream opens with its first message: the other side answers when it has one.
    let sent = out.try_send(waiting.add(first));
    debug_assert!(sent.is_ok(), "the channel is new");
    let opened = timeout(OPEN_TIMEOUT, client.forward(ReceiverStream::new(requests))).await;
    let opened = opened.map_err(|_| "no answer in time".to_owned())?;
    let mut answers = opened
        .map_err(|status| status.message().to_owned())?
        .into_inner();
    loop {
        let more = waiting.jobs.len() < WAITING_MAX;
        tokio::select! {
            answer = answers.message() => {
                let answer = answer.map_err(|status| status.message().to_owned())?;
                waiting.answered(answer.ok_or("it ended the stream")?);
            }
            permit = out.reserve(), if more && !jobs.is_empty() => {
                let permit = permit.map_err(|_| "it ended the stream".to_owned())?;
                if let Ok(job) = jobs.try_recv() {
                    permit.send(waiting.add(job));
                }
            }
            job = jobs.recv(), if more && jobs.is_empty() => match job {
                None => return Ok(()),
                Some(job) => {
                    let request = waiting.add(job);
                    out.send(request).await.map_err(|_| "it ended the stream".to_owned())?;
                }
            }
        }
    }
}

#[derive(Default)]
struct Waiting {
    last: u64,
    jobs: BTreeMap<u64, oneshot::Sender<What>>,
}

impl Waiting {
    fn add(&mut self, job: Job) -> pb::ForwardRequest {
        self.last += 1;
        self.jobs.insert(self.last, job.answer);
        pb::ForwardRequest {
            id: self.last,
            message: Some(job.message),
        }
    }

    fn answered(&mut self, answer: pb::ForwardResponse) {
        if let (Some(waits), Some(what)) = (self.jobs.remove(&answer.id), answer.what) {
            // Who waited may have gone.
            let _ = waits.send(what);
        }
    }
}

/// Answers to another node.
pub type Forwarded = Pin<Box<dyn Stream<Item = Result<pb::ForwardResponse, Status>> + Send>>;

/// Numbers what another node forwards.
pub(crate) fn serve(mesh: Mesh, requests: Streaming<pb::ForwardRequest>) -> Forwarded {
    let (out, answers) = mpsc::channel(AHEAD_MAX);
    tokio::spawn(async move {
        // The other side is gone, which it knows.
        let _ = number(&mesh, requests, out).await;
    });
    Box::pin(ReceiverStream::new(answers))
}

async fn number(
    mesh: &Mesh,
    mut requests: Streaming<pb::ForwardRequest>,
    out: mpsc::Sender<Result<pb::ForwardResponse, Status>>,
) -> Result<(), Status> {
    let mut waiting = FuturesUnordered::new();
    let gone = |_| Status::cancelled("the other side is gone");
    loop {
        tokio::select! {
            Some(answer) = waiting.next(), if !waiting.is_empty() => {
                out.send(Ok(answer)).await.map_err(gone)?;
            }
            request = requests.message(), if waiting.len() < WAITING_MAX => {
                let Some(request) = request? else {
                    return Ok(());
                };
                // Numbered in the order in which they come; only what is waited for is waited for together.
                let (id, answer) = (request.id, numbered(mesh, request.message.unwrap_or_default()));
                match answer {
                    Either::Left(answer) => {
                        let answer = pb::ForwardResponse { id, what: Some(answer) };
                        out.send(Ok(answer)).await.map_err(gone)?;
                    }
                    Either::Right(later) => waiting.push(async move {
                        pb::ForwardResponse { id, what: Some(later.await) }
                    }),
                }
            }
        }
    }
}

/// The answer, or what will be it.
fn numbered(
    mesh: &Mesh,
    message: pb::PublishRequest,
) -> Either<What, impl Future<Output = What> + Send + 'static> {
    let (draft, ack) = match wire::decode_draft(message) {
        Ok(decoded) => decoded,
        Err(error) => return Either::Left(What::Refused(error.to_string())),
    };
    if !mesh.view().is_own(&draft.topic) {
        return Either::Left(What::NotOwner(true));
    }
    let published = match ack {
        Ack::Replicated => mesh.topics().publish_confirmed(draft, mesh.now()),
        Ack::None | Ack::Owner => mesh
            .topics()
            .publish(draft, mesh.now())
            .map(|published| (published, None)),
    };
    match published {
        Err(refused) => Either::Left(What::Refused(refused.to_string())),
        Ok((published, None)) => {
            Either::Left(What::Published(describe::published(published, false)))
        }
        Ok((published, Some(confirmed))) => Either::Right(async move {
            let replicated = super::is_confirmed(confirmed).await;
            What::Published(describe::published(published, replicated))
        }),
    }
}
