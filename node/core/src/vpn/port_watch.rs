//! Whether a VPN's port changed, apart from its health.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use super::look::{default_count, default_time};
use crate::port_cache::Port;
use crate::tuning::knobs::port_cache;
use crate::units::format_rough;

/// What rules the watch over a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// A healthy VPN may be without a port for this long.
    pub missing_max: Duration,
    /// More changes than this within [`Self::flap_window`] are flapping.
    pub changes_max: u32,
    /// The window of changes.
    pub flap_window: Duration,
}

impl Default for WatchLimits {
    fn default() -> Self {
        Self {
            missing_max: default_time(&port_cache::MISSING_MAX),
            changes_max: default_count(&port_cache::CHANGES_MAX),
            flap_window: default_time(&port_cache::CHANGES_WINDOW),
        }
    }
}

/// What a read of the port led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortEvent {
    /// The first port that was ever seen; nothing is in use yet that it could replace.
    Settled(Port),
    /// Another port, seen once: read again soon.
    Confirm(Port),
    /// Another port, seen twice: what uses the old one has to be replaced.
    Changed {
        /// Before.
        from: Port,
        /// Now.
        to: Port,
    },
    /// An alarm: healthy, and without a port for this long.
    HealthyWithoutPort {
        /// For how long by now.
        missing: Duration,
    },
    /// That alarm is over.
    PortIsBack,
    /// An alarm: the port changes so often that changes are not acted on until it calms down.
    Flapping {
        /// Changes within the window, up to one more than may be.
        changes: u32,
    },
    /// That alarm is over.
    Calm,
}

impl fmt::Display for PortEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled(port) => write!(f, "it is {port}"),
            Self::Confirm(port) => write!(f, "{port} was seen, read again"),
            Self::Changed { from, to } => write!(f, "changed from {from} to {to}"),
            Self::HealthyWithoutPort { missing } => {
                let missing = format_rough(*missing);
                write!(f, "healthy and without a port for {missing}")
            }
            Self::PortIsBack => f.write_str("there is one again"),
            Self::Flapping { changes } => write!(f, "changes too often, {changes} times"),
            Self::Calm => f.write_str("changes no more"),
        }
    }
}

/// Watches one VPN's port.
#[derive(Clone, Debug, Default)]
pub struct PortWatch {
    settled: Option<Port>,
    last_read: Option<Port>,
    candidate: Option<Port>,
    missing_since: Option<Instant>,
    is_missing_told: bool,
    changes: VecDeque<Instant>,
    is_flapping: bool,
}

impl PortWatch {
    /// One that starts from the port that is in use, if there is one.
    pub fn new(in_use: Option<Port>) -> Self {
        Self {
            settled: in_use,
            last_read: in_use,
            ..Self::default()
        }
    }

    /// The port that was last acted on.
    pub const fn settled(&self) -> Option<Port> {
        self.settled
    }

    /// Whether changes are not acted on for now.
    pub const fn is_flapping(&self) -> bool {
        self.is_flapping
    }

    /// While changes are not acted on: until when at least.
    pub fn calm_at(&self, limits: &WatchLimits) -> Option<Instant> {
        let oldest = self.changes.front().filter(|_| self.is_flapping)?;
        Some(*oldest + limits.flap_window)
    }

    /// Whether the VPN is healthy and has been without a port for too long.
    pub const fn is_port_missing(&self) -> bool {
        self.is_missing_told
    }

    /// Takes what the control server said; `is_up` says whether the VPN is healthy. Reads of one that is not are not
    /// used. No port (`None`) never leads to a change.
    pub fn read(
        &mut self,
        now: Instant,
        port: Option<Port>,
        is_up: bool,
        limits: &WatchLimits,
    ) -> Vec<PortEvent> {
        let mut events = Vec::new();
        match port.filter(|_| is_up) {
            Some(port) => self.there(now, port, limits, &mut events),
            None => self.missing(now, is_up, limits, &mut events),
        }
        events
    }

    fn missing(
        &mut self,
        now: Instant,
        is_up: bool,
        limits: &WatchLimits,
        events: &mut Vec<PortEvent>,
    ) {
        self.tell_flapping(now, limits, events);
        if !is_up {
            // An outage explains a missing port.
            self.end_missing(events);
            self.candidate = None;
            return;
        }
        let since = *self.missing_since.get_or_insert(now);
        let missing = now.saturating_duration_since(since);
        if missing >= limits.missing_max && !self.is_missing_told {
            self.is_missing_told = true;
            events.push(PortEvent::HealthyWithoutPort { missing });
        }
    }

    fn there(
        &mut self,
        now: Instant,
        port: Port,
        limits: &WatchLimits,
        events: &mut Vec<PortEvent>,
    ) {
        self.end_missing(events);
        if self
            .last_read
            .replace(port)
            .is_some_and(|last| last != port)
        {
            self.changes.push_back(now);
        }
        self.tell_flapping(now, limits, events);
        match self.settled {
            None => {
                self.settled = Some(port);
                events.push(PortEvent::Settled(port));
            }
            Some(settled) if settled == port => self.candidate = None,
            Some(from) if self.candidate == Some(port) => {
                if !self.is_flapping {
                    self.settled = Some(port);
                    self.candidate = None;
                    events.push(PortEvent::Changed { from, to: port });
                }
            }
            Some(_) => {
                self.candidate = Some(port);
                events.push(PortEvent::Confirm(port));
            }
        }
    }

    fn end_missing(&mut self, events: &mut Vec<PortEvent>) {
        self.missing_since = None;
        if std::mem::take(&mut self.is_missing_told) {
            events.push(PortEvent::PortIsBack);
        }
    }

    fn tell_flapping(&mut self, now: Instant, limits: &WatchLimits, events: &mut Vec<PortEvent>) {
        let most = limits.changes_max as usize;
        while self.changes.len() > most + 1
            || self
                .changes
                .front()
                .is_some_and(|at| now.saturating_duration_since(*at) >= limits.flap_window)
        {
            self.changes.pop_front();
        }
        let is_flapping = self.changes.len() > most;
        let was_flapping = std::mem::replace(&mut self.is_flapping, is_flapping);
        match (was_flapping, is_flapping) {
            (false, true) => events.push(PortEvent::Flapping {
                changes: limits.changes_max + 1,
            }),
            (true, false) => events.push(PortEvent::Calm),
            _ => {}
        }
    }
}
