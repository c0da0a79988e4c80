//! Who may look into a running node.

use weir_control_plane::governance::secret::SecretRef;

use super::reader::{Problem, Section};

/// What is under `/debug` of the HTTP API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebugSettings {
    /// The file of the token that has to be shown; without one nobody gets anything.
    pub token: Option<SecretRef>,
}

impl DebugSettings {
    pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut s = root.section(problems, "debug");
        let path = s.path(problems, "token_file");
        let token = path.and_then(|path| {
            let is_whole = path.is_absolute();
            if !is_whole {
                let what = format!(
                    "`{}` must be a whole path, such as /etc/weir/debug",
                    path.display()
                );
                s.problem(problems, "token_file", what);
            }
            is_whole.then_some(SecretRef::File(path))
        });
        s.finish(problems);
        Self { token }
    }
}
