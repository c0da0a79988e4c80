//! A node: the protocol, and nothing behind it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::node_sync_client::NodeSyncClient;
use weir_proto::sync::{ContentHash, content_hash, set_hash};

use crate::instance::PATIENCE;

/// The knob that tests turn.
pub(crate) const KNOB: &str = "ingress.connections_max";

/// What became of a node, as it happens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Who it is connected to.
    pub(crate) instance: Option<String>,
    pub(crate) epoch: String,
    pub(crate) welcomes: u32,
    pub(crate) go_aways: Vec<String>,
    pub(crate) pushes: Vec<pb::ResourceType>,
    pub(crate) payload_bytes: u64,
    /// Pushes that did not make sense.
    pub(crate) mismatches: u32,
    pub(crate) held: BTreeMap<i32, Held>,
    /// Values of [`KNOB`], as they came; 0 for none.
    pub(crate) values: Vec<u64>,
    pub(crate) orders: Option<pb::NodeOrders>,
}

/// What it holds of one type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) point: pb::ResumePoint,
    pub(crate) resources: BTreeMap<String, ContentHash>,
}

impl Seen {
    /// What the knob is.
    pub(crate) fn value(&self) -> u64 {
        self.values.last().copied().unwrap_or(0)
    }

    /// Names of what is held of a type.
    pub(crate) fn names(&self, kind: pb::ResourceType) -> Vec<&str> {
        let held = self.held.get(&(kind as i32));
        held.into_iter()
            .flat_map(|held| held.resources.keys().map(String::as_str))
            .collect()
    }

    pub(crate) fn pushes_of(&self, kind: pb::ResourceType) -> usize {
        self.pushes.iter().filter(|pushed| **pushed == kind).count()
    }
}

/// How a node is.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) id: String,
    pub(crate) places: Vec<SocketAddr>,
    /// Values of the knob above this are refused.
    pub(crate) value_max: u64,
    /// How long it takes to take a profile.
    pub(crate) answers_in: Duration,
    /// How long it stays away, and some more, when a stream ended.
    pub(crate) away_for: Duration,
}

impl Manner {
    pub(crate) fn new(id: &str, places: &[SocketAddr]) -> Self {
        Self {
            id: id.to_owned(),
            places: places.to_vec(),
            value_max: u64::MAX,
            answers_in: Duration::ZERO,
            away_for: Duration::ZERO,
        }
    }

    pub(crate) fn start(self) -> Node {
        let (tell, seen) = watch::channel(Seen::default());
        let random = fastrand::Rng::with_seed(content_hash(self.id.as_bytes())[0].into());
        let task = Task {
            manner: self,
            tell,
            random,
            profile: pb::ProfileState::default(),
        };
        Node {
            seen,
            task: tokio::spawn(task.run()),
        }
    }
}

/// The node. It ends without a last word when this is dropped.
pub(crate) struct Node {
    pub(crate) seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Node {
    /// A node that is connected to the first of these places that lets it in.
    pub(crate) fn start(id: &str, places: &[SocketAddr]) -> Self {
        Manner::new(id, places).start()
    }

    /// Many, each with a name of its own.
    pub(crate) fn crowd(count: usize, places: &[SocketAddr]) -> Vec<Self> {
        let ids = (0..count).map(|at| format!("sim-{at}"));
        ids.map(|id| Self::start(&id, places)).collect()
    }

    pub(crate) fn now(&self) -> Seen {
        self.seen.borrow().clone()
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.clone();
        let found = timeout(PATIENCE, seen.wait_for(is_so)).await;
        let Ok(found) = found else {
            panic!("{what}: not in time: {:?}", self.now());
        };
        found.unwrap().clone()
    }

    pub(crate) async fn connected_to(&self, instance: &str) -> Seen {
        let is_so = |seen: &Seen| seen.instance.as_deref() == Some(instance);
        self.until(&format!("connected to {instance}"), is_so).await
    }

    /// Waits until the knob is at this value.
    pub(crate) async fn at(&self, value: u64) -> Seen {
        let what = format!("the knob at {value}");
        self.until(&what, |seen| seen.value() == value).await
    }
}

struct Task {
    manner: Manner,
    tell: watch::Sender<Seen>,
    random: fastrand::Rng,
    profile: pb::ProfileState,
}

const SUBSCRIBED: [pb::ResourceType; 5] = [
    pb::ResourceType::Profile,
    pb::ResourceType::Weights,
    pb::ResourceType::Endpoints,
    pb::ResourceType::Peers,
    pb::ResourceType::Orders,
];

impl Task {
    async fn run(mut self) {
        for at in 0.. {
            let place = self.manner.places[at % self.manner.places.len()];
            let _: Result<(), Status> = self.one_stream(place).await;
            self.tell.send_modify(|seen| seen.instance = None);
            let jitter = Duration::from_millis(self.random.u64(20..120));
            sleep(self.manner.away_for + jitter).await;
        }
    }

    async fn one_stream(&mut self, place: SocketAddr) -> Result<(), Status> {
        let opened = timeout(Duration::from_secs(4), self.open(place)).await;
        let (out, mut inbound) = opened.map_err(|_| Status::unavailable("late"))??;
        while let Some(message) = inbound.message().await? {
            match message.message {
                Some(pb::control_message::Message::Welcome(welcome)) => {
                    self.tell.send_modify(|seen| {
                        seen.instance = Some(welcome.instance);
                        seen.epoch = welcome.epoch;
                        seen.welcomes += 1;
                    });
                }
                Some(pb::control_message::Message::Push(push)) => {
                    if push.r#type() == pb::ResourceType::Profile {
                        sleep(self.manner.answers_in).await;
                    }
                    let ack = pb::node_message::Message::Ack(self.take(&push));
                    let sent = out.send(wrapped(ack)).await;
                    sent.map_err(|_| Status::unavailable("the stream ended"))?;
                }
                Some(pb::control_message::Message::Command(command)) => {
                    let answer = pb::CommandResult {
                        id: command.id,
                        ..pb::CommandResult::default()
                    };
                    let answer = pb::node_message::Message::CommandResult(answer);
                    let sent = out.send(wrapped(answer)).await;
                    sent.map_err(|_| Status::unavailable("the stream ended"))?;
                }
                Some(pb::control_message::Message::GoAway(away)) => {
                    self.tell
                        .send_modify(|seen| seen.go_aways.push(away.reason));
                    return Ok(());
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn open(
        &self,
        place: SocketAddr,
    ) -> Result<(mpsc::Sender<pb::NodeMessage>, Streaming<pb::ControlMessage>), Status> {
        let endpoint = Endpoint::from_shared(format!("http://{place}")).unwrap();
        let channel = endpoint
            .http2_keep_alive_interval(Duration::from_millis(500))
            .keep_alive_timeout(Duration::from_millis(1_500))
            .keep_alive_while_idle(true)
            .connect()
            .await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let (out, messages) = mpsc::channel(8);
        let held = self.tell.borrow().held.clone();
        let hello = pb::Hello {
            node_id: self.manner.id.clone(),
            boot_id: "1".to_owned(),
            node_version: "simulated".to_owned(),
            subscribe: SUBSCRIBED.map(|kind| kind as i32).to_vec(),
            resume: held.into_values().map(|held| held.point).collect(),
            profile: Some(self.profile.clone()),
            schema_version: 1,
            ..pb::Hello::default()
        };
        let hello = pb::node_message::Message::Hello(hello);
        out.try_send(wrapped(hello)).expect("the queue is new");
        let messages = ReceiverStream::new(messages);
        let inbound = NodeSyncClient::new(channel).sync(messages).await?;
        Ok((out, inbound.into_inner()))
    }

    fn take(&mut self, push: &pb::Push) -> pb::Ack {
        let mut fits = true;
        self.tell.send_modify(|seen| {
            seen.pushes.push(push.r#type());
            let held = seen.held.entry(push.r#type).or_default();
            fits = held.take(push);
            seen.mismatches += u32::from(!fits);
            let bytes = push.resources.iter().map(|r| r.payload.len() as u64);
            seen.payload_bytes += bytes.sum::<u64>();
        });
        let mut ack = pb::Ack {
            nonce: push.nonce,
            r#type: push.r#type,
            version: push.version,
            status: pb::ApplyStatus::Applied as i32,
            resync: !fits,
            ..pb::Ack::default()
        };
        if let Some(resource) = push.resources.first() {
            match push.r#type() {
                pb::ResourceType::Profile => self.take_profile(resource, &mut ack),
                pb::ResourceType::Orders => {
                    let orders = pb::NodeOrders::decode(resource.payload.clone()).unwrap();
                    self.tell.send_modify(|seen| seen.orders = Some(orders));
                }
                _ => {}
            }
        }
        ack
    }

    fn take_profile(&mut self, resource: &pb::Resource, ack: &mut pb::Ack) {
        let value = value_in(&resource.payload);
        self.tell.send_modify(|seen| seen.values.push(value));
        let hash = resource.hash.clone();
        self.profile.offered_hash.clone_from(&hash);
        self.profile.errors.clear();
        let status = if value > self.manner.value_max {
            self.profile
                .errors
                .push(weir_proto::tuning::v1::FieldError {
                    path: KNOB.to_owned(),
                    ..Default::default()
                });
            pb::ApplyStatus::Rejected
        } else {
            self.profile.effective_hash = hash;
            pb::ApplyStatus::Applied
        };
        self.profile.set_last_attempt(status);
        ack.set_status(status);
        ack.profile = Some(self.profile.clone());
    }
}

impl Held {
    /// False when what is held then is not what the push says.
    fn take(&mut self, push: &pb::Push) -> bool {
        if push.reset {
            self.resources.clear();
        }
        for name in &push.removed {
            self.resources.remove(name);
        }
        for resource in &push.resources {
            let hash = content_hash(&resource.payload);
            self.resources.insert(resource.name.clone(), hash);
        }
        self.point = pb::ResumePoint {
            r#type: push.r#type,
            epoch: push.epoch.clone(),
            version: push.version,
            set_hash: push.set_hash.clone(),
        };
        let hashes = self.resources.iter();
        let hashes = hashes.map(|(name, hash)| (name.as_str(), *hash));
        set_hash(hashes)[..] == push.set_hash[..]
    }
}

/// What a profile says of the knob; what an override says wins.
fn value_in(payload: &[u8]) -> u64 {
    let tuned = pb::TunedProfile::decode(payload).unwrap();
    let over = tuned
        .overrides
        .into_iter()
        .filter_map(|timed| timed.setting);
    let mut settings = tuned
        .base
        .unwrap_or_default()
        .settings
        .into_iter()
        .chain(over);
    let found = settings.rfind(|setting| setting.path == KNOB);
    match found.and_then(|setting| setting.value?.kind) {
        Some(weir_proto::tuning::v1::value::Kind::Count(count)) => count,
        None => 0,
        other => panic!("{other:?}"),
    }
}

fn wrapped(message: pb::node_message::Message) -> pb::NodeMessage {
    pb::NodeMessage {
        message: Some(message),
    }
}
