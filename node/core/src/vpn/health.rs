//! From looks to events.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::look::{ContainerLook, HealthLimits, Look, TunnelStatus, Verdict};
use crate::port_cache::Port;

/// How a VPN is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// No look has said anything yet.
    #[default]
    Unknown,
    /// Healthy as long as it is known.
    Healthy,
    /// Lost.
    Unhealthy,
    /// Healthy again, and not for long enough to act on it.
    Recovering {
        /// Good looks in a row.
        good: u32,
        /// So many make it stable.
        needed: u32,
    },
    /// Healthy for long enough after an outage.
    Stable,
}

impl State {
    /// Whether it is healthy, for however long.
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Healthy | Self::Recovering { .. } | Self::Stable)
    }

    /// Whether it is healthy, and not only just again.
    pub const fn is_steady(self) -> bool {
        matches!(self, Self::Healthy | Self::Stable)
    }

    /// The term for it in metrics and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Recovering { .. } => "recovering",
            Self::Stable => "stable",
        }
    }
}

/// What happened to a VPN, the gravest last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Nothing that could be seen: the same tunnel, as far as is known.
    #[default]
    None,
    /// Another tunnel in the same container: its port may be another one.
    InPlace,
    /// The same container started again: whatever was in its network has none any more.
    ContainerRestarted,
    /// Another container: whatever was in the network of the old one must be made anew.
    ContainerRecreated,
}

/// Something that has to be acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It became unhealthy.
    Lost,
    /// It became healthy again.
    CameBack,
    /// It has been healthy for enough looks since; once a recovery.
    Stable {
        /// What happened during the outage.
        change: Change,
    },
    /// Another tunnel in the same container, with or without an outage.
    RestartedInPlace,
    /// The same container started again.
    ContainerRestarted,
    /// Another container has its name.
    ContainerRecreated,
    /// Restart its container now; once an outage.
    ForceRestart,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::CameBack => "back",
            Self::Stable { .. } => "stable",
            Self::RestartedInPlace => "another tunnel",
            Self::ContainerRestarted => "its container started again",
            Self::ContainerRecreated => "its container is another one",
            Self::ForceRestart => "its container is to be restarted",
        })
    }
}

/// The health of one VPN.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: State,
    bad_run: u32,
    outage: Option<Outage>,
    unreachable_since: Option<Instant>,
    quiet_until: Option<Instant>,
    seen: Seen,
}

/// From when it was lost until it is stable.
#[derive(Clone, Debug)]
struct Outage {
    since: Instant,
    was_forced: bool,
    change: Change,
}

/// What earlier looks showed.
#[derive(Clone, Debug, Default)]
struct Seen {
    container: Option<(String, u64)>,
    public_ip: Option<IpAddr>,
    port: Option<Port>,
    tunnel_was_down: bool,
    restarted_at: Option<Instant>,
}

impl Health {
    /// One of which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that somebody else has looked at so far. An outage counts from now: whether a restart was forced in it is
    /// not known here. `container` is the one that was seen last, by id and start: a start of it or another one is seen
    /// here as it would have been there.
    pub fn taken_over(state: State, container: Option<(String, u64)>, now: Instant) -> Self {
        let is_out = matches!(state, State::Unhealthy | State::Recovering { .. });
        Self {
            state,
            outage: is_out.then_some(Outage {
                since: now,
                was_forced: false,
                change: Change::None,
            }),
            seen: Seen {
                container,
                ..Seen::default()
            },
            ..Self::default()
        }
    }

    /// The container that was seen to run last, by id and start.
    pub fn container(&self) -> Option<&(String, u64)> {
        self.seen.container.as_ref()
    }

    /// How it is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// How long it has been without being stable since it was lost.
    pub fn outage(&self, now: Instant) -> Option<Duration> {
        let outage = self.outage.as_ref()?;
        Some(now.saturating_duration_since(outage.since))
    }

    /// Whether it is to be left alone: no looks, and no calls.
    pub fn is_quiet(&self, now: Instant) -> bool {
        self.quiet_until.is_some_and(|until| now < until)
    }

    /// Takes a look; tells what happened, in the order in which to act on it.
    pub fn look(&mut self, now: Instant, look: &Look, limits: &HealthLimits) -> Vec<Event> {
        let mut events = Vec::new();
        if self.is_quiet(now) {
            return events;
        }
        self.unreachable_since = match look.control {
            Some(_) => None,
            None => self.unreachable_since.or(Some(now)),
        };
        let unreachable_for = self
            .unreachable_since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        match self.seen.change(now, look, limits) {
            Change::None => {}
            change => self.take_change(now, change, &mut events),
        }
        match look.verdict(unreachable_for, limits) {
            Verdict::Good => self.good(limits, &mut events),
            Verdict::Bad => self.bad(now, limits, &mut events),
            Verdict::Unclear => {}
        }
        self.force(now, limits, &mut events);
        events
    }

    fn take_change(&mut self, now: Instant, change: Change, events: &mut Vec<Event>) {
        events.push(match change {
            Change::ContainerRecreated => Event::ContainerRecreated,
            Change::ContainerRestarted => Event::ContainerRestarted,
            Change::InPlace | Change::None => Event::RestartedInPlace,
        });
        // A container that was away between two looks was lost, though no look saw it.
        if change > Change::InPlace && self.state.is_up() {
            self.lose(now, events);
        }
        if let Some(outage) = &mut self.outage {
            outage.change = outage.change.max(change);
        }
    }

    fn good(&mut self, limits: &HealthLimits, events: &mut Vec<Event>) {
        self.bad_run = 0;
        let needed = limits.rise.max(1);
        let good = match self.state {
            State::Unknown => {
                self.state = State::Healthy;
                return;
            }
            State::Healthy | State::Stable => return,
            State::Unhealthy => {
                events.push(Event::CameBack);
                1
            }
            State::Recovering { good, .. } => good + 1,
        };
        if good < needed {
            self.state = State::Recovering { good, needed };
            return;
        }
        self.state = State::Stable;
        let change = self
            .outage
            .take()
            .map_or(Change::None, |outage| outage.change);
        events.push(Event::Stable { change });
    }

    fn bad(&mut self, now: Instant, limits: &HealthLimits, events: &mut Vec<Event>) {
        self.bad_run = self.bad_run.saturating_add(1);
        if let State::Recovering { good, .. } = &mut self.state {
            *good = 0;
        }
        if self.state != State::Unhealthy && self.bad_run >= limits.fall {
            self.lose(now, events);
        }
    }

    fn lose(&mut self, now: Instant, events: &mut Vec<Event>) {
        self.state = State::Unhealthy;
        self.outage.get_or_insert(Outage {
            since: now,
            was_forced: false,
            change: Change::None,
        });
        events.push(Event::Lost);
    }

    fn force(&mut self, now: Instant, limits: &HealthLimits, events: &mut Vec<Event>) {
        let (State::Unhealthy, Some(outage), Some(after)) =
            (self.state, &mut self.outage, limits.forced_restart_after)
        else {
            return;
        };
        if !outage.was_forced && now.saturating_duration_since(outage.since) >= after {
            outage.was_forced = true;
            self.quiet_until = Some(now + limits.quiet_after_restart);
            events.push(Event::ForceRestart);
        }
    }
}

impl Seen {
    /// What happened since the look before.
    fn change(&mut self, now: Instant, look: &Look, limits: &HealthLimits) -> Change {
        let change = match self.container_change(look) {
            Change::None if self.is_another_tunnel(now, look, limits) => Change::InPlace,
            change => change,
        };
        let control = look.control.unwrap_or_default();
        if change != Change::None {
            self.restarted_at = Some(now);
            self.public_ip = None;
            self.tunnel_was_down = false;
        }
        if self.is_other_port(look) {
            // The one new port that belongs to a restart has come.
            self.restarted_at = None;
        }
        self.tunnel_was_down |= control.status.is_some_and(TunnelStatus::is_down);
        self.public_ip = control.public_ip.or(self.public_ip);
        self.port = look.port.or(self.port);
        change
    }

    fn container_change(&mut self, look: &Look) -> Change {
        let ContainerLook::Seen(container) = &look.container else {
            return Change::None;
        };
        // One that does not run is not the next one yet: it has its start before it.
        if !container.is_running {
            return Change::None;
        }
        let now = (container.id.clone(), container.started_unix_ms);
        let before = self.container.replace(now);
        match before {
            Some((id, _)) if id != container.id => Change::ContainerRecreated,
            Some((_, started)) if started != container.started_unix_ms => {
                Change::ContainerRestarted
            }
            _ => Change::None,
        }
    }

    fn is_another_tunnel(&self, now: Instant, look: &Look, limits: &HealthLimits) -> bool {
        let control = look.control.unwrap_or_default();
        let differs = |before: Option<IpAddr>, after: Option<IpAddr>| {
            before.is_some() && after.is_some() && before != after
        };
        let is_settling = self
            .restarted_at
            .is_some_and(|at| now.saturating_duration_since(at) < limits.settle_after_restart);
        differs(self.public_ip, control.public_ip)
            || (self.is_other_port(look) && !is_settling)
            || (self.tunnel_was_down && control.is_there())
    }

    fn is_other_port(&self, look: &Look) -> bool {
        self.port.is_some() && look.port.is_some() && self.port != look.port
    }
}
