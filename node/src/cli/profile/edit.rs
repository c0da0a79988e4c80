//! `weir profile set`, `unset`, `apply`, `rollback`: what writes.

use std::time::Duration;

use clap::Args;
use weir_core::tuning::Scope;
use weir_core::units::parse_duration;
use weir_proto::control::v1 as pb;

use super::file::ProfileFile;
use super::scope::{GroupArgs, ScopeArgs};
use super::show::head;
use super::validate::{Source, replacing};
use super::write::Commit;
use crate::cli::control::text::milliseconds;
use crate::cli::control::{ControlPlane, Signature, Target};
use crate::cli::output::{Failure, Format};
use crate::ports::clock::WallClock;

/// What every write has.
#[derive(Args)]
pub(super) struct EditArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    signature: Signature,
    /// How long an override holds, such as 10m; at most 24h.
    #[arg(long = "for", value_name = "DURATION", value_parser = hold, requires = "over")]
    hold: Option<Duration>,
    /// Write only if this is still the newest revision [default: the one read just before].
    #[arg(long, value_name = "REV")]
    revision: Option<u64>,
    /// Write nothing; show what the change would do, node by node.
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for nodes to take it.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    wait: Duration,
    /// Do not wait for nodes.
    #[arg(long)]
    no_wait: bool,
    /// Fail with exit code 1 unless every connected node that it concerns has all of it in force.
    #[arg(long, conflicts_with = "no_wait")]
    strict: bool,
}

/// `weir profile set`.
#[derive(Args)]
pub(super) struct Set {
    /// Knobs and values, such as balancer.drain_timeout=10s.
    #[arg(required = true, value_name = "KNOB=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    #[command(flatten)]
    group: GroupArgs,
    #[command(flatten)]
    edit: EditArgs,
}

fn hold(text: &str) -> Result<Duration, String> {
    const HOLD_MAX: Duration = Duration::from_secs(24 * 3_600);
    match parse_duration(text).map_err(|error| error.to_string())? {
        hold if hold <= HOLD_MAX => Ok(hold),
        _ => Err("allowed: at most 24h".to_owned()),
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if !path.trim().is_empty() => {
            Ok((path.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("expected KNOB=VALUE, such as balancer.drain_timeout=10s".to_owned()),
    }
}

/// `weir profile unset`.
#[derive(Args)]
pub(super) struct Unset {
    /// Knobs that the profile shall leave to the layer below.
    #[arg(required_unless_present = "all", value_name = "KNOB")]
    knobs: Vec<String>,
    /// Every knob: this ends an override.
    #[arg(long, conflicts_with = "knobs")]
    all: bool,
    #[command(flatten)]
    edit: EditArgs,
}

/// `weir profile apply`.
#[derive(Args)]
pub(super) struct Apply {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    group: GroupArgs,
    #[command(flatten)]
    edit: EditArgs,
}

/// `weir profile rollback`.
#[derive(Args)]
pub(super) struct Rollback {
    /// The revision to restore.
    #[arg(value_name = "REV", value_parser = clap::value_parser!(u64).range(1..))]
    to: u64,
    #[command(flatten)]
    edit: EditArgs,
}

impl EditArgs {
    /// A write that changes nothing yet; `head` is what it is based on.
    fn request(&self, scope: &Scope, head: &pb::ProfileRevision) -> pb::PutProfileRequest {
        pb::PutProfileRequest {
            scope: scope.to_string(),
            expected_revision: self.revision.unwrap_or(head.revision),
            message: self.signature.message.clone(),
            author: self.signature.author.author.clone(),
            dry_run: self.dry_run,
            ttl_ms: self.hold.map_or(0, milliseconds),
            ..pb::PutProfileRequest::default()
        }
    }

    /// An override that sets something needs an end.
    fn check_hold(&self, scope: &Scope) -> Result<(), Failure> {
        if scope.is_override() && self.hold.is_none() {
            return Err(Failure::Usage(
                "--for: an override needs to know how long it holds, such as --for 10m".to_owned(),
            ));
        }
        Ok(())
    }

    async fn commit(
        &self,
        plane: &mut ControlPlane,
        scope: &Scope,
        request: pb::PutProfileRequest,
        source: Option<(&Source, &ProfileFile)>,
        (command, format): (&'static str, Format),
    ) -> Result<(), Failure> {
        let name = source.map_or_else(|| scope.to_string(), |(source, _)| source.name());
        let commit = Commit {
            file: source.map(|(_, file)| file),
            command,
            ..self.commit_of(scope, &name, format)
        };
        commit.run(plane, request).await
    }

    fn commit_of<'a>(&self, scope: &'a Scope, name: &'a str, format: Format) -> Commit<'a> {
        Commit {
            scope,
            name,
            file: None,
            command: "",
            wait: (!self.no_wait).then_some(self.wait),
            strict: self.strict,
            format,
        }
    }
}

impl Set {
    pub(super) async fn run(self, target: &Target) -> Result<(), Failure> {
        let (format, mut plane) = (target.format()?, ControlPlane::new(target)?);
        let scope = self.edit.scope.scope()?;
        self.edit.check_hold(&scope)?;
        let head = head(&mut plane, &scope).await?;
        let request = pb::PutProfileRequest {
            set: self
                .settings
                .iter()
                .map(|(path, value)| pb::TextSetting {
                    path: path.clone(),
                    value: value.clone(),
                })
                .collect(),
            group: self.group.selector(&scope, head.group.as_ref())?,
            ..self.edit.request(&scope, &head)
        };
        self.edit
            .commit(
                &mut plane,
                &scope,
                request,
                None,
                ("weir profile set", format),
            )
            .await
    }
}

impl Unset {
    pub(super) async fn run(self, target: &Target) -> Result<(), Failure> {
        let (format, mut plane) = (target.format()?, ControlPlane::new(target)?);
        let scope = self.edit.scope.scope()?;
        let head = head(&mut plane, &scope).await?;
        // A group that never was has no selector, without which nothing can be written.
        if matches!(scope, Scope::Group(_)) && head.revision == 0 {
            let commit = self.edit.commit_of(&scope, "", format);
            return commit.nothing_there(self.edit.dry_run);
        }
        let mut request = pb::PutProfileRequest {
            unset: self.knobs,
            replace: self.all,
            ..self.edit.request(&scope, &head)
        };
        if scope.is_override() && self.edit.hold.is_none() {
            request.ttl_ms = remaining_ms(head.until_unix_ms, WallClock::system().unix_now());
        }
        self.edit
            .commit(
                &mut plane,
                &scope,
                request,
                None,
                ("weir profile unset", format),
            )
            .await
    }
}

/// What is left of an override, so that taking a knob out of it does not make it longer.
fn remaining_ms(until_unix_ms: u64, now: Duration) -> u64 {
    const LEAST_MS: u64 = 1_000;
    until_unix_ms
        .saturating_sub(milliseconds(now))
        .max(LEAST_MS)
}

impl Apply {
    pub(super) async fn run(self, target: &Target) -> Result<(), Failure> {
        let format = target.format()?;
        let scope = self.edit.scope.scope()?;
        self.edit.check_hold(&scope)?;
        let file = self.source.read(format)?;
        let mut plane = ControlPlane::new(target)?;
        let head = head(&mut plane, &scope).await?;
        let request = pb::PutProfileRequest {
            group: self.group.selector(&scope, head.group.as_ref())?,
            ..replacing(&file, self.edit.request(&scope, &head))
        };
        let source = Some((&self.source, &file));
        self.edit
            .commit(
                &mut plane,
                &scope,
                request,
                source,
                ("weir profile apply", format),
            )
            .await
    }
}

impl Rollback {
    pub(super) async fn run(self, target: &Target) -> Result<(), Failure> {
        let (format, mut plane) = (target.format()?, ControlPlane::new(target)?);
        let scope = self.edit.scope.scope()?;
        self.edit.check_hold(&scope)?;
        let head = head(&mut plane, &scope).await?;
        let request = pb::PutProfileRequest {
            rollback_to: self.to,
            ..self.edit.request(&scope, &head)
        };
        self.edit
            .commit(
                &mut plane,
                &scope,
                request,
                None,
                ("weir profile rollback", format),
            )
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_knob_and_a_value() {
        assert_eq!(
            setting("ingress.compression=br, gzip"),
            Ok(("ingress.compression".into(), "br, gzip".into()))
        );
        assert_eq!(setting("a = b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(setting("a="), Ok(("a".into(), String::new())));
        assert!(setting("a").is_err() && setting("=b").is_err());
    }

    #[test]
    fn an_override_holds_a_day_at_most() {
        assert_eq!(hold("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(hold("48h"), Err("allowed: at most 24h".to_owned()));
    }

    #[test]
    fn what_is_left_of_an_override_is_never_nothing() {
        let now = Duration::from_secs(100);
        assert_eq!(remaining_ms(160_000, now), 60_000);
        assert_eq!(remaining_ms(99_000, now), 1_000);
        assert_eq!(remaining_ms(0, now), 1_000);
    }
}
