//! Kernel parameters against what the knobs of `host` and the configuration ask for.

use std::collections::BTreeMap;

use super::finding::{Area, Change, Finding, Severity};
use super::needs::Needs;
use crate::tuning::knobs::host;
use crate::tuning::{Knob, Profile, Value};

/// What came of reading a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// What the kernel says.
    Said(String),
    /// The kernel has no such parameter here.
    Absent,
    /// It could not be read, and why.
    Failed(String),
}

/// What came of reading each parameter, by the name that `sysctl` gives it.
pub type Parameters = BTreeMap<&'static str, Read>;

/// How a value is compared with the wanted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    AtLeast,
    AtMost,
    /// Every bit of the wanted one is set.
    Bits,
    Equal,
}

/// What it means when a parameter is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gravity {
    /// Connections are lost.
    Loses,
    /// Something is slower or costs more.
    Tunes,
}

/// Where the wanted value comes from.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Knob(&'static Knob),
    Fixed(u64),
}

/// One parameter.
struct Rule {
    parameter: &'static str,
    wanted: Wanted,
    compare: Compare,
    gravity: Gravity,
    effect: &'static str,
}

/// The two ends of local ports, which are one parameter.
pub(super) const PORT_RANGE: &str = "net.ipv4.ip_local_port_range";
const CONNTRACK: &str = "net.netfilter.nf_conntrack_max";
const FILE_MAX: &str = "fs.file-max";
const FILES_OF_ONE: &str = "fs.nr_open";

const fn rule(
    parameter: &'static str,
    wanted: Wanted,
    compare: Compare,
    gravity: Gravity,
    effect: &'static str,
) -> Rule {
    Rule {
        parameter,
        wanted,
        compare,
        gravity,
        effect,
    }
}

use Compare::{AtLeast, AtMost, Bits, Equal};
use Gravity::{Loses, Tunes};
use Wanted::{Fixed, Knob as By};

static RULES: [Rule; 18] = [
    rule(
        "net.core.somaxconn",
        By(&host::SOMAXCONN),
        AtLeast,
        Loses,
        "connections that come while the node is busy accepting others are dropped",
    ),
    rule(
        "net.ipv4.tcp_max_syn_backlog",
        By(&host::SYN_BACKLOG_MAX),
        AtLeast,
        Loses,
        "a burst of new connections loses some, which try again after a second",
    ),
    rule(
        "net.core.netdev_max_backlog",
        By(&host::NETDEV_BACKLOG_MAX),
        AtLeast,
        Tunes,
        "a burst of packets loses some, which are sent again",
    ),
    rule(
        "net.ipv4.tcp_fin_timeout",
        By(&host::FIN_TIMEOUT),
        AtMost,
        Tunes,
        "connections that one side has closed hold memory for longer",
    ),
    rule(
        "net.ipv4.tcp_keepalive_time",
        By(&host::KEEPALIVE_TIME),
        AtMost,
        Tunes,
        "idle connections of peers that are gone are noticed later",
    ),
    rule(
        "net.ipv4.tcp_keepalive_probes",
        By(&host::KEEPALIVE_PROBES),
        AtMost,
        Tunes,
        "idle connections of peers that are gone are noticed later",
    ),
    rule(
        "net.ipv4.tcp_keepalive_intvl",
        By(&host::KEEPALIVE_INTERVAL),
        AtMost,
        Tunes,
        "idle connections of peers that are gone are noticed later",
    ),
    rule(
        "net.ipv4.tcp_fastopen",
        By(&host::TCP_FASTOPEN),
        Bits,
        Tunes,
        "clients that know the host wait one round trip more for each new connection",
    ),
    rule(
        "net.ipv4.tcp_tw_reuse",
        Fixed(1),
        Equal,
        Tunes,
        "ports of closed connections to backends are not used again for a minute",
    ),
    rule(
        "net.core.rmem_max",
        By(&host::RMEM_MAX),
        AtLeast,
        Tunes,
        "one connection over a long way receives more slowly than the line allows",
    ),
    rule(
        "net.core.wmem_max",
        By(&host::WMEM_MAX),
        AtLeast,
        Tunes,
        "one connection over a long way sends more slowly than the line allows",
    ),
    rule(
        CONNTRACK,
        By(&host::CONNTRACK_MAX),
        AtLeast,
        Loses,
        "packets of new connections are dropped once so many are tracked",
    ),
    rule(
        FILE_MAX,
        By(&host::FILE_MAX),
        AtLeast,
        Loses,
        "all processes of the host together run out of files",
    ),
    rule(
        FILES_OF_ONE,
        By(&host::NOFILE),
        AtLeast,
        Loses,
        "no process can be allowed as many files as host.nofile says",
    ),
    rule(
        PORT_RANGE,
        By(&host::PORT_RANGE_MAX),
        AtLeast,
        Loses,
        "connections to one backend fail when no local port is left",
    ),
    rule(
        "vm.swappiness",
        By(&host::SWAPPINESS),
        AtMost,
        Tunes,
        "memory of the node is swapped out earlier, and requests wait for it",
    ),
    rule(
        "vm.dirty_ratio",
        By(&host::DIRTY_PERCENT),
        AtMost,
        Tunes,
        "who writes files waits longer when the disk is behind",
    ),
    rule(
        "vm.dirty_background_ratio",
        By(&host::DIRTY_BACKGROUND_PERCENT),
        AtMost,
        Tunes,
        "files are written to the disk later and in larger bursts",
    ),
];

/// The parameters that are judged, as `sysctl` names them.
pub fn parameters() -> impl Iterator<Item = &'static str> {
    let of_rules = RULES.iter().map(|rule| rule.parameter);
    of_rules.chain(std::iter::once(super::reserved::RESERVED))
}

/// What a knob of the host asks for, as the kernel counts it.
pub(super) fn wanted(profile: &Profile, knob: &Knob) -> u64 {
    let value = profile.get(knob).cloned();
    match value.unwrap_or_else(|| knob.default_value()) {
        Value::Count(number) | Value::Bytes(number) => number,
        Value::Duration(time) => time.as_secs(),
        Value::Percent(percent) => u64::from(percent),
        _ => 0,
    }
}

pub(super) fn judge(parameters: &Parameters, profile: &Profile, needs: &Needs) -> Vec<Finding> {
    let judge = |rule: &Rule| {
        let finding = |found: &str| Finding::ok(Area::Kernel, rule.parameter, found);
        match parameters.get(rule.parameter)? {
            Read::Said(said) if rule.parameter == PORT_RANGE => {
                Some(judge_ports(finding(said.trim()), said, profile, needs))
            }
            Read::Said(said) => match said.trim().parse() {
                Ok(value) => Some(rule.judge(finding(said.trim()), value, profile, needs)),
                Err(_) => Some(unread(finding("no number"))),
            },
            // The module is not loaded: nothing is tracked.
            Read::Absent if rule.parameter == CONNTRACK => None,
            Read::Absent => Some(unread(finding("not shown here"))),
            Read::Failed(why) => Some(unread(finding(why))),
        }
    };
    RULES.iter().filter_map(judge).collect()
}

fn unread(finding: Finding) -> Finding {
    let fix = format!("on the host itself: `sysctl {}`", finding.check);
    finding.bad(Severity::Info, "it cannot be told, as in a container", fix)
}

impl Rule {
    fn judge(&self, finding: Finding, value: u64, profile: &Profile, needs: &Needs) -> Finding {
        let wanted = match self.wanted {
            Wanted::Knob(knob) => wanted(profile, knob),
            Wanted::Fixed(value) => value,
        };
        let needed = match self.parameter {
            CONNTRACK => needs.connections(),
            FILE_MAX | FILES_OF_ONE => needs.files(),
            _ => 0,
        };
        let wanted = wanted.max(needed);
        let fits = match self.compare {
            Compare::AtLeast => value >= wanted,
            Compare::AtMost => value <= wanted,
            Compare::Bits => value & wanted == wanted,
            Compare::Equal => value == wanted,
        };
        if fits {
            return finding;
        }
        let set = match self.compare {
            Compare::Bits => value | wanted,
            _ => wanted,
        };
        let severity = severity(self.gravity, value < needed, needs);
        changed(
            finding,
            severity,
            self.effect,
            self.parameter,
            set.to_string(),
        )
    }
}

/// What the configuration needs is missed: a warning. What is only asked for is one where somebody asked.
const fn severity(gravity: Gravity, is_needed: bool, needs: &Needs) -> Severity {
    match gravity {
        _ if is_needed => Severity::Warning,
        Gravity::Loses if needs.has_profile => Severity::Warning,
        Gravity::Loses | Gravity::Tunes => Severity::Info,
    }
}

fn changed(
    finding: Finding,
    severity: Severity,
    effect: &str,
    parameter: &'static str,
    value: String,
) -> Finding {
    let fix = format!("`sysctl -w {parameter}={}`", quoted(&value));
    let change = Some(Change { parameter, value });
    Finding {
        change,
        ..finding.bad(severity, effect, fix)
    }
}

/// As a shell takes it.
fn quoted(value: &str) -> String {
    match value.contains(' ') {
        true => format!("\"{value}\""),
        false => value.to_owned(),
    }
}

fn judge_ports(finding: Finding, said: &str, profile: &Profile, needs: &Needs) -> Finding {
    let Some((low, high)) = port_range(said) else {
        return unread(Finding {
            found: "no two numbers".to_owned(),
            ..finding
        });
    };
    let wanted_low = wanted(profile, &host::PORT_RANGE_MIN);
    let wanted_high = wanted(profile, &host::PORT_RANGE_MAX);
    let (there, asked) = (count(low, high), count(wanted_low, wanted_high));
    if there >= asked {
        return finding;
    }
    // How many are needed is known, unlike with the other parameters: nothing is lost for what is only asked.
    let (severity, why) = match needs.to_one_address {
        needed if there < needed.min(asked) => {
            (Severity::Warning, format!("the pools may open {needed}"))
        }
        0 => (Severity::Info, format!("{asked} are asked for")),
        needed => (
            Severity::Info,
            format!("{asked} are asked for, of which the pools may open {needed}"),
        ),
    };
    let effect = format!("at most {there} connections to one address of a backend; {why}");
    let value = format!("{wanted_low} {wanted_high}");
    changed(finding, severity, &effect, PORT_RANGE, value)
}

/// Both ends, as the kernel says them.
pub(super) fn port_range(said: &str) -> Option<(u64, u64)> {
    let mut ends = said.split_whitespace().map(str::parse);
    match (ends.next(), ends.next(), ends.next()) {
        (Some(Ok(low)), Some(Ok(high)), None) => Some((low, high)),
        _ => None,
    }
}

const fn count(low: u64, high: u64) -> u64 {
    (high + 1).saturating_sub(low)
}
