//! One node: the protocol, and nothing behind it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, timeout};
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
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// The way out, the way in and the first word.
type Opened = (
    mpsc::Sender<pb::NodeMessage>,
    Streaming<pb::ControlMessage>,
    Option<pb::ControlMessage>,
);

/// What all nodes count together.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) attempts: AtomicU64,
    pub(super) connected: AtomicU64,
    pub(super) welcomes: AtomicU64,
    pub(super) sent_away: AtomicU64,
    pub(super) pushes: AtomicU64,
    pub(super) payload_bytes: AtomicU64,
    pub(super) mismatches: AtomicU64,
}

/// An answer to a profile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// When it was given to the connection.
    pub(super) at: Instant,
    /// Of the profile.
    pub(super) hash: ContentHash,
}

/// The node.
pub(super) struct Node {
    pub(super) id: String,
    pub(super) control_plane: SocketAddr,
    pub(super) wants_peers: bool,
    pub(super) counts: Arc<Counts>,
    pub(super) answers: mpsc::UnboundedSender<Answered>,
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

const SUBSCRIBED: [pb::ResourceType; 5] = [
    pb::ResourceType::Profile,
    pb::ResourceType::Weights,
    pb::ResourceType::Endpoints,
    pb::ResourceType::Orders,
    pb::ResourceType::Peers,
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
                    Ok(retry_after) => retry_after.max(backoff.next_wait()),
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
        self.counts.attempts.fetch_add(1, Ordering::Relaxed);
        let opened = timeout(WELCOME_TIMEOUT, self.open()).await;
        let late = |_| early(Status::deadline_exceeded("no welcome"));
        let (out, mut inbound, first) = opened.map_err(late)?.map_err(early)?;
        let heartbeat = match first.and_then(|first| first.message) {
            Some(pb::control_message::Message::Welcome(welcome)) => {
                Duration::from_millis(welcome.heartbeat_interval_ms.clamp(100, 600_000))
            }
            Some(pb::control_message::Message::GoAway(away)) => {
                self.counts.sent_away.fetch_add(1, Ordering::Relaxed);
                return Ok(Duration::from_millis(away.retry_after_ms));
            }
            _ => return Err((false, Status::internal("no welcome"))),
        };
        self.counts.welcomes.fetch_add(1, Ordering::Relaxed);
        self.counts.connected.fetch_add(1, Ordering::Relaxed);
        let ended = self.converse(&mut inbound, &out, heartbeat).await;
        self.counts.connected.fetch_sub(1, Ordering::Relaxed);
        ended.map_err(|status| (true, status))
    }

    async fn open(&self) -> Result<Opened, Status> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.control_plane));
        let endpoint = endpoint.map_err(|error| Status::internal(error.to_string()))?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_while_idle(true);
        let channel = endpoint.connect().await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let (out, messages) = mpsc::channel(8);
        let hello = pb::node_message::Message::Hello(self.hello());
        out.try_send(message(hello)).expect("the queue is new");
        let answers = self.answers.clone();
        let messages =
            ReceiverStream::new(messages).inspect(move |message| note(message, &answers));
        let inbound = NodeSyncClient::new(channel).sync(messages).await?;
        let mut inbound = inbound.into_inner();
        let first = inbound.message().await?;
        Ok((out, inbound, first))
    }

    fn hello(&self) -> pb::Hello {
        let wanted = &SUBSCRIBED[..SUBSCRIBED.len() - usize::from(!self.wants_peers)];
        pb::Hello {
            node_id: self.id.clone(),
            boot_id: format!("{:016x}", 1),
            node_version: "simulated".to_owned(),
            zone: "zone-a".to_owned(),
            grpc_address: "127.0.0.1:7400".to_owned(),
            http_api_address: "127.0.0.1:7401".to_owned(),
            ingress_addresses: vec!["127.0.0.1:8080".to_owned()],
            subscribe: wanted.iter().map(|kind| *kind as i32).collect(),
            resume: self.held.values().map(|held| held.point.clone()).collect(),
            profile: Some(self.profile.clone()),
            schema_version: 1,
            ..pb::Hello::default()
        }
    }

    async fn converse(
        &mut self,
        inbound: &mut Streaming<pb::ControlMessage>,
        out: &mpsc::Sender<pb::NodeMessage>,
        heartbeat: Duration,
    ) -> Result<Duration, Status> {
        let mut beats = interval(heartbeat);
        let mut seq = 0;
        let ended = || Status::unavailable("the stream ended");
        loop {
            let received = tokio::select! {
                biased;
                received = inbound.message() => received?.ok_or_else(ended)?,
                _ = beats.tick() => {
                    seq += 1;
                    let beat = pb::NodeHeartbeat { seq, ..pb::NodeHeartbeat::default() };
                    let beat = pb::node_message::Message::Heartbeat(beat);
                    out.send(message(beat)).await.map_err(|_| ended())?;
                    continue;
                }
            };
            match received.message {
                Some(pb::control_message::Message::Push(push)) => {
                    let ack = pb::node_message::Message::Ack(self.take(&push));
                    out.send(message(ack)).await.map_err(|_| ended())?;
                }
                Some(pb::control_message::Message::GoAway(away)) => {
                    return Ok(Duration::from_millis(away.retry_after_ms));
                }
                _ => {}
            }
        }
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

/// Takes note of an answer to a profile when the connection takes it.
fn note(message: &pb::NodeMessage, answers: &mpsc::UnboundedSender<Answered>) {
    let Some(pb::node_message::Message::Ack(ack)) = &message.message else {
        return;
    };
    if let Some(profile) = &ack.profile {
        let at = Instant::now();
        let hash = profile.offered_hash.as_slice().try_into();
        let hash = hash.unwrap_or_default();
        // It may be that nobody measures any more.
        let _ = answers.send(Answered { at, hash });
    }
}

fn message(message: pb::node_message::Message) -> pb::NodeMessage {
    pb::NodeMessage {
        message: Some(message),
    }
}
