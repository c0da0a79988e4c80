//! `weir profile list`, `get`, `show`, `history`: what there is and was.

use std::time::Duration;

use tonic::Code;
use weir_core::tuning::{Scope, find};
use weir_proto::control::v1 as pb;

use super::file::to_toml;
use super::scope::ScopeArgs;
use super::view::RevisionView;
use crate::cli::control::text::{moment, or_dash};
use crate::cli::control::{ControlPlane, Target};
use crate::cli::output::{Failure, Format, print, print_json, table};
use crate::ports::clock::WallClock;

/// One revision; 0 for the newest.
pub(in crate::cli) async fn fetch(
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
pub(in crate::cli) async fn head(
    plane: &mut ControlPlane,
    scope: &Scope,
) -> Result<pb::ProfileRevision, Failure> {
    match fetch(plane, scope, 0).await {
        Err(Failure::Refused(status)) if status.code() == Code::NotFound => Ok(none(scope)),
        head => head,
    }
}

/// What a scope has before its first revision.
pub(super) fn none(scope: &Scope) -> pb::ProfileRevision {
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
    show_revisions(answer.profiles, format, || {
        "nothing set in any scope".to_owned()
    })
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
    show_revisions(answer.revisions, format, || nothing_set(&request.scope))
}

fn show_revisions(
    revisions: Vec<pb::ProfileRevision>,
    format: Format,
    none: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if format == Format::Json {
        let views: Vec<RevisionView> = revisions.into_iter().map(RevisionView::from).collect();
        return print_json(&views);
    }
    if revisions.is_empty() {
        return print(&none());
    }
    let heading = [
        "SCOPE", "REVISION", "SETTINGS", "WRITTEN", "AUTHOR", "MESSAGE",
    ];
    let now = WallClock::system().unix_now();
    let mut rows = vec![heading.map(String::from).into()];
    for revision in &revisions {
        rows.push(vec![
            revision.scope.clone(),
            revision.revision.to_string(),
            revision.settings.len().to_string(),
            moment(revision.written_at_unix_ms),
            or_dash(&revision.author),
            remarks(revision, now),
        ]);
    }
    print(&table(&rows))
}

/// The message, and what else sets a revision apart.
fn remarks(revision: &pb::ProfileRevision, now: Duration) -> String {
    let mut remarks = Vec::new();
    if !revision.message.is_empty() {
        remarks.push(revision.message.clone());
    }
    if revision.rollback_of != 0 {
        remarks.push(format!("(restores {})", revision.rollback_of));
    }
    if revision.until_unix_ms != 0 {
        let has_ended = Duration::from_millis(revision.until_unix_ms) <= now;
        let word = if has_ended { "ended" } else { "until" };
        remarks.push(format!("({word} {})", moment(revision.until_unix_ms)));
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
        Some(Format::Text) => print(&as_text(&found, WallClock::system().unix_now())),
        None => print(&format!(
            "# {}\n\n{}",
            heading(&found, WallClock::system().unix_now()),
            to_toml(&found.settings)
        )),
    }
}

/// What a scope says that sets no knob.
pub(super) fn nothing_set(scope: &str) -> String {
    match scope.parse() {
        Ok(Scope::Fleet) => "nothing set for the fleet".to_owned(),
        Ok(Scope::Group(name)) => format!("nothing set in group {name}"),
        Ok(Scope::Node(id)) => format!("nothing set for node {id}"),
        Ok(Scope::Override) => "no override is set".to_owned(),
        Ok(Scope::NodeOverride(id)) => format!("no override is set for node {id}"),
        Err(_) => format!("nothing set in {scope}"),
    }
}

/// In one line: which revision it is, and who wrote it, when and why.
fn heading(revision: &pb::ProfileRevision, now: Duration) -> String {
    if revision.revision == 0 {
        return nothing_set(&revision.scope);
    }
    let text = format!(
        "{} revision {}, {} by {}: {}",
        revision.scope,
        revision.revision,
        moment(revision.written_at_unix_ms),
        or_dash(&revision.author),
        or_dash(&remarks(revision, now)),
    );
    text.replace(char::is_control, " ")
}

fn as_text(revision: &pb::ProfileRevision, now: Duration) -> String {
    let heading = heading(revision, now);
    match (revision.revision, revision.settings.is_empty()) {
        (0, _) => return heading,
        (_, true) => return format!("{heading}\n{}", nothing_set(&revision.scope)),
        (_, false) => {}
    }
    let mut rows = vec![["KNOB", "VALUE", "APPLY"].map(String::from).into()];
    for setting in &revision.settings {
        let apply = find(&setting.path).map_or("-", |knob| knob.apply.name());
        rows.push(vec![
            setting.path.clone(),
            setting.value.clone(),
            apply.to_owned(),
        ]);
    }
    format!("{heading}\n{}", table(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision() -> pb::ProfileRevision {
        pb::ProfileRevision {
            scope: "fleet".to_owned(),
            revision: 3,
            author: "alice".to_owned(),
            message: "faster\ndrains".to_owned(),
            written_at_unix_ms: 951_782_400_000,
            rollback_of: 1,
            ..pb::ProfileRevision::default()
        }
    }

    #[test]
    fn an_override_that_has_ended_says_so() {
        let over = pb::ProfileRevision {
            until_unix_ms: 951_782_400_000,
            ..pb::ProfileRevision::default()
        };
        let at = |unix_s| remarks(&over, Duration::from_secs(unix_s));
        assert_eq!(at(951_782_399), "(until 2000-02-29T00:00:00Z)");
        assert_eq!(at(951_782_400), "(ended 2000-02-29T00:00:00Z)");
    }

    #[test]
    fn a_scope_that_sets_nothing_says_so_plainly() {
        let told = |scope: &str, number| {
            let revision = pb::ProfileRevision {
                scope: scope.to_owned(),
                revision: number,
                ..revision()
            };
            let text = as_text(&revision, Duration::ZERO);
            text.lines().last().unwrap().to_owned()
        };
        for number in [0, 3] {
            assert_eq!(told("group/eu", number), "nothing set in group eu");
            assert_eq!(told("fleet", number), "nothing set for the fleet");
            assert_eq!(told("node/n-1", number), "nothing set for node n-1");
            assert_eq!(told("override", number), "no override is set");
            let told = told("override/n-1", number);
            assert_eq!(told, "no override is set for node n-1");
        }
    }

    #[test]
    fn a_heading_is_one_line_of_toml_comment() {
        let revision = revision();
        assert_eq!(
            heading(&revision, Duration::ZERO),
            "fleet revision 3, 2000-02-29T00:00:00Z by alice: faster drains (restores 1)"
        );
    }
}
