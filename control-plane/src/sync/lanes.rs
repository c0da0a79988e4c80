//! What a node holds, type by type, and what it is due.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weir_core::trace::TraceContext;
use weir_proto::control::v1 as pb;

use super::Parts;
use super::hello::Hello;
use super::lane::{Answer, Lane};
use super::resources::{Held, Resource, ResourceSet};
use crate::profiles::Offer;
use crate::steps::{self, Step, Steps};

/// How long a node that holds more than this instance has read waits for it to catch up, while the store answers:
/// it may be an older state of the store that nobody saw being put back. An instance that has lost the store cannot
/// know, and tells such a node nothing.
pub const CATCH_UP_LIMIT: Duration = Duration::from_secs(5);

/// How long after its write a push of a profile belongs to the write's trace: who comes back later is no part of it.
const TRACED_MS: u64 = 600_000;

/// The lanes of one stream.
pub(super) struct Lanes {
    parts: Arc<Parts>,
    hello: Arc<Hello>,
    epoch: Arc<str>,
    lanes: Vec<Lane>,
    next_nonce: u64,
    /// Until then, at least, a lane whose node is ahead of this instance is not pushed to.
    catch_up_until: Option<Instant>,
    /// Since when the store was to be asked.
    asked: Instant,
    /// The profile that was pushed last, until it is answered.
    pushed: Option<Pushed>,
}

/// A push that belongs to a trace.
struct Pushed {
    nonce: u64,
    write: TraceContext,
    context: TraceContext,
    sent_at: Instant,
}

impl Lanes {
    /// Those to a node that has just said hello.
    pub(super) fn new(parts: Arc<Parts>, hello: Arc<Hello>, epoch: Arc<str>, now: Instant) -> Self {
        let lane = |kind: &pb::ResourceType| {
            let held = hello.held(*kind).map(|(of, held)| match *of == *epoch {
                true => held,
                // The version compares with nothing, but equal content is equal.
                false => Held { version: 0, ..held },
            });
            Lane::new(*kind, held)
        };
        Self {
            lanes: hello.subscribe.iter().map(lane).collect(),
            parts,
            hello,
            epoch,
            next_nonce: 1,
            catch_up_until: Some(now + CATCH_UP_LIMIT),
            asked: now,
            pushed: None,
        }
        .asking()
    }

    /// Has the store asked if a node is ahead.
    fn asking(self) -> Self {
        if self.is_any_ahead() {
            self.parts.view.asker.ask();
        }
        self
    }

    /// Another nonce.
    pub(super) fn nonce(&mut self) -> u64 {
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        nonce
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// The store is another one: versions begin anew.
    pub(super) fn change_epoch(&mut self, epoch: Arc<str>) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.lanes.iter_mut().for_each(Lane::forget_version);
        }
    }

    /// When a node that was ahead is told what there is.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.catch_up_until
    }

    /// It is that time: a node that is still ahead is told what there is, if that is known.
    pub(super) fn look_again(&mut self, now: Instant) {
        let view = &self.parts.view;
        let is_lost = view.cfg.borrow().lost.is_some() || view.live.borrow().lost.is_some();
        let is_known = !is_lost && view.asker.has_answered(self.asked);
        if is_known || !self.is_any_ahead() {
            self.catch_up_until = None;
            return;
        }
        view.asker.ask();
        self.asked = now;
        self.catch_up_until = Some(now + CATCH_UP_LIMIT);
    }

    fn is_any_ahead(&self) -> bool {
        let mut lanes = self.lanes.iter();
        lanes.any(|lane| self.is_ahead(lane, &self.set_of(lane.kind())))
    }

    /// The push that is due in a lane.
    pub(super) fn due(&mut self, at: usize, now: Instant) -> Option<pb::Push> {
        let lane = &self.lanes[at];
        if lane.waiting(now).is_some() {
            return None;
        }
        let set = self.set_of(lane.kind());
        if self.catch_up_until.is_some() && self.is_ahead(lane, &set) {
            return None;
        }
        // Operators are told where it is published; the node would take it for a broken stream.
        if set.check_size("").is_err() {
            return None;
        }
        let push = self.lanes[at].push(&set, &self.epoch, self.next_nonce, now)?;
        self.next_nonce += 1;
        let (trace_context, layers) = match push.r#type() {
            pb::ResourceType::Profile => {
                let offer = self.offer();
                (self.trace(&offer, push.nonce, now), offer.layers.clone())
            }
            _ => (String::new(), Vec::new()),
        };
        Some(pb::Push {
            sent_at_unix_ms: self.parts.clock.unix_ms_now(),
            trace_context,
            layers,
            ..push
        })
    }

    fn offer(&self) -> Arc<Offer> {
        let profiles = Arc::clone(&self.parts.view.profiles.borrow());
        profiles.offer_for(self.hello.node_id(), self.hello.labels())
    }

    /// Where the push of a profile belongs that was written not long ago.
    fn trace(&mut self, offer: &Offer, nonce: u64, now: Instant) -> String {
        let oldest = self.parts.clock.unix_ms_now().saturating_sub(TRACED_MS);
        self.pushed = offer
            .written
            .filter(|(_, at)| *at >= oldest)
            .map(|(write, _)| Pushed {
                nonce,
                write,
                context: Steps::of_push(write, self.hello.node_id(), nonce),
                sent_at: now,
            });
        let context = self.pushed.as_ref().map(|pushed| pushed.context.to_text());
        context.unwrap_or_default()
    }

    fn tell_push(&mut self, ack: &pb::Ack) {
        let Some(pushed) = self.pushed.take_if(|pushed| pushed.nonce == ack.nonce) else {
            return;
        };
        let refusal = |error: &weir_proto::tuning::v1::FieldError| {
            format!("{}: {}", error.path, error.message)
        };
        self.parts.steps.tell(Step {
            context: pushed.context,
            parent: Some(pushed.write.parent_id),
            name: steps::PUSH,
            begun: pushed.sent_at,
            ended: Instant::now(),
            attributes: vec![
                ("weir.node", self.hello.node_id().to_owned()),
                ("weir.profile.status", ack.status().as_text().to_owned()),
            ],
            error: ack.errors.first().map(refusal),
        });
    }

    /// Another instance told the node of a revision that this one has not read yet.
    fn is_ahead(&self, lane: &Lane, set: &ResourceSet) -> bool {
        let view = &self.parts.view;
        let part = match lane.kind() {
            pb::ResourceType::Endpoints | pb::ResourceType::Peers => &view.live,
            _ => &view.cfg,
        };
        let read = part.borrow().revision.max(set.version());
        lane.held()
            .is_some_and(|held| held.version > read && held.set_hash != set.set_hash())
    }

    /// Takes note of an answer.
    ///
    /// # Errors
    /// How the node breaks the protocol.
    pub(super) fn acked(&mut self, ack: &pb::Ack) -> Result<(), &'static str> {
        let kind = ack.r#type();
        let lane = self.lanes.iter_mut().find(|lane| lane.kind() == kind);
        let lane = lane.ok_or("ack.type: was not subscribed")?;
        match lane.acked(ack.nonce, ack.resync) {
            Answer::Expected => {
                self.tell_push(ack);
                Ok(())
            }
            Answer::Unexpected => Err("ack.nonce: answers no push in flight"),
            Answer::Hopeless => Err("ack.resync: asked too often; what was pushed made no sense"),
        }
    }

    /// How long the longest push in flight has waited.
    pub(super) fn longest_wait(&self, now: Instant) -> Duration {
        let waits = self.lanes.iter().filter_map(|lane| lane.waiting(now));
        waits.max().unwrap_or_default()
    }

    /// What the node holds, as far as it is known.
    pub(super) fn states(&self) -> Vec<pb::ResumePoint> {
        let state = |lane: &Lane| {
            let held = lane.held().unwrap_or_default();
            pb::ResumePoint {
                r#type: lane.kind() as i32,
                epoch: self.epoch.to_string(),
                version: held.version,
                set_hash: held.set_hash.to_vec(),
            }
        };
        self.lanes.iter().map(state).collect()
    }

    fn set_of(&self, kind: pb::ResourceType) -> Arc<ResourceSet> {
        let view = &self.parts.view;
        match kind {
            pb::ResourceType::Weights => Arc::clone(&view.weights.borrow()),
            pb::ResourceType::Endpoints => Arc::clone(&view.endpoints.borrow()),
            pb::ResourceType::Peers => Arc::clone(&view.peers.borrow()),
            pb::ResourceType::Profile => {
                let profiles = Arc::clone(&view.profiles.borrow());
                let offer = profiles.offer_for(self.hello.node_id(), self.hello.labels());
                let resource = Resource {
                    hash: offer.hash,
                    payload: offer.payload.clone(),
                };
                Arc::new(ResourceSet::of_one("profile", resource, offer.revision))
            }
            pb::ResourceType::Orders => {
                let orders = Arc::clone(&view.orders.borrow());
                let order = orders.get(self.hello.node_id()).copied();
                let order = order.unwrap_or_default();
                let mut set = ResourceSet::default();
                let payload = prost::Message::encode_to_vec(&order.orders);
                set.put("node", payload.into(), order.revision.max(1));
                Arc::new(set)
            }
            pb::ResourceType::Unspecified => Arc::default(),
        }
    }
}
