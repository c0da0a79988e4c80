//! Writes a profile, says what it changes, and waits for nodes.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout};
use tonic::Request;
use weir_core::trace::TraceContext;
use weir_core::tuning::{Problem, Scope};
use weir_proto::control::v1 as pb;

use super::file::ProfileFile;
use super::rollout::{Before, Rollout, RolloutView, wait_for_nodes};
use super::show::nothing_set;
use super::view::{
    Below, ChangeView, NodeDiffView, RevisionView, change_lines, changes, diff_lines,
};
use crate::cli::control::{ControlPlane, Found, Session, of_status, report};
use crate::cli::output::{Failure, Format, print, print_json};

/// One write.
pub(super) struct Commit<'a> {
    pub(super) scope: &'a Scope,
    /// What problems are problems of.
    pub(super) name: &'a str,
    pub(super) file: Option<&'a ProfileFile>,
    /// How long to wait for nodes.
    pub(super) wait: Option<Duration>,
    /// Whether nodes that do not have all of it fail the command.
    pub(super) strict: bool,
    /// What stands above the write in its trace.
    pub(super) command: &'static str,
    pub(super) format: Format,
}

/// For the control plane to take what a command tells of itself: nobody waits long for that.
const TELL_TIMEOUT: Duration = Duration::from_secs(1);

impl Commit<'_> {
    /// Says that there is nothing to take out of a scope that has nothing.
    pub(super) fn nothing_there(&self, dry_run: bool) -> Result<(), Failure> {
        match self.format {
            Format::Json => {
                let nothing = pb::PutProfileResponse::default();
                print_json(&WriteView::of(&nothing, dry_run, None))
            }
            Format::Text => print(&nothing_to_change(self.scope)),
        }
    }

    pub(super) async fn run(
        &self,
        plane: &mut ControlPlane,
        request: pb::PutProfileRequest,
    ) -> Result<(), Failure> {
        if request.dry_run {
            let written = self.sound(dry_run(plane, request).await?)?;
            return self.show_dry_run(&written);
        }
        let before = match self.wait {
            None => None,
            Some(_) => Some(Before::look(plane, self.scope).await?),
        };
        let begun = Instant::now();
        // The trace of a write has its id.
        let trace_id = plane.write_id();
        let request = pb::PutProfileRequest {
            write_id: trace_id.clone(),
            ..request
        };
        let written = self.sound(put(plane, request).await?)?;
        let trace_id = Some(trace_id).filter(|_| written.changed);
        if self.format == Format::Text {
            let trace = trace_id.iter().map(|id| format!("\n  trace: {id}"));
            print(&(self.as_text(&written) + &trace.collect::<String>()))?;
        }
        // It is written whatever becomes of this: a failure to look is told after what was written.
        let looked = match (self.wait, &before) {
            (Some(wait), Some(before)) => wait_for_nodes(plane, self.scope, before, &written, wait)
                .await
                .map(Some),
            _ => Ok(None),
        };
        if let Some(id) = &trace_id {
            let error = looked.as_ref().err().map(ToString::to_string);
            tell_command(plane, id, self.command, (begun, error)).await;
        }
        let rollout = looked.as_ref().ok().and_then(Option::as_ref);
        match (self.format, rollout) {
            (Format::Json, _) => print_json(&WriteView {
                trace_id,
                ..WriteView::of(&written, false, rollout)
            })?,
            (Format::Text, Some(rollout)) => print(&rollout.as_lines().join("\n"))?,
            (Format::Text, None) => {}
        }
        looked?.map_or(Ok(()), |rollout| rollout.outcome(self.strict))
    }

    fn sound(
        &self,
        answer: Result<pb::PutProfileResponse, Vec<Problem>>,
    ) -> Result<pb::PutProfileResponse, Failure> {
        let problems = match answer {
            Ok(written) => return Ok(written),
            Err(problems) => problems,
        };
        let found = match self.file {
            Some(file) => file.located(problems),
            None => problems.into_iter().map(Found::from).collect(),
        };
        Err(report(self.name, &found, self.format)?)
    }

    fn show_dry_run(&self, written: &pb::PutProfileResponse) -> Result<(), Failure> {
        if self.format == Format::Json {
            return print_json(&WriteView::of(written, true, None));
        }
        let mut lines = vec![match written.changed {
            true => format!("{} would change; nothing is written", self.scope),
            false => format!("{} would stay as it is", self.scope),
        }];
        lines.extend(change_lines(&written.changes, "  ", Below::of(self.scope)));
        lines.extend(diff_lines(&written.nodes));
        if written.changed && written.nodes.is_empty() {
            lines.push("no node would change".to_owned());
        }
        print(&lines.join("\n"))
    }

    fn as_text(&self, written: &pb::PutProfileResponse) -> String {
        let revision = written
            .profile
            .as_ref()
            .map_or(0, |profile| profile.revision);
        let mut lines = vec![match written.changed {
            true => format!("{}: revision {revision}", self.scope),
            false if revision == 0 => nothing_to_change(self.scope),
            false => format!(
                "{}: nothing to change, revision {revision} stays",
                self.scope
            ),
        }];
        lines.extend(change_lines(&written.changes, "  ", Below::of(self.scope)));
        lines.join("\n")
    }
}

fn nothing_to_change(scope: &Scope) -> String {
    format!("{}; nothing to change", nothing_set(&scope.to_string()))
}

/// Writes, or names every problem.
pub(in crate::cli) async fn put(
    plane: &mut ControlPlane,
    request: pb::PutProfileRequest,
) -> Result<Result<pb::PutProfileResponse, Vec<Problem>>, Failure> {
    let call = async |session: Session| {
        let mut traced = Request::new(request.clone());
        if let Some(writer) = TraceContext::of_writer(&request.write_id)
            && let Ok(value) = writer.to_text().parse()
        {
            traced.metadata_mut().insert("traceparent", value);
        }
        session.profiles().put_profile(traced).await
    };
    match plane.ask(call).await {
        Ok(written) => Ok(Ok(written)),
        Err(Failure::Refused(status)) => match of_status(&status) {
            Some(problems) => Ok(Err(problems)),
            None => Err(status.into()),
        },
        Err(failure) => Err(failure),
    }
}

/// Tells the control plane of a command that made a write and has ended, for the trace of that write. It is no harm
/// to the command if that fails.
pub(in crate::cli) async fn tell_command(
    plane: &mut ControlPlane,
    write_id: &str,
    command: &str,
    (begun, error): (Instant, Option<String>),
) {
    let request = pb::TellCommandRequest {
        write_id: write_id.to_owned(),
        command: command.to_owned(),
        duration_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
        error: error.unwrap_or_default(),
    };
    let tell =
        plane.ask(async |session| session.control_plane().tell_command(request.clone()).await);
    let _ = timeout(TELL_TIMEOUT, tell).await;
}

/// What a write would do.
pub(super) async fn dry_run(
    plane: &mut ControlPlane,
    request: pb::PutProfileRequest,
) -> Result<Result<pb::PutProfileResponse, Vec<Problem>>, Failure> {
    let request = pb::PutProfileRequest {
        dry_run: true,
        write_id: plane.write_id(),
        ..request
    };
    put(plane, request).await
}

/// A write as scripts read it.
#[derive(Serialize)]
struct WriteView {
    dry_run: bool,
    changed: bool,
    profile: Option<RevisionView>,
    changes: Vec<ChangeView>,
    nodes: Vec<NodeDiffView>,
    rollout: Option<RolloutView>,
    /// What `weir trace` shows of it.
    trace_id: Option<String>,
}

impl WriteView {
    fn of(written: &pb::PutProfileResponse, dry_run: bool, rollout: Option<&Rollout>) -> Self {
        Self {
            dry_run,
            changed: written.changed,
            profile: written.profile.clone().map(RevisionView::from),
            changes: changes(&written.changes),
            nodes: written.nodes.iter().map(NodeDiffView::from).collect(),
            rollout: rollout.map(RolloutView::from),
            trace_id: None,
        }
    }
}
