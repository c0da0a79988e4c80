//! A profile by its name: a preset, nothing at all, or what a scope has or had.

use weir_core::tuning::{PRESETS, SCOPE_BOUND, Scope, preset};
use weir_proto::control::v1 as pb;

use crate::cli::control::ControlPlane;
use crate::cli::output::Failure;
use crate::cli::profile::fetch;

/// One of two profiles.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Nothing is set: what holds below the scope.
    Nothing,
    /// A preset.
    Preset(String),
    /// A revision of a scope; 0 for the newest.
    Revision(Scope, u64),
}

impl Side {
    /// Reads a name that `flag` gave.
    pub(super) fn parse(flag: &str, text: &str) -> Result<Self, Failure> {
        if text == "none" {
            return Ok(Self::Nothing);
        }
        if preset(text).is_some() {
            return Ok(Self::Preset(text.to_owned()));
        }
        let (scope, revision) = match text.split_once('@') {
            None => (text, Some(0)),
            Some((scope, number)) => {
                let number = number.parse().ok().filter(|number| *number > 0);
                (scope, number)
            }
        };
        match (scope.parse(), revision) {
            (Ok(scope), Some(revision)) => Ok(Self::Revision(scope, revision)),
            _ => {
                let presets: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
                Err(Failure::Usage(format!(
                    "{flag}: `{text}` is no profile; allowed: none, {}, or {SCOPE_BOUND}, each also with @REVISION",
                    presets.join(", ")
                )))
            }
        }
    }

    /// What to write for it.
    pub(super) async fn content(
        &self,
        plane: &mut ControlPlane,
    ) -> Result<(String, Vec<pb::TextSetting>), Failure> {
        match self {
            Self::Nothing => Ok((String::new(), Vec::new())),
            Self::Preset(name) => Ok((name.clone(), Vec::new())),
            Self::Revision(scope, revision) => {
                let found = fetch(plane, scope, *revision).await?;
                Ok((String::new(), found.settings))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_a_preset_nothing_or_a_revision_of_a_scope() {
        let read = |text| Side::parse("--profile-a", text);
        assert_eq!(read("none").unwrap(), Side::Nothing);
        let name = PRESETS[0].name;
        assert_eq!(read(name).unwrap(), Side::Preset(name.to_owned()));
        let fleet = Side::Revision(Scope::Fleet, 0);
        assert_eq!(read("fleet").unwrap(), fleet);
        let older = Side::Revision(Scope::Node("n-1".to_owned()), 3);
        assert_eq!(read("node/n-1@3").unwrap(), older);
        for bad in ["", "fast", "fleet@0", "fleet@x", "a/b/c"] {
            let refused = read(bad).unwrap_err().to_string();
            assert!(
                refused.starts_with("--profile-a: ") && refused.contains(name),
                "{refused}"
            );
        }
    }
}
