//! Puts profiles into a scope, one after the other, and what was there before back in the end.

use std::time::Duration;

use tokio::time::Instant;
use weir_core::tuning::Scope;
use weir_proto::control::v1 as pb;

use crate::cli::control::ControlPlane;
use crate::cli::control::text::milliseconds;
use crate::cli::output::{Failure, note};
use crate::cli::profile::{Before, head, put, tell_command, wait_for_nodes};
use crate::ports::clock::WallClock;

/// How long nodes may take to have a profile in force.
pub(super) const TAKE_MAX: Duration = Duration::from_secs(10);

/// A scope whose profile changes for the time of a comparison.
pub(super) struct Lever {
    scope: Scope,
    author: String,
    /// What there was, to be put back.
    before: pb::ProfileRevision,
    /// Stands in the message of every write of this run, and of nobody else's.
    mark: String,
    /// How long an override holds from each write on.
    hold: Duration,
}

impl Lever {
    /// Looks at what there is; changes nothing yet.
    pub(super) async fn new(
        plane: &mut ControlPlane,
        scope: &Scope,
        author: &str,
        hold: Duration,
    ) -> Result<Self, Failure> {
        let before = head(plane, scope).await?;
        if matches!(scope, Scope::Group(_)) && before.revision == 0 {
            return Err(Failure::Usage(format!(
                "--scope: {scope} has no profile yet, so nobody knows which nodes it has; \
                 allowed: a group that `weir profile list` shows"
            )));
        }
        let run = plane.write_id();
        Ok(Self {
            scope: scope.clone(),
            author: author.to_owned(),
            before,
            mark: format!("weir bench {}", &run[..8]),
            hold,
        })
    }

    /// Puts one profile there and waits until nodes have it in force.
    pub(super) async fn put(
        &self,
        plane: &mut ControlPlane,
        name: &str,
        (preset, set): (String, Vec<pb::TextSetting>),
    ) -> Result<(), Failure> {
        let seen = head(plane, &self.scope).await?;
        if !self.is_own(&seen) && seen.revision != self.before.revision {
            return Err(self.somebody_else(&seen));
        }
        let looked = Before::look(plane, &self.scope).await?;
        let request = pb::PutProfileRequest {
            preset,
            set,
            message: format!("{}: {name}", self.mark),
            ..self.request(seen.revision, self.hold)
        };
        let written = self.write(plane, request).await?;
        let rollout = wait_for_nodes(plane, &self.scope, &looked, &written, TAKE_MAX).await?;
        rollout.outcome(false)?;
        if rollout.in_sync().is_empty() {
            let told = rollout.as_lines().join("; ");
            return Err(Failure::Other(format!(
                "{name} is nowhere in force: {told}"
            )));
        }
        for (node, knobs) in rollout.pending_restart() {
            note(&format!(
                "{name}: {node} takes {} only when it starts again",
                knobs.join(", ")
            ));
        }
        Ok(())
    }

    /// Puts back what was there before the first write, if this run has written anything.
    pub(super) async fn restore(&self, plane: &mut ControlPlane) -> Result<(), Failure> {
        let seen = head(plane, &self.scope).await?;
        if seen.revision == self.before.revision {
            return Ok(());
        }
        if !self.is_own(&seen) {
            return Err(self.somebody_else(&seen));
        }
        let now = milliseconds(WallClock::system().unix_now());
        let left_ms = self.before.until_unix_ms.saturating_sub(now);
        let has_ended = self.scope.is_override() && left_ms == 0;
        let set = match has_ended {
            true => Vec::new(),
            false => self.before.settings.clone(),
        };
        let request = pb::PutProfileRequest {
            set,
            message: format!("{}: as it was before", self.mark),
            ..self.request(seen.revision, Duration::from_millis(left_ms.max(1_000)))
        };
        self.write(plane, request).await?;
        Ok(())
    }

    fn request(&self, seen: u64, hold: Duration) -> pb::PutProfileRequest {
        pb::PutProfileRequest {
            scope: self.scope.to_string(),
            expected_revision: seen,
            author: self.author.clone(),
            replace: true,
            ttl_ms: match self.scope.is_override() {
                true => milliseconds(hold),
                false => 0,
            },
            ..pb::PutProfileRequest::default()
        }
    }

    async fn write(
        &self,
        plane: &mut ControlPlane,
        request: pb::PutProfileRequest,
    ) -> Result<pb::PutProfileResponse, Failure> {
        let (begun, write_id) = (Instant::now(), plane.write_id());
        let request = pb::PutProfileRequest {
            write_id: write_id.clone(),
            ..request
        };
        let written = put(plane, request).await?.map_err(|problems| {
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Failure::Config(told.join("\n"))
        })?;
        if written.changed {
            tell_command(plane, &write_id, "weir bench", (begun, None)).await;
        }
        Ok(written)
    }

    fn is_own(&self, seen: &pb::ProfileRevision) -> bool {
        seen.message.starts_with(&self.mark)
    }

    fn somebody_else(&self, seen: &pb::ProfileRevision) -> Failure {
        let (scope, revision, author) = (&self.scope, seen.revision, &seen.author);
        Failure::Refused(tonic::Status::aborted(format!(
            "{scope}: `{author}` wrote revision {revision} meanwhile; it stays as it is (before was {})",
            self.before.revision
        )))
    }
}
