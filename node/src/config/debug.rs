//! Who may look into a running node.

use weir_control_plane::governance::secret::SecretRef;

use super::reader::{Problem, Section};
use super::vpns::read_secret;

/// What is under `/debug` of the HTTP API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebugSettings {
    /// The token that has to be shown; without one nobody gets anything.
    pub token: Option<SecretRef>,
}

impl DebugSettings {
    pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut s = root.section(problems, "debug");
        let token = read_secret(&mut s, problems, "token");
        s.finish(problems);
        Self { token }
    }
}
