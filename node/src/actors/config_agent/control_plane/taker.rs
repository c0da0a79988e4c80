//! Takes what the control plane pushes and says what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tokio::time::{Instant, sleep};
use weir_core::error::chain;
use weir_core::tuning::{Code, Problem};
use weir_proto::control::v1 as pb;
use weir_proto::convert::field_error;

use super::held::HeldSet;
use super::link_status::LinkStatus;
use super::payload::{self, Offered};
use crate::actors::config_agent::last_known_good::{self, Boot, Keeper};
use crate::actors::config_agent::{ConfigAgentHandle, Taken};
use crate::config::{Give, Given};
use crate::orders::{Orders, OrdersHandle};
use crate::ports::clock::WallClock;
use crate::snapshot::Snapshot;

/// Tries to reach a config agent that is restarting, and the wait between two.
const AGENT_TRIES: u32 = 20;
const AGENT_RETRY: Duration = Duration::from_millis(250);

/// What a node held when it ended, as its disk tells.
#[derive(Clone, Debug, Default)]
pub struct Start {
    held: BTreeMap<i32, HeldSet>,
    offered: Option<Offered>,
    quarantined: Vec<Vec<u8>>,
    rolled_back: Option<Problem>,
    given: Given,
}

impl Start {
    /// Reads the last known good. What cannot be read is left out and told.
    pub fn of(boot: &Boot, clock: &WallClock) -> Self {
        let mut start = Self {
            quarantined: boot.quarantined.iter().map(|q| q.hash.0.to_vec()).collect(),
            ..Self::default()
        };
        if boot.rolled_back.is_some() {
            let reason = boot.quarantined.last().map_or("", |q| q.reason.as_str());
            start.rolled_back = Some(Problem::new("profile", Code::Quarantined, reason, ""));
        }
        let Some(content) = &boot.start_from else {
            return start;
        };
        let Ok(kept) = pb::LastKnownGood::decode(content.payload.clone()) else {
            tracing::error!("the last known good cannot be read");
            return start;
        };
        for push in &kept.sets {
            match HeldSet::default().after(push) {
                Ok(set) => start.hold(push.r#type(), set, clock),
                Err(error) => tracing::error!(%error, "a part of the last known good is left out"),
            }
        }
        start
    }

    /// What the node starts from.
    pub fn given(&self) -> &Given {
        &self.given
    }

    fn hold(&mut self, kind: pb::ResourceType, set: HeldSet, clock: &WallClock) {
        let given = std::mem::take(&mut self.given);
        self.given = match kind {
            pb::ResourceType::Weights => given.with(Give::Weights(payload::weights(&set))),
            pb::ResourceType::Endpoints => given.with(Give::Endpoints(payload::endpoints(&set))),
            pb::ResourceType::Profile => {
                let sent_at = Duration::from_millis(set.sent_at_unix_ms());
                let elapsed = clock.unix_now().saturating_sub(sent_at);
                let now = Instant::now();
                self.offered = Offered::of(&set, elapsed, now);
                let sound = self
                    .offered
                    .as_ref()
                    .filter(|offered| offered.problems.is_empty());
                match sound {
                    Some(offered) => given.with(Give::Profile(offered.at(now))),
                    None => given,
                }
            }
            _ => given,
        };
        self.held.insert(kind as i32, set);
    }
}

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
}

/// The taker.
pub struct Taker {
    ends: Ends,
    held: BTreeMap<i32, HeldSet>,
    /// The profile offered last.
    offered: Option<Offered>,
    /// The profile in force.
    in_force: Option<Offered>,
    /// When the profile in force changes by itself.
    next_end: Option<Instant>,
    /// The configuration that the last attempt met.
    config_revision: u64,
    state: pb::ProfileState,
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
                state.origin = "last-known-good".to_owned();
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
            held: start.held,
            offered: start.offered,
            in_force: taker_in_force,
            ends,
            state,
        }
    }

    /// What the control plane is told that the node holds.
    pub fn resume(&self) -> Vec<pb::ResumePoint> {
        let point = |(kind, set): (&i32, &HeldSet)| {
            let kind = pb::ResourceType::try_from(*kind).ok()?;
            // Orders and peers are not kept; a set is resumed only where it is in force.
            Some(set.resume(kind))
        };
        self.held.iter().filter_map(point).collect()
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
        let before = self.held.remove(&push.r#type).unwrap_or_default();
        let Ok(after) = before.after(push) else {
            ack.resync = true;
            return ack;
        };
        let (status, problems) = match kind {
            pb::ResourceType::Profile => {
                let status = self.take_profile(&after).await;
                ack.profile = Some(self.state.clone());
                (status, self.state.errors.clone())
            }
            pb::ResourceType::Weights => {
                self.hand_on(Give::Weights(payload::weights(&after))).await
            }
            pb::ResourceType::Endpoints => {
                self.hand_on(Give::Endpoints(payload::endpoints(&after)))
                    .await
            }
            pb::ResourceType::Peers => {
                self.show(|status| status.peers = payload::peers(&after));
                (pb::ApplyStatus::Applied, Vec::new())
            }
            pb::ResourceType::Orders => {
                let orders = payload::orders(&after);
                let orders = Orders {
                    cordoned: orders.cordoned,
                    draining: orders.draining,
                };
                self.ends.orders.obey(orders).await;
                (pb::ApplyStatus::Applied, Vec::new())
            }
            pb::ResourceType::Unspecified => {
                let problem = Problem::new("type", Code::Unsupported, "is not known", "");
                (pb::ApplyStatus::Rejected, errors([&problem]))
            }
        };
        self.held.insert(push.r#type, after);
        ack.set_status(status);
        ack.errors = problems;
        self.keep().await;
        ack
    }

    async fn hand_on(
        &self,
        give: Give,
    ) -> (pb::ApplyStatus, Vec<weir_proto::tuning::v1::FieldError>) {
        match give_to(&self.ends.agent, give).await {
            Ok(taken) if taken.unchanged => (pb::ApplyStatus::Unchanged, Vec::new()),
            Ok(_) => (pb::ApplyStatus::Applied, Vec::new()),
            Err(problems) => (pb::ApplyStatus::Rejected, errors(&problems)),
        }
    }

    async fn take_profile(&mut self, held: &HeldSet) -> pb::ApplyStatus {
        let now = Instant::now();
        match Offered::of(held, Duration::ZERO, now) {
            Some(offered) => {
                self.offered = Some(offered);
                self.attempt().await
            }
            None => pb::ApplyStatus::Unchanged,
        }
    }

    /// Tries to bring the profile offered last into force.
    async fn attempt(&mut self) -> pb::ApplyStatus {
        let Some(offered) = self.offered.clone() else {
            return pb::ApplyStatus::Unchanged;
        };
        self.state.offered_hash = offered.hash.to_vec();
        let before = self.in_force.as_ref().map(|in_force| in_force.hash);
        let result = match self.announce(Some(offered.hash)).await {
            Err(quarantined) => Err(vec![quarantined]),
            Ok(()) if !offered.problems.is_empty() => Err(offered.problems.clone()),
            Ok(()) => give_to(&self.ends.agent, Give::Profile(offered.at(Instant::now()))).await,
        };
        self.config_revision = self.ends.agent.in_force().revision;
        let status = match result {
            Ok(taken) => self.accepted(offered, &taken),
            Err(problems) => {
                self.state.errors = errors(&problems);
                // A crash from now on counts against what is in force.
                let _ = self.announce(before).await;
                pb::ApplyStatus::Rejected
            }
        };
        self.state.set_last_attempt(status);
        status
    }

    fn accepted(&mut self, offered: Offered, taken: &Taken) -> pb::ApplyStatus {
        let status = match (taken.unchanged, taken.pending_restart.is_empty()) {
            (_, false) => pb::ApplyStatus::Deferred,
            (true, true) => pb::ApplyStatus::Unchanged,
            (false, true) => pb::ApplyStatus::Applied,
        };
        self.state.errors.clear();
        self.state.unsupported = errors(offered.unknown.iter().chain(&taken.unsupported));
        self.state.pending_restart = taken
            .pending_restart
            .iter()
            .map(ToString::to_string)
            .collect();
        self.state.effective_hash = offered.hash.to_vec();
        self.state.origin = "control-plane".to_owned();
        self.next_end = offered.next_end(Instant::now());
        self.in_force = Some(offered);
        status
    }

    /// Lets time pass: overrides end, a refused profile is tried again when the file changed, content proves good.
    pub async fn tick(&mut self) {
        let now = Instant::now();
        if self.next_end.is_some_and(|end| end <= now)
            && let Some(in_force) = self.in_force.clone()
        {
            match give_to(&self.ends.agent, Give::Profile(in_force.at(now))).await {
                Ok(_) => self.next_end = in_force.next_end(now),
                Err(problems) => tracing::error!(?problems, "an override cannot end"),
            }
        }
        let is_refused = self.state.last_attempt() == pb::ApplyStatus::Rejected;
        if is_refused && self.ends.agent.in_force().revision != self.config_revision {
            self.attempt().await;
            self.keep().await;
        }
        if let Some(keeper) = &self.ends.keeper
            && let Err(error) = keeper.look(true).await
        {
            tracing::warn!(error = %chain(&error), "last known good");
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
            Some(pb::command::Command::Resync(_)) => self.held.clear(),
            None => result.error = "the command is not known to this version".to_owned(),
        }
        result
    }

    /// Says to the disk what comes into force; quarantined content does not.
    async fn announce(
        &mut self,
        hash: Option<weir_proto::sync::ContentHash>,
    ) -> Result<(), Problem> {
        let Some(keeper) = &self.ends.keeper else {
            return Ok(());
        };
        let hash = hash.map(weir_core::probation::ContentHash);
        match keeper.coming_into_force(hash).await {
            Err(last_known_good::Error::Quarantined { hash, reason }) => {
                let problem = Problem::new("profile", Code::Quarantined, reason, hash.to_string());
                Err(problem)
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "last known good");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Keeps what is held on disk, as long as the profile held is the one in force.
    async fn keep(&self) {
        let (Some(keeper), Some(in_force)) = (&self.ends.keeper, &self.in_force) else {
            return;
        };
        let profile = self.held.get(&(pb::ResourceType::Profile as i32));
        let is_in_force = profile
            .and_then(|set| set.get("profile"))
            .is_some_and(|(hash, _)| hash == in_force.hash);
        if !is_in_force {
            return;
        }
        let kept = [
            pb::ResourceType::Profile,
            pb::ResourceType::Weights,
            pb::ResourceType::Endpoints,
        ];
        let push = |kind: &pb::ResourceType| Some(self.held.get(&(*kind as i32))?.as_push(*kind));
        let sets: Vec<pb::Push> = kept.iter().filter_map(push).collect();
        let epoch = sets
            .first()
            .map(|push| push.epoch.clone())
            .unwrap_or_default();
        let payload = pb::LastKnownGood { sets }.encode_to_vec().into();
        let hash = weir_core::probation::ContentHash(in_force.hash);
        if let Err(error) = keeper.store(payload, hash, epoch).await {
            tracing::warn!(error = %chain(&error), "last known good");
        }
    }
}

/// Gives to the agent, again if it is restarting.
async fn give_to(agent: &ConfigAgentHandle, give: Give) -> Result<Taken, Vec<Problem>> {
    let mut tries = 0;
    loop {
        match agent.take(give.clone()).await {
            Ok(answer) => return answer,
            Err(refused) if tries == AGENT_TRIES => {
                let problem = Problem::new("profile", Code::Infeasible, refused.to_string(), "");
                return Err(vec![problem]);
            }
            Err(_) => {
                tries += 1;
                sleep(AGENT_RETRY).await;
            }
        }
    }
}

fn errors<'a>(
    problems: impl IntoIterator<Item = &'a Problem>,
) -> Vec<weir_proto::tuning::v1::FieldError> {
    problems.into_iter().map(field_error).collect()
}

fn effective(agent: &ConfigAgentHandle) -> pb::EffectiveReport {
    let in_force: Arc<_> = agent.in_force();
    let knobs = in_force.config.effective();
    pb::EffectiveReport {
        knobs: knobs.into_iter().map(crate::describe::effective).collect(),
    }
}
