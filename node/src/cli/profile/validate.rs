//! What a whole profile is read from, and `weir profile validate`, which only checks it.

use std::path::PathBuf;

use clap::Args;
use tonic::Code;
use weir_core::tuning::Scope;
use weir_proto::control::v1 as pb;

use super::file::ProfileFile;
use super::scope::{GroupArgs, ScopeArgs};
use super::show::head;
use super::write::dry_run;
use crate::cli::control::text::counted;
use crate::cli::control::{ControlPlane, Found, Target, report};
use crate::cli::output::{Failure, Format, print, print_json};

/// What a whole profile is read from.
#[derive(Args)]
pub(super) struct Source {
    /// The file (TOML), or - for standard input.
    #[arg(short, long, value_name = "FILE", required_unless_present = "preset")]
    file: Option<PathBuf>,
    /// Begin from this preset.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
}

impl Source {
    /// What it says; problems are reported as failure.
    pub(super) fn read(&self, format: Format) -> Result<ProfileFile, Failure> {
        let mut file = match &self.file {
            None => ProfileFile::default(),
            Some(path) => match ProfileFile::read(path)? {
                Ok(file) => file,
                Err(found) => return Err(report(&self.name(), &found, format)?),
            },
        };
        match (&self.preset, &file.preset) {
            (Some(wanted), Some(written)) if wanted != written => {
                return Err(Failure::Usage(format!(
                    "--preset: `{wanted}`, but {} begins from `{written}`",
                    self.name()
                )));
            }
            (Some(wanted), _) => file.preset = Some(wanted.clone()),
            (None, _) => {}
        }
        Ok(file)
    }

    pub(super) fn name(&self) -> String {
        match (&self.file, &self.preset) {
            (Some(path), _) if path.as_os_str() == "-" => "standard input".to_owned(),
            (Some(path), _) => path.display().to_string(),
            (None, preset) => format!("preset {}", preset.as_deref().unwrap_or_default()),
        }
    }
}

/// `weir profile validate`.
#[derive(Args)]
pub(super) struct Validate {
    #[command(flatten)]
    source: Source,
    /// Ask nobody: check against what this program knows.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    group: GroupArgs,
}

/// A write that puts the file in the place of what there is.
pub(super) fn replacing(
    file: &ProfileFile,
    request: pb::PutProfileRequest,
) -> pb::PutProfileRequest {
    pb::PutProfileRequest {
        replace: true,
        preset: file.preset.clone().unwrap_or_default(),
        set: file.settings.clone(),
        ..request
    }
}

impl Validate {
    pub(super) async fn run(self, target: &Target) -> Result<(), Failure> {
        let format = target.format()?;
        let scope = self.scope.scope()?;
        let file = self.source.read(format)?;
        if self.offline {
            return match file.check() {
                Ok(profile) => valid(&self.source.name(), profile.len(), format),
                Err(found) => Err(report(&self.source.name(), &found, format)?),
            };
        }
        let mut plane = ControlPlane::new(target)?;
        let written = would_be(&mut plane, &scope, &file, &self.group).await?;
        match written {
            Ok(written) => {
                let settings = written.profile.map_or(0, |profile| profile.settings.len());
                valid(&self.source.name(), settings, format)
            }
            Err(found) => Err(report(&self.source.name(), &found, format)?),
        }
    }
}

fn valid(name: &str, settings: usize, format: Format) -> Result<(), Failure> {
    match format {
        Format::Text => print(&format!(
            "{name}: no problems, {}",
            counted(settings, "setting")
        )),
        Format::Json => print_json(&serde_json::json!({ "problems": [], "settings": settings })),
    }
}

/// What applying the file would do. Whoever writes meanwhile does not matter: it is based on what is newest then.
pub(super) async fn would_be(
    plane: &mut ControlPlane,
    scope: &Scope,
    file: &ProfileFile,
    group: &GroupArgs,
) -> Result<Result<pb::PutProfileResponse, Vec<Found>>, Failure> {
    const TRIES_MAX: usize = 5;
    /// Nothing is written, so any time will do.
    const HOLD_MS: u64 = 60_000;
    let mut tries = 0;
    loop {
        let head = head(plane, scope).await?;
        let request = pb::PutProfileRequest {
            scope: scope.to_string(),
            expected_revision: head.revision,
            dry_run: true,
            ttl_ms: if scope.is_override() { HOLD_MS } else { 0 },
            group: group.selector(scope, head.group.as_ref())?,
            ..replacing(file, pb::PutProfileRequest::default())
        };
        tries += 1;
        match dry_run(plane, request).await {
            Err(Failure::Refused(status))
                if status.code() == Code::Aborted && tries < TRIES_MAX => {}
            Ok(Err(problems)) => return Ok(Err(file.located(problems))),
            Ok(Ok(written)) => return Ok(Ok(written)),
            Err(failure) => return Err(failure),
        }
    }
}
