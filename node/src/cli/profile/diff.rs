//! `weir profile diff`: what a revision changed, or what a file would.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use weir_core::tuning::{ApplyClass, Scope, find};
use weir_proto::control::v1 as pb;
use weir_proto::tuning::v1 as tuning;

use super::file::ProfileFile;
use super::scope::{GroupArgs, ScopeArgs};
use super::show::{fetch, head, none};
use super::validate::would_be;
use super::view::{Below, change_lines, changes, diff_lines};
use crate::cli::control::{ControlPlane, Target, report};
use crate::cli::output::{Failure, Format, print, print_json};

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
    let mut lines = change_lines(of_scope, "", Below::Layers);
    lines.extend(diff_lines(nodes));
    print(&lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::control::text::apply_class;

    fn revision(settings: &[(&str, &str)]) -> pb::ProfileRevision {
        let setting = |(path, value): &(&str, &str)| pb::TextSetting {
            path: (*path).to_owned(),
            value: (*value).to_owned(),
        };
        pb::ProfileRevision {
            settings: settings.iter().map(setting).collect(),
            ..pb::ProfileRevision::default()
        }
    }

    #[test]
    fn a_difference_is_what_is_new_gone_or_other() {
        let older = revision(&[("a.gone", "1"), ("ingress.workers", "2"), ("c.same", "3")]);
        let newer = revision(&[("ingress.workers", "4"), ("c.same", "3"), ("d.new", "5")]);
        assert_eq!(
            change_lines(&differences(&older, &newer), "", Below::Layers),
            [
                "a.gone: 1 -> not set (unknown)",
                "d.new: not set -> 5 (unknown)",
                "ingress.workers: 2 -> 4 (restart)",
            ]
        );
    }

    #[test]
    fn classes_are_named_as_core_names_them() {
        for knob in weir_core::tuning::all() {
            assert_eq!(apply_class(declared_apply(knob.path)), knob.apply.name());
        }
    }
}
