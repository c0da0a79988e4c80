//! Takes what the control plane pushes and says what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::{Instant, sleep};
use weir_core::trace::TraceContext;
use weir_core::tuning::{Code, Problem};
use weir_proto::control::v1 as pb;
use weir_proto::convert::field_error;
use weir_proto::sync::{ContentHash, content_hash};
use weir_proto::tuning::v1::FieldError;

use super::held::HeldSet;
use super::link_status::LinkStatus;
use super::payload::{self, Offered};
use super::start::Start;
use crate::actors::config_agent::last_known_good::Keeper;
use crate::actors::config_agent::{ConfigAgentHandle, Taken, Verdict};
use crate::config::Give;
use crate::link::Refused;
use crate::orders::{Orders, OrdersHandle};
use crate::snapshot::Snapshot;
use crate::telemetry::spans::{SpanKind, Tracer};
use crate::telemetry::steps::StepTrace;

/// How long a push waits for a config agent that is restarting, and the wait between two tries. What does not
/// reach it until then is tried again with each tick.
pub(super) const AGENT_PATIENCE: Duration = Duration::from_secs(5);
const AGENT_RETRY: Duration = Duration::from_millis(250);
/// What the disk keeps.
pub(super) const KEPT: [pb::ResourceType; 3] = [
    pb::ResourceType::Profile,
    pb::ResourceType::Weights,
    pb::ResourceType::Endpoints,
];

/// Where it hands on what it takes.
pub struct Ends {
    /// Profile, weights, endpoints.
    pub agent: ConfigAgentHandle,
    /// Orders.
    pub orders: OrdersHandle,
    /// The disk, if the node has a place there.
    pub keeper: Option<Keeper>,
    /// Where it shows how it is.
    pub status: Snapshot<LinkStatus>,
    /// Takes what a profile that was pushed in a trace comes to.
    pub tracer: Tracer,
}

/// The taker.
pub struct Taker {
    pub(super) ends: Ends,
    pub(super) held: BTreeMap<i32, HeldSet>,
    /// Types of which everything shall be sent again.
    forgotten: BTreeSet<i32>,
    /// Types that the agent was away for.
    unsettled: BTreeSet<i32>,
    /// The profile offered last.
    pub(super) offered: Option<Offered>,
    /// The profile in force.
    pub(super) in_force: Option<Offered>,
    /// When the profile in force changes by itself.
    pub(super) next_end: Option<Instant>,
    /// The configuration that the last attempt met, and its file.
    pub(super) config_revision: u64,
    pub(super) file: ContentHash,
    pub(super) state: pb::ProfileState,
    /// Of the push that is being taken.
    pub(super) trace: StepTrace,
}

impl Taker {
    /// Goes on from where the node's last run ended. The agent has taken `start.given`, or has said why not.
    pub fn new(start: Start, ends: Ends) -> Self {
        let in_force = ends.agent.in_force();
        let mut state = pb::ProfileState {
            origin: "none".to_owned(),
            quarantined: start.quarantined,
            ..pb::ProfileState::default()
        };
        let mut taker_in_force = None;
        if let Some(offered) = &start.offered {
            state.offered_hash = offered.hash.to_vec();
            let mut problems = offered.problems.clone();
            problems.extend(in_force.profile_problems.iter().cloned());
            if problems.is_empty() {
                state.set_last_attempt(pb::ApplyStatus::Applied);
                state.effective_hash = offered.hash.to_vec();
                state.origin = offered.origin.to_owned();
                let unsupported = in_force.config.unsupported();
                state.unsupported = errors(offered.unknown.iter().chain(&unsupported));
                let pending = in_force.config.pending_restart();
                state.pending_restart = pending.iter().map(ToString::to_string).collect();
                taker_in_force.clone_from(&start.offered);
            } else {
                state.set_last_attempt(pb::ApplyStatus::Rejected);
                state.errors = errors(&problems);
            }
        }
        if let Some(problem) = &start.rolled_back {
            state.set_last_attempt(pb::ApplyStatus::Rejected);
            state.errors = errors([problem]);
            state.offered_hash = state.quarantined.last().cloned().unwrap_or_default();
        }
        let now = Instant::now();
        Self {
            next_end: taker_in_force
                .as_ref()
                .and_then(|offered| offered.next_end(now)),
            config_revision: in_force.revision,
            file: content_hash(in_force.config.text().as_bytes()),
            held: start.held,
            forgotten: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            offered: start.offered,
            in_force: taker_in_force,
            ends,
            state,
            trace: StepTrace::default(),
        }
    }

    /// A profile that the start left out is not what a crash counts against.
    pub async fn begin(&mut self) {
        let in_force = self.in_force.as_ref().map(|in_force| in_force.hash);
        // What the disk says against it was said when it was opened.
        let _ = self.announce(in_force).await;
    }

    /// What the control plane is told that the node holds.
    pub fn resume(&self) -> Vec<pb::ResumePoint> {
        let held = self.held.iter();
        let held = held.filter(|(kind, _)| !self.forgotten.contains(kind));
        held.filter_map(|(kind, set)| Some(set.resume(pb::ResourceType::try_from(*kind).ok()?)))
            .collect()
    }

    /// What became of the profile.
    pub fn state(&self) -> &pb::ProfileState {
        &self.state
    }

    /// Shows how the stream is, and what became of the profile.
    pub fn show(&self, change: impl FnOnce(&mut LinkStatus)) {
        let mut status = LinkStatus::clone(&self.ends.status.load());
        change(&mut status);
        if *status.profile != self.state {
            status.profile = Arc::new(self.state.clone());
        }
        for (shown, of) in [
            (&mut status.offered_layers, &self.offered),
            (&mut status.effective_layers, &self.in_force),
        ] {
            let layers = of.as_ref().map_or(&[][..], |of| of.set.layers());
            if **shown != *layers {
                *shown = layers.into();
            }
        }
        let keeper = self.ends.keeper.as_ref();
        status.disk_problem = keeper.and_then(|keeper| keeper.status().problem.clone());
        self.ends.status.publish(status);
    }

    /// Takes a push; the answer goes back.
    pub async fn take(&mut self, push: &pb::Push) -> pb::Ack {
        let kind = push.r#type();
        let mut ack = pb::Ack {
            nonce: push.nonce,
            r#type: push.r#type,
            version: push.version,
            ..pb::Ack::default()
        };
        let before = self.held.get(&push.r#type).cloned().unwrap_or_default();
        let is_forgotten = self.forgotten.contains(&push.r#type) && !push.reset;
        let after = match before.after(push) {
            Ok(after) if !is_forgotten => after,
            _ => {
                ack.resync = true;
                return ack;
            }
        };
        self.forgotten.remove(&push.r#type);
        self.held.insert(push.r#type, after);
        let (status, problems) = match kind {
            pb::ResourceType::Profile => {
                self.trace = self.trace_of(push);
                let status = self.take_profile().await;
                self.tell(push, status);
                ack.profile = Some(self.state.clone());
                (status, self.state.errors.clone())
            }
            pb::ResourceType::Unspecified => {
                let problem = Problem::new("type", Code::Unsupported, "is not known", "");
                (pb::ApplyStatus::Rejected, errors([&problem]))
            }
            _ => self.hand_on(kind, AGENT_PATIENCE).await,
        };
        ack.set_status(status);
        ack.errors = problems;
        if KEPT.contains(&kind) {
            self.keep().await;
        }
        ack
    }

    /// Where the taking of a profile belongs.
    fn trace_of(&self, push: &pb::Push) -> StepTrace {
        let said = HeaderValue::from_str(&push.trace_context).ok();
        let Some(follows) = said.as_ref().and_then(TraceContext::parse) else {
            return StepTrace::default();
        };
        let whole = ("profile.take", SpanKind::Consumer);
        StepTrace::begin(&self.ends.tracer, Some(follows), whole, Instant::now())
    }

    fn tell(&mut self, push: &pb::Push, status: pb::ApplyStatus) {
        let mut trace = std::mem::take(&mut self.trace);
        let version = i64::try_from(push.version).unwrap_or(i64::MAX);
        trace.note(("weir.profile.version", version.into()));
        trace.note(("weir.profile.status", status.as_text().into()));
        let problem = self.state.errors.first();
        let problem = problem.filter(|_| status == pb::ApplyStatus::Rejected);
        trace.finish(problem.map(|error| format!("{}: {}", error.path, error.message)));
    }

    /// Hands on what is held of a type other than profiles.
    async fn hand_on(
        &mut self,
        kind: pb::ResourceType,
        patience: Duration,
    ) -> (pb::ApplyStatus, Vec<FieldError>) {
        let held = self.held.get(&(kind as i32)).cloned().unwrap_or_default();
        let give = match kind {
            pb::ResourceType::Weights => Give::Weights(payload::weights(&held)),
            pb::ResourceType::Endpoints => Give::Endpoints(payload::endpoints(&held)),
            pb::ResourceType::Peers => {
                self.show(|status| status.peers = payload::peers(&held));
                return (pb::ApplyStatus::Applied, Vec::new());
            }
            pb::ResourceType::Orders => {
                let pb::NodeOrders {
                    cordoned, draining, ..
                } = payload::orders(&held);
                self.ends.orders.obey(Orders { cordoned, draining }).await;
                return (pb::ApplyStatus::Applied, Vec::new());
            }
            pb::ResourceType::Profile | pb::ResourceType::Unspecified => {
                return (pb::ApplyStatus::Unchanged, Vec::new());
            }
        };
        match self.give(kind, give, patience).await {
            Ok(taken) if taken.unchanged => (pb::ApplyStatus::Unchanged, Vec::new()),
            Ok(_) => (pb::ApplyStatus::Applied, Vec::new()),
            Err(problems) => (pb::ApplyStatus::Rejected, errors(&problems)),
        }
    }

    /// Gives to the agent; what does not reach it is not settled.
    pub(super) async fn give(
        &mut self,
        kind: pb::ResourceType,
        give: Give,
        patience: Duration,
    ) -> Result<Taken, Vec<Problem>> {
        let given = give_to(&self.ends.agent, give, self.trace.context(), patience);
        match Box::pin(given).await {
            Ok(verdict) => {
                self.unsettled.remove(&(kind as i32));
                verdict
            }
            Err(refused) => {
                self.unsettled.insert(kind as i32);
                let message = format!("the config agent did not take it yet: {refused}");
                let path = kind.as_str_name().trim_start_matches("RESOURCE_TYPE_");
                let path = path.to_lowercase();
                Err(vec![Problem::new(path, Code::Infeasible, message, "")])
            }
        }
    }

    /// Lets time pass: overrides end, what was refused or did not get through is tried again, content proves good.
    pub async fn tick(&mut self) {
        self.end_overrides().await;
        let is_refused = self.state.last_attempt() == pb::ApplyStatus::Rejected;
        let mut is_news = self.meets_other_file() && is_refused;
        for kind in KEPT {
            if self.unsettled.contains(&(kind as i32)) {
                self.hand_on(kind, Duration::ZERO).await;
                is_news = true;
            }
        }
        if is_news {
            if is_refused {
                self.attempt(Duration::ZERO).await;
            }
            self.keep().await;
        }
        if let Some(keeper) = &self.ends.keeper {
            // The keeper tells of the disk.
            let _ = keeper.look(true).await;
        }
    }

    /// What a command asks for.
    pub fn answer(&mut self, command: &pb::Command) -> pb::CommandResult {
        let mut result = pb::CommandResult {
            id: command.id.clone(),
            ..pb::CommandResult::default()
        };
        match &command.command {
            Some(pb::command::Command::ReportEffective(_)) => {
                result.effective = Some(effective(&self.ends.agent));
            }
            // What is held stays in force, and on disk, until it is replaced.
            Some(pb::command::Command::Resync(_)) => {
                self.forgotten = self.held.keys().copied().collect();
            }
            None => result.error = "the command is not known to this version".to_owned(),
        }
        result
    }
}

/// Gives to the agent, again until `patience` ends if it is restarting.
pub(super) async fn give_to(
    agent: &ConfigAgentHandle,
    give: Give,
    context: Option<TraceContext>,
    patience: Duration,
) -> Result<Verdict, Refused> {
    let deadline = Instant::now() + patience;
    loop {
        match agent.take_under(give.clone(), context).await {
            Err(_) if Instant::now() < deadline => sleep(AGENT_RETRY).await,
            answer => return answer,
        }
    }
}

pub(super) fn errors<'a>(problems: impl IntoIterator<Item = &'a Problem>) -> Vec<FieldError> {
    problems.into_iter().map(field_error).collect()
}

fn effective(agent: &ConfigAgentHandle) -> pb::EffectiveReport {
    let in_force: Arc<_> = agent.in_force();
    let knobs = in_force.config.effective();
    pb::EffectiveReport {
        knobs: knobs.into_iter().map(crate::describe::effective).collect(),
    }
}
