//! One node's stream, from its hello to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic::{Status, Streaming};
use weir_proto::control::v1 as pb;

use super::hello::Hello;
use super::lane::{RESET_AFTER, STALE_AFTER};
use super::lanes::Lanes;
use super::out::Out;
use super::resources::ResourceSet;
use super::said::within_bounds;
use super::sessions::{Live, Place, Question};
use super::{Parts, presence, stopped};
use crate::view::Orders;
use crate::wait::sleep_until;

/// How often both ends say that they live.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// How often deadlines are looked at, and who else has the node: what one node says must not wake all others.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Questions that wait for the node's answer.
const QUESTIONS_MAX: usize = 8;

/// Problems of a refused profile that are logged, and characters of each one's path.
const PROBLEMS_LOGGED_MAX: usize = 5;
const PATH_CHARS_LOGGED_MAX: usize = 80;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The node ended it in order: it stops.
    ByNode,
    /// It broke, or was ended for a fault.
    Broken,
    /// Another stream has the node's place.
    Replaced,
    /// This instance stops.
    Stopping,
    /// It was old enough; the node comes back at once.
    Renewed,
}

/// The session at work.
pub(super) struct Session {
    parts: Arc<Parts>,
    hello: Arc<Hello>,
    lanes: Lanes,
    live: Arc<arc_swap::ArcSwap<Live>>,
    questions: mpsc::Receiver<Question>,
    asked: HashMap<String, oneshot::Sender<pb::CommandResult>>,
    /// Before that the node comes back: so certificates are looked at again, and instances share the nodes anew.
    ends_at: Instant,
    out: Out,
}

/// What a session waits for to change.
struct Changes {
    profiles: watch::Receiver<Arc<crate::profiles::ProfileView>>,
    weights: watch::Receiver<Arc<ResourceSet>>,
    endpoints: watch::Receiver<Arc<ResourceSet>>,
    peers: watch::Receiver<Arc<ResourceSet>>,
    orders: watch::Receiver<Arc<Orders>>,
    epoch: watch::Receiver<Option<Arc<str>>>,
    stop: watch::Receiver<bool>,
}

impl Session {
    pub(super) fn new(
        parts: Arc<Parts>,
        hello: Arc<Hello>,
        epoch: Arc<str>,
        place: Place,
        out: Out,
    ) -> Self {
        let now = Instant::now();
        let mut random = fastrand::Rng::with_seed(parts.seed ^ place.serial);
        let age = parts.stream_age.mul_f64(0.9 + 0.2 * random.f64());
        Self {
            lanes: Lanes::new(Arc::clone(&parts), Arc::clone(&hello), epoch, now),
            parts,
            hello,
            live: place.live,
            questions: place.questions,
            asked: HashMap::new(),
            ends_at: now + age,
            out,
        }
    }

    /// Serves the node until the stream ends.
    pub(super) async fn run(mut self, mut inbound: Streaming<pb::NodeMessage>) -> Ended {
        let view = &self.parts.view;
        let mut changes = Changes {
            profiles: view.profiles.clone(),
            weights: view.weights.clone(),
            endpoints: view.endpoints.clone(),
            peers: view.peers.clone(),
            orders: view.orders.clone(),
            epoch: self.parts.epoch.clone(),
            stop: self.parts.stop.clone(),
        };
        let mut heartbeat = interval(HEARTBEAT_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.push_all();
            let ended = tokio::select! {
                biased;
                () = stopped(&mut changes.stop) => self.go_away("stopping", Ended::Stopping),
                question = self.questions.recv() => match question {
                    Some(question) => self.ask(question),
                    None => self.go_away("another stream of this node is younger", Ended::Replaced),
                },
                _ = look.tick() => self.look(),
                _ = heartbeat.tick() => self.heartbeat().await,
                Ok(()) = changes.epoch.changed() => self.change_epoch(),
                // After what comes seldom: who never stops talking cannot keep that from happening.
                message = inbound.message() => match message {
                    Ok(Some(message)) => self.heard(message).await,
                    Ok(None) => Some(Ended::ByNode),
                    Err(_) => Some(Ended::Broken),
                },
                Ok(()) = changes.profiles.changed() => None,
                Ok(()) = changes.weights.changed() => None,
                Ok(()) = changes.endpoints.changed() => None,
                Ok(()) = changes.peers.changed() => None,
                Ok(()) = changes.orders.changed() => None,
                () = sleep_until(self.lanes.look_at()) => {
                    self.lanes.look_again(Instant::now());
                    None
                }
            };
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    /// Sends what is due in every lane that waits for nothing.
    fn push_all(&mut self) {
        for at in 0..self.lanes.len() {
            // A full queue means that the node reads nothing; the lane stays as it is and is tried again.
            let Some(permit) = self.out.try_reserve() else {
                return;
            };
            if let Some(push) = self.lanes.due(at, Instant::now()) {
                permit.send(message(pb::control_message::Message::Push(push)));
            }
        }
    }

    async fn heard(&mut self, message: pb::NodeMessage) -> Option<Ended> {
        use pb::node_message::Message;
        match message.message {
            Some(Message::Ack(ack)) => return self.acked(ack).await,
            Some(Message::Heartbeat(heartbeat)) => self.publish(|live| {
                live.heartbeat = Some(heartbeat);
            }),
            Some(Message::ProfileState(state)) => self.profile_state(state).await,
            Some(Message::CommandResult(result)) => {
                if let Some(answer) = self.asked.remove(&result.id) {
                    // Whoever asked may have stopped waiting.
                    let _ = answer.send(result);
                }
            }
            Some(Message::Hello(_)) => return self.fault("hello: was said already"),
            None => return self.fault("message: is empty, or of a newer version"),
        }
        None
    }

    async fn acked(&mut self, ack: pb::Ack) -> Option<Ended> {
        if let Err(fault) = self.lanes.acked(&ack) {
            return self.fault(fault);
        }
        if let Some(state) = ack.profile {
            self.profile_state(state).await;
        }
        None
    }

    async fn profile_state(&mut self, state: pb::ProfileState) {
        let state = within_bounds(state);
        let now = self.parts.clock.unix_ms_now();
        if self.live.load().profile == state {
            return;
        }
        let rejected = state.last_attempt() == pb::ApplyStatus::Rejected;
        if rejected {
            let named = state.errors.iter().take(PROBLEMS_LOGGED_MAX);
            let problems: Vec<String> = named
                .map(|error| error.path.chars().take(PATH_CHARS_LOGGED_MAX).collect())
                .collect();
            tracing::warn!(
                node = self.hello.node_id(),
                problems = problems.join(", "),
                "a node refuses its profile"
            );
        }
        self.publish(|live| {
            live.profile = state.clone();
            live.profile_at_unix_ms = now;
        });
        // In boxes, as what is done seldom: a stream keeps room for all that it may wait for.
        Box::pin(presence::put_status(&self.parts, &self.hello, state, now)).await;
    }

    fn publish(&self, change: impl FnOnce(&mut Live)) {
        let mut live = Live::clone(&self.live.load());
        change(&mut live);
        self.live.store(Arc::new(live));
        self.parts.sessions.changed();
    }

    fn ask(&mut self, question: Question) -> Option<Ended> {
        self.asked.retain(|_, answer| !answer.is_closed());
        if self.asked.len() < QUESTIONS_MAX {
            let id = self.lanes.nonce().to_string();
            let command = pb::Command {
                id: id.clone(),
                command: Some(question.command),
            };
            let message = message(pb::control_message::Message::Command(command));
            if self.out.try_send(Ok(message)).is_ok() {
                self.asked.insert(id, question.answer);
            }
        }
        None
    }

    /// Looks at how long answers have been owed, how old the stream is, and whether the node is elsewhere.
    fn look(&mut self) -> Option<Ended> {
        let now = Instant::now();
        if now >= self.ends_at {
            return self.go_away("the stream is renewed", Ended::Renewed);
        }
        let longest = self.lanes.longest_wait(now);
        if longest >= RESET_AFTER {
            return self.fault("a push was not answered in time");
        }
        let stale = longest >= STALE_AFTER;
        if self.live.load().stale != stale {
            self.publish(|live| live.stale = stale);
        }
        self.check_taken_over()
    }

    async fn heartbeat(&mut self) -> Option<Ended> {
        let said = self.live.load_full();
        let now = self.parts.clock.unix_ms_now();
        Box::pin(presence::repeat_status(
            &self.parts,
            &self.hello,
            &said,
            now,
        ))
        .await;
        let heartbeat = pb::ControlHeartbeat {
            server_time_unix_ms: self.parts.clock.unix_ms_now(),
            states: self.lanes.states(),
        };
        let message = message(pb::control_message::Message::Heartbeat(heartbeat));
        match self.out.try_send(Ok(message)) {
            Err(mpsc::error::TrySendError::Closed(_)) => Some(Ended::Broken),
            // A full queue is found by the look at answers.
            _ => None,
        }
    }

    fn change_epoch(&mut self) -> Option<Ended> {
        if let Some(epoch) = self.parts.epoch() {
            self.lanes.change_epoch(epoch);
        }
        None
    }

    /// Another instance may have let in a younger process of this node.
    fn check_taken_over(&self) -> Option<Ended> {
        let is_taken = {
            let nodes = self.parts.view.nodes.borrow();
            let presence = nodes.get(self.hello.node_id())?.presence.as_ref()?;
            presence.instance != *self.parts.instance && presence.boot_id > self.hello.wire.boot_id
        };
        match is_taken {
            true => self.go_away("a younger process has this id", Ended::Replaced),
            false => None,
        }
    }

    fn fault(&self, what: &str) -> Option<Ended> {
        tracing::warn!(
            node = self.hello.node_id(),
            what,
            "a node's stream is ended"
        );
        let _ = self.out.try_send(Err(Status::invalid_argument(what)));
        Some(Ended::Broken)
    }

    fn go_away(&self, reason: &str, ended: Ended) -> Option<Ended> {
        let away = pb::GoAway {
            reason: reason.to_owned(),
            retry_after_ms: 0,
            superseded: ended == Ended::Replaced,
        };
        let message = message(pb::control_message::Message::GoAway(away));
        let _ = self.out.try_send(Ok(message));
        Some(ended)
    }
}

/// Wraps one kind of message.
pub(super) fn message(message: pb::control_message::Message) -> pb::ControlMessage {
    pb::ControlMessage {
        message: Some(message),
    }
}
