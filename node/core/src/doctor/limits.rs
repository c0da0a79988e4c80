//! How many files a node may have open.

use super::finding::{Area, Finding, Severity};
use super::needs::Needs;
use crate::tuning::Profile;
use crate::tuning::knobs::host;

/// With fewer a node hardly gets as far as serving.
const LEAST: u64 = 1_024;

/// `RLIMIT_NOFILE` of a process that is started as the one that looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The soft limit, which a node raises as far as the hard one; `None` for none.
    pub soft: Option<u64>,
    /// The hard limit; `None` for none.
    pub hard: Option<u64>,
}

pub(super) fn judge(files: &OpenFiles, profile: &Profile, needs: &Needs) -> Finding {
    let wanted = super::kernel::wanted(profile, &host::NOFILE);
    let shown = |limit: Option<u64>| limit.map_or_else(|| "unlimited".into(), |n| n.to_string());
    let found = format!("hard {}, soft {}", shown(files.hard), shown(files.soft));
    let finding = Finding::ok(Area::Limit, "RLIMIT_NOFILE", found);
    let hard = files.hard.unwrap_or(u64::MAX);
    let (needed, wanted) = (needs.files(), wanted.max(needs.files()));
    let fix = format!(
        "systemd: `LimitNOFILE={wanted}` under [Service]; shell: `ulimit -n {wanted}` as root; \
         container: `--ulimit nofile={wanted}:{wanted}`"
    );
    let unserved = format!(
        "{} connections of clients may be open and need {needed} files: those that find none wait unserved",
        needs.client_connections
    );
    match hard {
        _ if hard < LEAST => finding.bad(Severity::Error, unserved, fix),
        _ if hard < needed => finding.bad(Severity::Warning, unserved, fix),
        _ if hard < wanted => {
            let severity = match needs.has_profile {
                true => Severity::Warning,
                false => Severity::Info,
            };
            let effect =
                format!("enough for what is configured ({needed}); host.nofile asks for more");
            finding.bad(severity, effect, fix)
        }
        _ => finding,
    }
}
