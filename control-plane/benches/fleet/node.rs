//! One node: the protocol, and nothing behind it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};
use weir_core::backoff::Backoff;
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::node_sync_client::NodeSyncClient;
use weir_proto::sync::{ContentHash, set_hash};

const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What all nodes count together.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) connected: AtomicU64,
    pub(super) welcomes: AtomicU64,
    pub(super) sent_away: AtomicU64,
    pub(super) pushes: AtomicU64,
    pub(super) payload_bytes: AtomicU64,
    pub(super) mismatches: AtomicU64,
}

/// The node.
pub(super) struct Node {
    pub(super) id: String,
    pub(super) control_plane: SocketAddr,
    pub(super) counts: Arc<Counts>,
    /// When it answered a profile.
    pub(super) answers: mpsc::UnboundedSender<Instant>,
    pub(super) random: fastrand::Rng,
    pub(super) held: BTreeMap<i32, Held>,
    pub(super) profile: pb::ProfileState,
}

/// What it holds of one type.
#[derive(Default)]
pub(super) struct Held {
    point: pb::ResumePoint,
    resources: BTreeMap<String, ContentHash>,
}

const SUBSCRIBED: [pb::ResourceType; 4] = [
    pb::ResourceType::Profile,
    pb::ResourceType::Weights,
    pb::ResourceType::Endpoints,
    pb::ResourceType::Orders,
];

impl Node {
    /// Stays connected until `stop`.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::new(BACKOFF_MIN..=BACKOFF_MAX, self.random.fork());
        loop {
            let wait = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                ended = self.one_stream() => match ended {
                    Ok(retry_after) => retry_after + backoff.next_wait(),
                    Err((welcomed, _)) => {
                        if welcomed {
                            backoff.reset();
                        }
                        backoff.next_wait()
                    }
                },
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Ends with the wait that a node was told, or with what broke the stream.
    async fn one_stream(&mut self) -> Result<Duration, (bool, Status)> {
        let early = |status: Status| (false, status);
        let (out, inbound) = self.open().await.map_err(early)?;
        let mut inbound = inbound;
        let first = inbound.message().await.map_err(early)?;
        match first.and_then(|first| first.message) {
            Some(pb::control_message::Message::Welcome(_)) => {}
            Some(pb::control_message::Message::GoAway(away)) => {
                self.counts.sent_away.fetch_add(1, Ordering::Relaxed);
                return Ok(Duration::from_millis(away.retry_after_ms));
            }
            _ => return Err((false, Status::internal("no welcome"))),
        }
        self.counts.welcomes.fetch_add(1, Ordering::Relaxed);
        self.counts.connected.fetch_add(1, Ordering::Relaxed);
        let ended = self.converse(&mut inbound, &out).await;
        self.counts.connected.fetch_sub(1, Ordering::Relaxed);
        ended.map_err(|status| (true, status))
    }

    async fn open(
        &self,
    ) -> Result<(mpsc::Sender<pb::NodeMessage>, Streaming<pb::ControlMessage>), Status> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.control_plane));
        let endpoint = endpoint.map_err(|error| Status::internal(error.to_string()))?;
        let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).connect().await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let (out, messages) = mpsc::channel(8);
        let hello = pb::Hello {
            node_id: self.id.clone(),
            boot_id: format!("{:016x}", 1),
            node_version: "simulated".to_owned(),
            subscribe: SUBSCRIBED.map(|kind| kind as i32).to_vec(),
            resume: self.held.values().map(|held| held.point.clone()).collect(),
            profile: Some(self.profile.clone()),
            schema_version: 1,
            ..pb::Hello::default()
        };
        let hello = pb::node_message::Message::Hello(hello);
        out.try_send(message(hello)).expect("the queue is new");
        let messages = ReceiverStream::new(messages);
        let inbound = NodeSyncClient::new(channel).sync(messages).await?;
        Ok((out, inbound.into_inner()))
    }

    async fn converse(
        &mut self,
        inbound: &mut Streaming<pb::ControlMessage>,
        out: &mpsc::Sender<pb::NodeMessage>,
    ) -> Result<Duration, Status> {
        while let Some(message) = inbound.message().await? {
            match message.message {
                Some(pb::control_message::Message::Push(push)) => {
                    let ack = self.take(&push);
                    let ack = self::message(pb::node_message::Message::Ack(ack));
                    let sent = out.send(ack).await;
                    sent.map_err(|_| Status::unavailable("the stream ended"))?;
                    if push.r#type() == pb::ResourceType::Profile {
                        // It may be that nobody measures any more.
                        let _ = self.answers.send(Instant::now());
                    }
                }
                Some(pb::control_message::Message::GoAway(away)) => {
                    return Ok(Duration::from_millis(away.retry_after_ms));
                }
                _ => {}
            }
        }
        Err(Status::unavailable("the stream ended"))
    }

    fn take(&mut self, push: &pb::Push) -> pb::Ack {
        self.counts.pushes.fetch_add(1, Ordering::Relaxed);
        let held = self.held.entry(push.r#type).or_default();
        if push.reset {
            held.resources.clear();
        }
        for name in &push.removed {
            held.resources.remove(name);
        }
        for resource in &push.resources {
            let bytes = resource.payload.len() as u64;
            self.counts
                .payload_bytes
                .fetch_add(bytes, Ordering::Relaxed);
            let hash = resource.hash.as_slice().try_into().unwrap_or_default();
            held.resources.insert(resource.name.clone(), hash);
        }
        let hashes = held
            .resources
            .iter()
            .map(|(name, hash)| (name.as_str(), *hash));
        let fits = set_hash(hashes)[..] == push.set_hash[..];
        if !fits {
            self.counts.mismatches.fetch_add(1, Ordering::Relaxed);
        }
        held.point = pb::ResumePoint {
            r#type: push.r#type,
            epoch: push.epoch.clone(),
            version: push.version,
            set_hash: push.set_hash.clone(),
        };
        let mut ack = pb::Ack {
            nonce: push.nonce,
            r#type: push.r#type,
            version: push.version,
            status: pb::ApplyStatus::Applied as i32,
            resync: !fits,
            ..pb::Ack::default()
        };
        if push.r#type() == pb::ResourceType::Profile {
            let hash = push.resources.first().map(|resource| resource.hash.clone());
            self.profile = pb::ProfileState {
                offered_hash: hash.clone().unwrap_or_default(),
                effective_hash: hash.unwrap_or_default(),
                last_attempt: pb::ApplyStatus::Applied as i32,
                origin: "control-plane".to_owned(),
                ..pb::ProfileState::default()
            };
            ack.profile = Some(self.profile.clone());
        }
        ack
    }
}

fn message(message: pb::node_message::Message) -> pb::NodeMessage {
    pb::NodeMessage {
        message: Some(message),
    }
}
