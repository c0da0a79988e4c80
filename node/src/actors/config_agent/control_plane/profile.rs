//! The taker's way with profiles: attempts, refusals, overrides that end.

use std::time::Duration;

use tokio::time::Instant;
use weir_core::tuning::Problem;
use weir_proto::control::v1 as pb;
use weir_proto::sync::content_hash;

use super::payload::Offered;
use super::taker::{AGENT_PATIENCE, Taker, errors, give_to};
use crate::actors::config_agent::Taken;
use crate::config::Give;
use crate::telemetry::spans::SpanKind;

impl Taker {
    pub(super) async fn take_profile(&mut self) -> pb::ApplyStatus {
        let held = self.held.get(&(pb::ResourceType::Profile as i32));
        match held.and_then(|held| Offered::of(held, Duration::ZERO, Instant::now())) {
            Some(offered) => {
                self.offered = Some(offered);
                self.attempt(AGENT_PATIENCE).await
            }
            None => pb::ApplyStatus::Unchanged,
        }
    }

    /// Tries to bring the profile offered last into force.
    pub(super) async fn attempt(&mut self, patience: Duration) -> pb::ApplyStatus {
        let Some(offered) = self.offered.clone() else {
            return pb::ApplyStatus::Unchanged;
        };
        self.state.offered_hash = offered.hash.to_vec();
        let now = Instant::now();
        let before = self.in_force.as_ref().map(|in_force| in_force.hash);
        if !offered.problems.is_empty() {
            return self.refused(&offered.problems);
        }
        self.trace
            .step("last_known_good.announce", SpanKind::Internal);
        let announced = self.announce(Some(offered.hash)).await;
        self.trace.step("profile.give", SpanKind::Producer);
        let result = match announced {
            Err(quarantined) => Err(vec![quarantined]),
            Ok(()) => {
                let give = Give::Profile(offered.at(now));
                self.give(pb::ResourceType::Profile, give, patience).await
            }
        };
        match result {
            Ok(taken) => {
                self.state.effective_hash = offered.hash.to_vec();
                offered.origin.clone_into(&mut self.state.origin);
                self.in_force = Some(offered);
                self.accepted(&taken, now)
            }
            Err(problems) => {
                // A crash from now on counts against what is in force.
                let _ = self.announce(before).await;
                self.refused(&problems)
            }
        }
    }

    /// The profile in force is in force as it is at `now`.
    fn accepted(&mut self, taken: &Taken, now: Instant) -> pb::ApplyStatus {
        let status = match (taken.unchanged, taken.pending_restart.is_empty()) {
            (_, false) => pb::ApplyStatus::Deferred,
            (true, true) => pb::ApplyStatus::Unchanged,
            (false, true) => pb::ApplyStatus::Applied,
        };
        self.meets_other_file();
        let in_force = self.in_force.iter();
        self.next_end = in_force.clone().find_map(|in_force| in_force.next_end(now));
        let unknown = in_force.flat_map(|in_force| &in_force.unknown);
        self.state.errors.clear();
        self.state.unsupported = errors(unknown.chain(&taken.unsupported));
        let pending = taken.pending_restart.iter();
        self.state.pending_restart = pending.map(ToString::to_string).collect();
        self.state.set_last_attempt(status);
        status
    }

    fn refused(&mut self, problems: &[Problem]) -> pb::ApplyStatus {
        self.meets_other_file();
        self.state.errors = errors(problems);
        self.state.set_last_attempt(pb::ApplyStatus::Rejected);
        pb::ApplyStatus::Rejected
    }

    /// Whether the file is another one than when this was asked last.
    pub(super) fn meets_other_file(&mut self) -> bool {
        let in_force = self.ends.agent.in_force();
        if in_force.revision == self.config_revision {
            return false;
        }
        self.config_revision = in_force.revision;
        let file = content_hash(in_force.config.text().as_bytes());
        std::mem::replace(&mut self.file, file) != file
    }

    pub(super) async fn end_overrides(&mut self) {
        let now = Instant::now();
        let is_due = self.next_end.is_some_and(|end| end <= now);
        let Some(in_force) = self.in_force.clone().filter(|_| is_due) else {
            return;
        };
        let is_refused = self.state.last_attempt() == pb::ApplyStatus::Rejected;
        match give_to(
            &self.ends.agent,
            Give::Profile(in_force.at(now)),
            None,
            Duration::ZERO,
        )
        .await
        {
            // What was offered since is refused still, and says why.
            Ok(Ok(_)) if is_refused => self.next_end = in_force.next_end(now),
            Ok(Ok(taken)) => {
                self.accepted(&taken, now);
            }
            Ok(Err(problems)) => {
                let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
                tracing::error!(
                    problems = told.join("; "),
                    "an override cannot end before the file is mended"
                );
                self.next_end = None;
                self.offered = Some(in_force);
                self.refused(&problems);
            }
            // The next tick will do.
            Err(_) => {}
        }
    }
}
