//! Ports that the node listens on, among those that the kernel gives to connections.

use super::finding::{Area, Change, Finding, Severity};
use super::kernel::{PORT_RANGE, Parameters, Read, port_range, wanted};
use crate::tuning::Profile;
use crate::tuning::knobs::host;

pub(super) const RESERVED: &str = "net.ipv4.ip_local_reserved_ports";

/// A finding where a port may be taken, now or with the range that the profile asks for.
pub(super) fn judge(parameters: &Parameters, listen: &[u16], profile: &Profile) -> Option<Finding> {
    let (Some(Read::Said(reserved)), Some(Read::Said(range))) =
        (parameters.get(RESERVED), parameters.get(PORT_RANGE))
    else {
        return None;
    };
    let (low, high) = port_range(range)?;
    let low = low.min(wanted(profile, &host::PORT_RANGE_MIN));
    let high = high.max(wanted(profile, &host::PORT_RANGE_MAX));
    let kept = ranges(reserved);
    let is_kept = |port: u64| kept.iter().any(|(from, to)| (*from..=*to).contains(&port));
    let mut open: Vec<u64> = listen.iter().map(|port| u64::from(*port)).collect();
    open.retain(|port| (low..=high).contains(port) && !is_kept(*port));
    open.sort_unstable();
    open.dedup();
    let shown = match reserved.trim() {
        "" => "none",
        some => some,
    };
    let finding = Finding::ok(Area::Kernel, RESERVED, shown);
    if open.is_empty() {
        return Some(finding);
    }
    let ports: Vec<String> = open.iter().map(u64::to_string).collect();
    let all: Vec<&str> = Some(reserved.trim())
        .filter(|text| !text.is_empty())
        .into_iter()
        .chain(ports.iter().map(String::as_str))
        .collect();
    let value = all.join(",");
    let effect = format!(
        "a connection may have {} when the node starts, which then does not",
        ports.join(", ")
    );
    let fix = format!("`sysctl -w {RESERVED}={value}`");
    let change = Change {
        parameter: RESERVED,
        value,
    };
    Some(Finding {
        change: Some(change),
        ..finding.bad(Severity::Info, effect, fix)
    })
}

/// Such as `8080,9000-9099`; what is none is left out.
fn ranges(text: &str) -> Vec<(u64, u64)> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
    };
    text.split(',').filter_map(range).collect()
}
