//! What a node speaks with, and whether it answers.

use super::finding::{Area, Finding, Severity};

/// Who is spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An instance of the control plane.
    ControlPlane,
    /// The store of the control plane.
    Etcd,
    /// The tier of the cache that nodes share.
    Redis,
    /// Runs engines.
    Docker,
    /// The control server of a VPN.
    Gluetun,
    /// Takes traces.
    Collector,
}

/// Whether somebody answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Who.
    pub place: Place,
    /// Where, without secrets.
    pub address: String,
    /// What of the configuration or the command line names it.
    pub key: String,
    /// What came of it.
    pub answer: Answer,
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It answers, after so many ms; and what it said of itself.
    Yes(u64, String),
    /// It answers, and refuses whoever asks.
    Refused(String),
    /// It does not answer, and why.
    No(String),
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "control plane",
            Self::Etcd => "etcd",
            Self::Redis => "Redis",
            Self::Docker => "Docker",
            Self::Gluetun => "Gluetun",
            Self::Collector => "OTLP collector",
        }
    }

    const fn effect(self) -> &'static str {
        match self {
            Self::ControlPlane => {
                "profiles, weights and other nodes' addresses do not change here; nodes serve on"
            }
            Self::Etcd => "the control plane keeps nothing and elects no leader; nodes serve on",
            Self::Redis => {
                "answers are not shared with other nodes nor kept over a restart: backends get more requests"
            }
            Self::Docker => "no engine is started, replaced or looked after",
            Self::Gluetun => "its port is not known, and engines behind it take no new work",
            Self::Collector => "traces are dropped and counted; traffic does not suffer",
        }
    }

    const fn severity(self) -> Severity {
        match self {
            Self::Collector => Severity::Warning,
            _ => Severity::Error,
        }
    }

    fn fix(self, address: &str) -> String {
        match self {
            Self::ControlPlane => format!("start it: `weir control-plane --listen {address}`"),
            Self::Etcd => format!("`systemctl start etcd`, then `etcdctl --endpoints {address} endpoint health`"),
            Self::Redis => "`systemctl start redis-server`, then `redis-cli ping`".to_owned(),
            Self::Docker => {
                "`systemctl start docker`, and `usermod -aG docker weir` for the user that runs the node".to_owned()
            }
            Self::Gluetun => "`docker start` its container, with HTTP_CONTROL_SERVER_ADDRESS set".to_owned(),
            Self::Collector => "start the collector with an OTLP gRPC receiver".to_owned(),
        }
    }
}

pub(super) fn judge(probe: &Probe) -> Finding {
    let place = probe.place;
    let check = format!("{} {}", place.name(), probe.address);
    let finding = |found: String| Finding::ok(Area::Reach, check, found);
    match &probe.answer {
        Answer::Yes(ms, what) if what.is_empty() => finding(format!("answers after {ms} ms")),
        Answer::Yes(ms, what) => finding(format!("answers after {ms} ms: {what}")),
        Answer::Refused(why) => finding(format!("refuses: {why}")).bad(
            place.severity(),
            place.effect(),
            format!("correct what `{}` says for it to be let in", probe.key),
        ),
        Answer::No(why) => finding(format!("no answer: {why}")).bad(
            place.severity(),
            place.effect(),
            format!("{}; or correct `{}`", place.fix(&probe.address), probe.key),
        ),
    }
}
