//! What is wrong with a host, and with what a node needs beside it: facts in, findings out.
//!
//! Whoever reads the host fills in [`Facts`]; [`examine`] judges all of them. Nothing here reads a file or a clock.

mod advertise;
mod certificates;
mod clock;
mod disk;
mod finding;
mod kernel;
mod limits;
mod names;
mod needs;
mod reach;
mod reserved;
mod sysctl;
#[cfg(test)]
mod tests;
pub mod x509;

pub use advertise::Advertised;
pub use certificates::{Certificate, Validity};
pub use clock::{Clock, Daemon, Offset};
pub use disk::{Folder, Space};
pub use finding::{Area, Change, Finding, Severity, worst};
pub use kernel::{Parameters, Read, parameters};
pub use limits::OpenFiles;
pub use names::Ignored;
pub use needs::Needs;
pub use reach::{Answer, Place, Probe};
pub use sysctl::file as sysctl_file;

use crate::tuning::Profile;

/// Everything that was found out.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Kernel parameters, by the name that `sysctl` gives them.
    pub parameters: Parameters,
    /// Ports that the node listens on.
    pub listen_ports: Vec<u16>,
    /// `RLIMIT_NOFILE`; `None` where it was not looked at.
    pub open_files: Option<OpenFiles>,
    /// How the clock is kept, and what others' clocks say.
    pub clock: Clock,
    /// Folders that a node writes to.
    pub folders: Vec<Folder>,
    /// What a node speaks with.
    pub probes: Vec<Probe>,
    /// Certificates that a node shows or believes.
    pub certificates: Vec<Certificate>,
    /// Names of the environment that are set and have no effect.
    pub ignored: Vec<Ignored>,
    /// Where others find the node; `None` for one of its own.
    pub advertised: Option<Advertised>,
    /// Now, in seconds since 1970.
    pub now_unix_s: u64,
}

/// Judges all facts: the gravest findings first, and of equal ones in the order of [`Area`].
pub fn examine(facts: &Facts, profile: &Profile, needs: &Needs) -> Vec<Finding> {
    let mut findings = kernel::judge(&facts.parameters, profile, needs);
    findings.extend(reserved::judge(
        &facts.parameters,
        &facts.listen_ports,
        profile,
    ));
    if let Some(files) = &facts.open_files {
        findings.push(limits::judge(files, profile, needs));
    }
    findings.extend(clock::judge(&facts.clock));
    findings.extend(facts.folders.iter().map(disk::judge));
    findings.extend(facts.probes.iter().map(reach::judge));
    findings.extend(facts.ignored.iter().map(names::judge));
    findings.extend(facts.advertised.as_ref().and_then(advertise::judge));
    let now = facts.now_unix_s;
    let judge = |one: &Certificate| certificates::judge(one, now);
    findings.extend(facts.certificates.iter().map(judge));
    findings.sort_by(|one, other| {
        let gravest_first = other.severity.cmp(&one.severity);
        gravest_first.then(one.area.cmp(&other.area))
    });
    findings
}
