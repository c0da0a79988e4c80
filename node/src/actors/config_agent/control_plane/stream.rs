//! Connects to the control plane, answers it, and comes back when the stream breaks.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint as Uri};
use tonic::{Request, Status, Streaming};
use weir_control_plane::governance::secret::{SecretError, SecretRef};
use weir_control_plane::governance::tls::RenewedClientTls;
use weir_core::backoff::Backoff;
use weir_core::error::chain;
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::node_sync_client::NodeSyncClient;

use super::taker::Taker;
use crate::ports::net::{Endpoint, Net};
use crate::telemetry::metrics::NodeMetrics;

const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For the first word of the control plane.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Heartbeats that may be missing before the stream is given up.
const HEARTBEATS_MISSED_MAX: u32 = 3;
/// Answers that wait to be sent.
const OUT_WAITING_MAX: usize = 16;
/// Bytes of one push.
const PUSH_BYTES_MAX: usize = 64 << 20;
const TICK: Duration = Duration::from_secs(1);
/// A stream that lasted for this long worked: the waits begin small again.
const WORKED_AFTER: Duration = Duration::from_secs(10);
/// How long the control plane may take to end its side when the node leaves.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How the control plane is reached, and what it is told of this node.
pub struct Settings {
    /// Places that are tried in turn, beginning with any.
    pub endpoints: Vec<Endpoint>,
    /// How the connection is made.
    pub net: Arc<dyn Net>,
    /// TLS, where it is asked for; files that were renewed count for the next stream.
    pub tls: Option<RenewedClientTls>,
    /// Where the token is, if one is asked for.
    pub token: Option<SecretRef>,
    /// The node's first words; what it holds is filled in each time.
    pub hello: pb::Hello,
    /// What heartbeats tell.
    pub metrics: NodeMetrics,
    /// Seeds the waits.
    pub seed: u64,
}

/// Why a token cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// It is no token.
    #[error("holds what no header can carry")]
    NotAToken,
}

/// What proves to the control plane who the node is; one that was replaced counts for the next stream.
///
/// # Errors
/// Why there is none.
pub fn bearer(token: &SecretRef) -> Result<MetadataValue<Ascii>, TokenError> {
    let token = token.read()?;
    let bearer = MetadataValue::try_from(format!("Bearer {}", token.expose()));
    let mut bearer = bearer.map_err(|_| TokenError::NotAToken)?;
    bearer.set_sensitive(true);
    Ok(bearer)
}

/// How a stream ended.
enum Ended {
    /// The node stops.
    Stopping,
    /// It broke or could not be opened.
    Broken(String),
    /// The control plane sent the node away, for this time at least.
    SentAway { wait: Duration, why: String },
}

/// Keeps the stream until `stop` is true.
pub async fn run(mut settings: Settings, mut taker: Taker, mut stop: watch::Receiver<bool>) {
    let mut random = fastrand::Rng::with_seed(settings.seed);
    let mut backoff = Backoff::new(BACKOFF_MIN..=BACKOFF_MAX, random.fork());
    let mut at = random.usize(..settings.endpoints.len().max(1));
    let mut told = vec![String::new(); settings.endpoints.len()];
    taker.begin().await;
    loop {
        at = (at + 1) % settings.endpoints.len().max(1);
        let Some(endpoint) = settings.endpoints.get(at) else {
            return;
        };
        if let Some(tls) = &mut settings.tls {
            tls.renew();
        }
        let mut welcomed_at = None;
        let ended = one_stream(&settings, endpoint, &mut taker, &mut stop, &mut welcomed_at).await;
        show_away(&taker, &ended);
        if let Some(since) = welcomed_at {
            told.fill(String::new());
            if since.elapsed() >= WORKED_AFTER {
                backoff.reset();
            }
        }
        let wait = match ended {
            Ended::Stopping => return,
            Ended::SentAway { wait, .. } => wait.max(backoff.next_wait()),
            Ended::Broken(why) => {
                // Once for each outage, and again when the reason is another one.
                if told[at] != why {
                    tracing::warn!(%endpoint, why, "no control plane; the node goes on with what it has");
                    told[at] = why;
                }
                backoff.next_wait()
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = while_ticking(&mut taker, tokio::time::sleep(wait)) => {}
        }
    }
}

/// Shows that there is no stream, since when and why.
fn show_away(taker: &Taker, ended: &Ended) {
    let why = match ended {
        Ended::Stopping => "the node stops",
        Ended::Broken(why) | Ended::SentAway { why, .. } => why,
    };
    taker.show(|status| {
        status.connected = false;
        status.away_since.get_or_insert_with(Instant::now);
        status.why = why.into();
    });
}

/// Waits for something while time passes for the taker.
async fn while_ticking<T>(taker: &mut Taker, future: impl Future<Output = T>) -> T {
    tokio::pin!(future);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            value = &mut future => return value,
            _ = ticks.tick() => taker.tick().await,
        }
    }
}

async fn one_stream(
    settings: &Settings,
    endpoint: &Endpoint,
    taker: &mut Taker,
    stop: &mut watch::Receiver<bool>,
    welcomed_at: &mut Option<Instant>,
) -> Ended {
    let (out, messages) = mpsc::channel(OUT_WAITING_MAX);
    let told = taker.state().clone();
    let hello = pb::Hello {
        resume: taker.resume(),
        profile: Some(told.clone()),
        ..settings.hello.clone()
    };
    let opened = open(settings, endpoint, hello, &out, messages);
    let opened = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return Ended::Stopping,
        opened = while_ticking(taker, timeout(WELCOME_TIMEOUT, opened)) => opened,
    };
    let (inbound, welcome) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(status)) => return Ended::Broken(reason(&status)),
        Err(_) => return Ended::Broken("it does not answer".to_owned()),
    };
    let welcome = match welcome {
        First::Welcome(welcome) => welcome,
        First::GoAway(away) => return sent_away(&away),
    };
    *welcomed_at = Some(Instant::now());
    tracing::info!(%endpoint, instance = welcome.instance, "connected to the control plane");
    taker.show(|status| {
        status.connected = true;
        status.instance = welcome.instance.as_str().into();
        status.heard_at = Some(Instant::now());
        (status.away_since, status.why) = (None, "".into());
    });
    let heartbeat = Duration::from_millis(welcome.heartbeat_interval_ms.clamp(100, 600_000));
    let conversation = Conversation {
        taker,
        told,
        out,
        heartbeat,
        seq: 0,
        metrics: &settings.metrics,
    };
    conversation.run(inbound, stop).await
}

/// The control plane's first word.
enum First {
    Welcome(pb::Welcome),
    GoAway(pb::GoAway),
}

async fn open(
    settings: &Settings,
    endpoint: &Endpoint,
    hello: pb::Hello,
    out: &mpsc::Sender<pb::NodeMessage>,
    messages: mpsc::Receiver<pb::NodeMessage>,
) -> Result<(Streaming<pb::ControlMessage>, First), Status> {
    let channel = connect(settings, endpoint).await;
    let channel = channel.map_err(|error| Status::unavailable(chain(&error)))?;
    let mut client = NodeSyncClient::new(channel).max_decoding_message_size(PUSH_BYTES_MAX);
    let hello = message(pb::node_message::Message::Hello(hello));
    out.try_send(hello).expect("the queue is new");
    let mut request = Request::new(ReceiverStream::new(messages));
    if let Some(token) = &settings.token {
        let token = bearer(token).map_err(|error| Status::unauthenticated(error.to_string()))?;
        request.metadata_mut().insert("authorization", token);
    }
    let mut inbound = client.sync(request).await?.into_inner();
    let first = inbound.message().await?.and_then(|first| first.message);
    match first {
        Some(pb::control_message::Message::Welcome(welcome)) => {
            Ok((inbound, First::Welcome(welcome)))
        }
        Some(pb::control_message::Message::GoAway(away)) => Ok((inbound, First::GoAway(away))),
        _ => Err(Status::internal("the first message is no welcome")),
    }
}

async fn connect(
    settings: &Settings,
    endpoint: &Endpoint,
) -> Result<Channel, tonic::transport::Error> {
    let scheme = if settings.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let mut uri = Uri::from_shared(format!("{scheme}://{endpoint}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    if let Some(tls) = &settings.tls {
        uri = uri.tls_config(tls.in_force().clone())?;
    }
    let (net, to) = (Arc::clone(&settings.net), endpoint.clone());
    let connector = tower::service_fn(move |_| {
        let (net, to) = (Arc::clone(&net), to.clone());
        async move { net.connect(&to).await.map(TokioIo::new) }
    });
    uri.connect_with_connector(connector).await
}

/// What a status says, in words.
fn reason(status: &Status) -> String {
    match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    }
}

fn sent_away(away: &pb::GoAway) -> Ended {
    let floor = match away.superseded {
        // Two processes with one id must not take turns.
        true => {
            tracing::warn!(reason = away.reason, "sent away by the control plane");
            Duration::from_secs(30)
        }
        // Streams are renewed now and then, and instances stop.
        false => {
            tracing::info!(reason = away.reason, "sent away by the control plane");
            Duration::ZERO
        }
    };
    Ended::SentAway {
        wait: Duration::from_millis(away.retry_after_ms.min(600_000)).max(floor),
        why: away.reason.clone(),
    }
}

fn message(message: pb::node_message::Message) -> pb::NodeMessage {
    pb::NodeMessage {
        message: Some(message),
    }
}

/// A stream that both ends have spoken on.
struct Conversation<'a> {
    taker: &'a mut Taker,
    /// The state of the profile that the control plane knows.
    told: pb::ProfileState,
    out: mpsc::Sender<pb::NodeMessage>,
    heartbeat: Duration,
    seq: u64,
    metrics: &'a NodeMetrics,
}

impl Conversation<'_> {
    async fn run(
        mut self,
        mut inbound: Streaming<pb::ControlMessage>,
        stop: &mut watch::Receiver<bool>,
    ) -> Ended {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beats = interval(self.heartbeat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent_at = Instant::now() + self.heartbeat * HEARTBEATS_MISSED_MAX;
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return self.leave(inbound).await,
                message = inbound.message() => {
                    silent_at = Instant::now() + self.heartbeat * HEARTBEATS_MISSED_MAX;
                    match message {
                        Ok(Some(message)) => if let Some(ended) = self.heard(message).await {
                            return ended;
                        },
                        Ok(None) => return Ended::Broken("it ended the stream".to_owned()),
                        Err(status) => return Ended::Broken(reason(&status)),
                    }
                }
                () = sleep_until(silent_at) => return Ended::Broken("it is silent".to_owned()),
                _ = beats.tick() => self.beat(),
                _ = ticks.tick() => self.tick().await,
            }
        }
    }

    async fn heard(&mut self, message: pb::ControlMessage) -> Option<Ended> {
        use pb::control_message::Message;
        self.taker
            .show(|status| status.heard_at = Some(Instant::now()));
        let answer = match message.message? {
            Message::Push(push) => {
                let ack = self.taker.take(&push).await;
                if let Some(state) = &ack.profile {
                    self.told.clone_from(state);
                }
                pb::node_message::Message::Ack(ack)
            }
            Message::Command(command) => {
                pb::node_message::Message::CommandResult(self.taker.answer(&command))
            }
            Message::GoAway(away) => return Some(sent_away(&away)),
            Message::Welcome(_) | Message::Heartbeat(_) => return None,
        };
        self.taker.show(|_| {});
        let sent = self
            .out
            .send_timeout(self::message(answer), WELCOME_TIMEOUT)
            .await;
        let late = |_| Ended::Broken("it takes no answers".to_owned());
        sent.err().map(late)
    }

    async fn tick(&mut self) {
        self.taker.tick().await;
        self.taker.show(|_| {});
        let state = self.taker.state();
        if *state != self.told {
            let news = pb::node_message::Message::ProfileState(state.clone());
            // Without room the next tick tells it.
            if self.out.try_send(message(news)).is_ok() {
                self.told.clone_from(self.taker.state());
            }
        }
    }

    fn beat(&mut self) {
        self.seq += 1;
        let heartbeat = pb::NodeHeartbeat {
            seq: self.seq,
            connections_open: self.metrics.sum(|core| &core.connections_open),
            requests_in_flight: self.metrics.sum(|core| &core.requests_in_flight),
        };
        // One that is lost is made good by the next.
        let _ = self
            .out
            .try_send(message(pb::node_message::Message::Heartbeat(heartbeat)));
    }

    /// Ends this side, and waits for the other: what is merely dropped looks like a node that is in trouble.
    async fn leave(self, mut inbound: Streaming<pb::ControlMessage>) -> Ended {
        drop(self.out);
        let ended = async { while let Ok(Some(_)) = inbound.message().await {} };
        let _ = timeout(LEAVE_TIMEOUT, ended).await;
        Ended::Stopping
    }
}
