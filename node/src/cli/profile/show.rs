//! `weir profile list`, `get`, `show`, `history`, `diff`: what there is and was.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use tonic::Code;
use weir_core::tuning::{ApplyClass, Scope, find};
use weir_proto::control::v1 as pb;
use weir_proto::tuning::v1 as tuning;

use super::edit::would_be;
use super::file::{ProfileFile, to_toml};
use super::scope::{GroupArgs, ScopeArgs};
use super::view::{RevisionView, change_lines, changes, diff_lines};
use crate::cli::control::text::{moment, or_dash};
use crate::cli::control::{ControlPlane, Target, report};
use crate::cli::output::{Failure, Format, print, print_json, table};

/// One revision; 0 for the newest.
async fn fetch(
    plane: &mut ControlPlane,
    scope: &Scope,
    revision: u64,
) -> Result<pb::ProfileRevision, Failure> {
    let request = pb::GetProfileRequest {
        scope: scope.to_string(),
        revision,
    };
    plane
        .ask(async |session| session.profiles().get_profile(request.clone()).await)
        .await
}

/// The newest revision; number 0 when there is none.
pub(super) async fn head(
    plane: &mut ControlPlane,
    scope: &Scope,
) -> Result<pb::ProfileRevision, Failure> {
    match fetch(plane, scope, 0).await {
        Err(Failure::Refused(status)) if status.code() == Code::NotFound => Ok(none(scope)),
        head => head,
    }
}

/// What a scope has before its first revision.
fn none(scope: &Scope) -> pb::ProfileRevision {
    pb::ProfileRevision {
        scope: scope.to_string(),
        ..pb::ProfileRevision::default()
    }
}

/// `weir profile list`.
pub(super) async fn list(target: &Target) -> Result<(), Failure> {
    let (format, mut plane) = (target.format()?, ControlPlane::new(target)?);
    let answer = plane
        .ask(async |session| {
            let request = pb::ListProfilesRequest {};
            session.profiles().list_profiles(request).await
        })
        .await?;
    show_revisions(answer.profiles, format)
}

/// `weir profile history`.
pub(super) async fn history(
    target: &Target,
    scope: &ScopeArgs,
    entries_max: u32,
) -> Result<(), Failure> {
    let (format, mut plane) = (target.format()?, ControlPlane::new(target)?);
    let request = pb::HistoryRequest {
        scope: scope.scope()?.to_string(),
        entries_max,
    };
    let answer = plane
        .ask(async |session| session.profiles().history(request.clone()).await)
        .await?;
    show_revisions(answer.revisions, format)
}

fn show_revisions(revisions: Vec<pb::ProfileRevision>, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        let views: Vec<RevisionView> = revisions.into_iter().map(RevisionView::from).collect();
        return print_json(&views);
    }
    let heading = [
        "SCOPE", "REVISION", "SETTINGS", "WRITTEN", "AUTHOR", "MESSAGE",
    ];
    let mut rows = vec![heading.map(String::from).into()];
    for revision in &revisions {
        rows.push(vec![
            revision.scope.clone(),
            revision.revision.to_string(),
            revision.settings.len().to_string(),
            moment(revision.written_at_unix_ms),
            or_dash(&revision.author),
            remarks(revision),
        ]);
    }
    print(&table(&rows))
}

/// The message, and what else sets a revision apart.
fn remarks(revision: &pb::ProfileRevision) -> String {
    let mut remarks = Vec::new();
    if !revision.message.is_empty() {
        remarks.push(revision.message.clone());
    }
    if revision.rollback_of != 0 {
        remarks.push(format!("(restores {})", revision.rollback_of));
    }
    if revision.until_unix_ms != 0 {
        remarks.push(format!("(until {})", moment(revision.until_unix_ms)));
    }
    if let Some(group) = &revision.group {
        remarks.push(format!("({})", selector(group)));
    }
    remarks.join(" ")
}

/// Such as `zone=a, priority 7`.
fn selector(group: &pb::GroupSelector) -> String {
    let mut parts: Vec<String> = group
        .labels
        .iter()
        .map(|(label, value)| format!("{label}={value}"))
        .collect();
    parts.push(format!("priority {}", group.priority));
    parts.join(", ")
}

/// `weir profile get` and `show`; 0 for the newest revision.
pub(super) async fn show(target: &Target, scope: &ScopeArgs, revision: u64) -> Result<(), Failure> {
    let scope = scope.scope()?;
    let format = match target.wants_toml() {
        true => None,
        false => Some(target.format()?),
    };
    let mut plane = ControlPlane::new(target)?;
    let found = match revision {
        0 => head(&mut plane, &scope).await?,
        _ => fetch(&mut plane, &scope, revision).await?,
    };
    match format {
        Some(Format::Json) => print_json(&RevisionView::from(found)),
        Some(Format::Text) => print(&as_text(&found)),
        None => print(&format!(
            "# {}\n\n{}",
            heading(&found),
            to_toml(&found.settings)
        )),
    }
}

/// In one line: which revision it is, and who wrote it, when and why.
fn heading(revision: &pb::ProfileRevision) -> String {
    if revision.revision == 0 {
        return format!("{}: no profile", revision.scope);
    }
    let text = format!(
        "{} revision {}, {} by {}: {}",
        revision.scope,
        revision.revision,
        moment(revision.written_at_unix_ms),
        or_dash(&revision.author),
        or_dash(&remarks(revision)),
    );
    text.replace(char::is_control, " ")
}

fn as_text(revision: &pb::ProfileRevision) -> String {
    let mut rows = vec![["KNOB", "VALUE", "APPLY"].map(String::from).into()];
    for setting in &revision.settings {
        let apply = find(&setting.path).map_or("-", |knob| knob.apply.name());
        rows.push(vec![
            setting.path.clone(),
            setting.value.clone(),
            apply.to_owned(),
        ]);
    }
    format!("{}\n{}", heading(revision), table(&rows))
}

/// `weir profile diff`.
#[derive(Args)]
pub(super) struct Diff {
    /// The older revision [default: the one before the newest].
    #[arg(value_name = "REV_A")]
    older: Option<u64>,
    /// The newer revision [default: the newest].
    #[arg(value_name = "REV_B")]
    newer: Option<u64>,
    /// What applying this file (- for standard input) would change, node by node.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["older", "newer"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    group: GroupArgs,
}

impl Diff {
    pub(super) async fn run(self, target: &Target) -> Result<(), Failure> {
        let (format, mut plane) = (target.format()?, ControlPlane::new(target)?);
        let scope = self.scope.scope()?;
        let Some(path) = &self.file else {
            let (older, newer) = self.revisions(&mut plane, &scope).await?;
            return show_changes(&differences(&older, &newer), &[], format);
        };
        let written = match ProfileFile::read(path)? {
            Ok(file) => would_be(&mut plane, &scope, &file, &self.group).await?,
            Err(found) => Err(found),
        };
        match written {
            Ok(written) => show_changes(&written.changes, &written.nodes, format),
            Err(found) => Err(report(&path.display().to_string(), &found, format)?),
        }
    }

    async fn revisions(
        &self,
        plane: &mut ControlPlane,
        scope: &Scope,
    ) -> Result<(pb::ProfileRevision, pb::ProfileRevision), Failure> {
        let newer = match self.newer {
            Some(revision) => at(plane, scope, revision).await?,
            None => head(plane, scope).await?,
        };
        let older = self.older.unwrap_or(newer.revision.saturating_sub(1));
        Ok((at(plane, scope, older).await?, newer))
    }
}

/// A revision by its number; 0 is what there was before the first.
async fn at(
    plane: &mut ControlPlane,
    scope: &Scope,
    revision: u64,
) -> Result<pb::ProfileRevision, Failure> {
    match revision {
        0 => Ok(none(scope)),
        _ => fetch(plane, scope, revision).await,
    }
}

/// What makes the newer of the older, in the order of paths.
fn differences(older: &pb::ProfileRevision, newer: &pb::ProfileRevision) -> Vec<pb::ScopeChange> {
    let mut values: BTreeMap<&str, [&str; 2]> = BTreeMap::new();
    for (side, revision) in [older, newer].into_iter().enumerate() {
        for setting in &revision.settings {
            values.entry(&setting.path).or_default()[side] = &setting.value;
        }
    }
    values
        .into_iter()
        .filter(|(_, [before, after])| before != after)
        .map(|(path, [before, after])| pb::ScopeChange {
            path: path.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
            apply: declared_apply(path).into(),
        })
        .collect()
}

fn declared_apply(path: &str) -> tuning::ApplyClass {
    match find(path).map(|knob| knob.apply) {
        None => tuning::ApplyClass::Unspecified,
        Some(ApplyClass::Hot) => tuning::ApplyClass::Hot,
        Some(ApplyClass::NewConnections) => tuning::ApplyClass::NewConnections,
        Some(ApplyClass::Drain) => tuning::ApplyClass::Drain,
        Some(ApplyClass::Restart) => tuning::ApplyClass::Restart,
        Some(ApplyClass::Host) => tuning::ApplyClass::Host,
    }
}

fn show_changes(
    of_scope: &[pb::ScopeChange],
    nodes: &[pb::NodeDiff],
    format: Format,
) -> Result<(), Failure> {
    if format == Format::Json {
        return print_json(&changes(of_scope));
    }
    if of_scope.is_empty() {
        return print("no differences");
    }
    let mut lines = change_lines(of_scope, "");
    lines.extend(diff_lines(nodes));
    print(&lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::control::text::apply_class;

    fn revision(settings: &[(&str, &str)]) -> pb::ProfileRevision {
        pb::ProfileRevision {
            scope: "fleet".to_owned(),
            revision: 3,
            author: "alice".to_owned(),
            message: "faster\ndrains".to_owned(),
            written_at_unix_ms: 951_782_400_000,
            rollback_of: 1,
            settings: settings
                .iter()
                .map(|(path, value)| pb::TextSetting {
                    path: (*path).to_owned(),
                    value: (*value).to_owned(),
                })
                .collect(),
            ..pb::ProfileRevision::default()
        }
    }

    #[test]
    fn a_difference_is_what_is_new_gone_or_other() {
        let older = revision(&[("a.gone", "1"), ("ingress.workers", "2"), ("c.same", "3")]);
        let newer = revision(&[("ingress.workers", "4"), ("c.same", "3"), ("d.new", "5")]);
        assert_eq!(
            change_lines(&differences(&older, &newer), ""),
            [
                "a.gone: 1 -> not set (unknown)",
                "d.new: not set -> 5 (unknown)",
                "ingress.workers: 2 -> 4 (restart)",
            ]
        );
    }

    #[test]
    fn a_heading_is_one_line_of_toml_comment() {
        let revision = revision(&[]);
        assert_eq!(
            heading(&revision),
            "fleet revision 3, 2000-02-29T00:00:00Z by alice: faster drains (restores 1)"
        );
    }

    #[test]
    fn classes_are_named_as_core_names_them() {
        for knob in weir_core::tuning::all() {
            assert_eq!(apply_class(declared_apply(knob.path)), knob.apply.name());
        }
    }
}
