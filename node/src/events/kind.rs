//! Every kind of event: its name, how grave it is, what it tells.

use std::fmt;

use weir_core::provision::RefusalCode;

/// How grave an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Happens all the time.
    Debug,
    /// Worth knowing.
    Info,
    /// Something was limited, or works worse than it should.
    Warning,
    /// Somebody should look.
    Error,
}

impl Severity {
    /// In one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

macro_rules! kinds {
    ($(
        $kind:ident = $name:literal, $severity:ident, $subject:literal,
        [$($attribute:literal),*], $about:literal;
    )*) => {
        /// What happened. The names are for programs and never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = $about] $kind,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// Dotted: the part that it is of, and what happened.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// How grave it is.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$kind => Severity::$severity,)* }
            }

            /// What it happens to: `service`, `backend`, `engine`, `vpn`, `job`, `cdn` or `node`.
            pub const fn subject(self) -> &'static str {
                match self { $(Self::$kind => $subject,)* }
            }

            /// The attributes that it may have.
            pub const fn attributes(self) -> &'static [&'static str] {
                match self { $(Self::$kind => &[$($attribute),*],)* }
            }

            /// What it says, for people.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$kind => $about,)* }
            }
        }
    };
}

kinds! {
    PortHit = "port_cache.hit", Debug, "vpn", [],
        "Look-ups of a port were answered from what was known.";
    PortMiss = "port_cache.miss", Debug, "vpn", [],
        "Look-ups of a port had to wait for an answer.";
    PortStale = "port_cache.stale", Warning, "vpn", [],
        "Look-ups were answered with a port past its time, because nobody answers.";
    PortChanged = "port_cache.changed", Info, "vpn", ["from", "to", "owner"],
        "The port that engines should have is another one.";
    PortInvalidated = "port_cache.invalidated", Info, "vpn", ["epoch", "owner"],
        "What was known of a port is void.";
    PortAlarm = "port_cache.alarm", Warning, "vpn", ["alarm", "owner"],
        "A port is missing, changes too often, or cannot be told.";
    VpnLost = "vpn.lost", Error, "vpn", ["owner"],
        "A VPN became unhealthy.";
    VpnBack = "vpn.back", Info, "vpn", ["owner"],
        "A VPN is healthy again, and not for long enough to act on it.";
    VpnStable = "vpn.stable", Info, "vpn", ["owner"],
        "A VPN is healthy, and stays so.";
    VpnRestarted = "vpn.restarted", Warning, "vpn", ["what", "owner"],
        "The tunnel was made anew (`tunnel`), or its container is another one or started again (`container`).";
    ProvisionLimited = "provision.limited", Warning, "service", ["limit", "job", "message"],
        "A start was refused or has to wait because of a limit.";
    ServiceWaits = "service.waits", Info, "service", ["waiting"],
        "Requests wait for the first engine of a service.";
    BreakerOpen = "breaker.open", Error, "node", ["of", "why"],
        "Starts of a service, or with a driver, failed too often: none begins here.";
    BreakerHalfOpen = "breaker.half_open", Info, "node", ["of"],
        "One start is tried.";
    BreakerClosed = "breaker.closed", Info, "node", ["of"],
        "Starts work again.";
    CdnAway = "cdn.away", Warning, "cdn", ["cdn", "why"],
        "A CDN does not take purges; they are sent again.";
    CdnBack = "cdn.back", Info, "cdn", ["cdn"],
        "A CDN takes purges again.";
    CdnRefused = "cdn.refused", Error, "cdn", ["cdn", "why"],
        "A CDN will never take these purges.";
    BackendIn = "backend.in", Info, "backend", ["service"],
        "A backend is in traffic that was not.";
    BackendOut = "backend.out", Warning, "backend", ["service", "why"],
        "A backend is out of traffic; of severity info when it is an engine that was taken out.";
    ProfileApplied = "profile.applied", Info, "node", ["revision", "unsupported"],
        "A profile of the control plane is in force.";
    ProfileRefused = "profile.refused", Warning, "node", ["why"],
        "A profile of the control plane does not go with the file; the one before stays.";
    ConfigApplied = "config.applied", Info, "node", ["revision"],
        "A new configuration file is in force.";
    ConfigRefused = "config.refused", Warning, "node", ["why"],
        "A new configuration file has problems; the one before stays.";
    AlertFiring = "alert.firing", Warning, "node", ["alert", "value", "limit", "of"],
        "Something of the node is above its limit (`telemetry.alert_*`), for long enough.";
    AlertOver = "alert.over", Info, "node", ["alert"],
        "It is not any more.";
    CachePurged = "cache.purged", Info, "node", ["scope", "of", "namespace", "hardness"],
        "A purge was ordered on this node, for all nodes.";
    CacheRedisAway = "cache.redis_away", Warning, "node", ["why"],
        "Redis does not answer: what nodes keep is not shared through it, and nobody waits for it.";
    CacheRedisBack = "cache.redis_back", Info, "node", [],
        "Redis answers again.";
    StoreAway = "store.away", Error, "node", ["why"],
        "Jobs cannot be reached.";
    StoreBack = "store.back", Info, "node", [],
        "Jobs are reached again.";
    DriverAway = "driver.away", Error, "node", ["driver", "why"],
        "What runs engines does not answer: what runs is not known, and nothing is started with it.";
    DriverBack = "driver.back", Info, "node", ["driver"],
        "What runs engines answers again.";
    JobEnqueued = "job.enqueued", Info, "job", ["service", "reason"],
        "An engine is wanted.";
    JobClaimed = "job.claimed", Info, "job", ["service", "attempt"],
        "This node took a job.";
    JobDone = "job.done", Info, "job", ["service", "engine"],
        "A job brought about its engine, or none was needed any more.";
    JobReleased = "job.released", Info, "job", ["service", "why"],
        "This node gave a job back; it does not count as a try.";
    JobFailed = "job.failed", Warning, "job", ["service", "attempt", "why"],
        "A try of a job failed; there is another one later.";
    JobDead = "job.dead", Error, "job", ["service", "attempt", "why"],
        "The last try of a job failed.";
    EngineStarted = "engine.started", Info, "engine", ["service", "driver", "vpn", "port"],
        "An engine runs, and is not ready yet.";
    EngineAdopted = "engine.adopted", Info, "engine", ["service", "driver", "vpn", "port"],
        "This node took over an engine that runs.";
    EngineUp = "engine.up", Info, "engine", ["service", "address", "vpn"],
        "An engine is in traffic.";
    EngineDown = "engine.down", Warning, "engine", ["service", "state", "why"],
        "An engine is out of traffic; severity info when nobody needs it or another one takes its place.";
    EngineGone = "engine.gone", Info, "engine", ["service", "reason", "why"],
        "An engine is gone, and what it had is given back.";
    EngineRebalanced = "engine.rebalanced", Info, "engine", ["service", "from", "to"],
        "An engine makes way for one behind another VPN, because engines are spread unevenly.";
    EngineLinesLost = "engine.lines_lost", Warning, "engine", [],
        "Lines that an engine wrote were not kept, because it wrote too many.";
    EngineOutdated = "engine.outdated", Info, "engine", ["service", "image"],
        "An engine is not what its service's configuration makes by now.";
    ReplacementStopped = "replacement.stopped", Warning, "service", ["why"],
        "No engine is replaced as outdated any more, because one that should be as configured did not get ready.";
    CacheWarmed = "cache.warmed", Info, "node", ["source", "kept", "fresh", "not_kept", "failed", "unfinished"],
        "What was to be fetched before anybody asks for it was fetched, as far as it could be.";
    CacheWarmFailed = "cache.warm_failed", Warning, "node", ["source", "url", "why"],
        "Something that was to be fetched could not be; of many the first few are told.";
    CacheHotListDamaged = "cache.hot_list_damaged", Warning, "node", ["why"],
        "The list on disk of what was asked for most cannot be used; nothing of it is.";
    EngineImageDrifted = "engine.image_drifted", Info, "engine", ["image"],
        "The name of an engine's image means another image by now.";
}

impl Kind {
    /// The kind of that name; `None` when there is none.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// The attributes that events of one subject must share to be told as one.
    pub const fn told_apart_by(self) -> &'static [&'static str] {
        match self {
            Self::AlertFiring | Self::AlertOver => &["alert", "of"],
            Self::BreakerOpen | Self::BreakerHalfOpen | Self::BreakerClosed => &["of"],
            Self::CachePurged => &["scope", "of", "namespace", "hardness"],
            Self::CacheWarmFailed => &["source", "url"],
            Self::DriverAway | Self::DriverBack => &["driver"],
            Self::ProvisionLimited => &["limit"],
            _ => &[],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! limits {
    ($($(#[$doc:meta])* $limit:ident = $name:literal;)*) => {
        /// Which limit a start ran into. The names are for programs and never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Limit {
            $($(#[$doc])* $limit,)*
        }

        impl Limit {
            /// Every limit.
            pub const ALL: &'static [Self] = &[$(Self::$limit,)*];

            /// In snake case.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$limit => $name,)* }
            }
        }
    };
}

limits! {
    /// Starts under way on this node (`provision.concurrent_max`).
    Concurrency = "concurrency";
    /// The time between two starts of this node (`provision.interval_min`).
    Spacing = "spacing";
    /// Open jobs of the whole mesh (`provision.queue_max`).
    Queue = "queue";
    /// Starts failed too often.
    Breaker = "breaker";
    /// Starts under way in the whole mesh (`provision.fleet_concurrent_max`).
    Fleet = "fleet";
    /// Engines of the service, or behind its VPNs.
    Engines = "engines";
    /// No VPN of the service is up, or its forwarded port is in doubt.
    Vpn = "vpn";
    /// Ports of the machine or of a VPN.
    Ports = "ports";
}

impl Limit {
    /// The limit behind a refusal; `None` when it is none.
    pub const fn of(code: RefusalCode) -> Option<Self> {
        match code {
            RefusalCode::VpnDisconnected | RefusalCode::PortUnconfirmed => Some(Self::Vpn),
            RefusalCode::CircuitBreaker => Some(Self::Breaker),
            RefusalCode::MaxCapacity => Some(Self::Engines),
            RefusalCode::QueueFull => Some(Self::Queue),
            RefusalCode::NoPortFree => Some(Self::Ports),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_of_kinds_are_unique_dotted_and_read_back() {
        let names: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            let name = kind.as_str();
            assert_eq!(Kind::parse(name), Some(*kind));
            assert_eq!(name.split('.').count(), 2, "{name}");
            assert!(
                name.bytes()
                    .all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'.'))
            );
        }
        assert_eq!(Kind::parse("port_cache"), None);
    }
}
