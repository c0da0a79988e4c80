//! One VPN: what is asked, what is told, what follows.

mod ask;
mod view;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tokio::time::Instant;
use weir_core::port_cache::{
    Answer, Came, Entry, Failure, Limits, Outcome, Port, Reading, Reason, Ticket,
};
use weir_core::vpn::{
    CONFIRM_AFTER, Event, Health, HealthLimits, Look, Network, PortEvent, PortWatch, State,
    WatchLimits,
};
use weir_engines::gluetun::ControlServer;

use super::followed::{Followed, Told, told_by};
use super::{Confirmed, Counts, Found, Parts, WAITING_MAX};
use crate::actors::provision_supervisor::{VpnEvent, VpnHappened};
use crate::config::{PortCacheSettings, VpnAuth, VpnSettings};
use crate::peers::Heard;

/// One VPN.
pub(super) struct Vpn {
    pub(super) settings: VpnSettings,
    server: Result<Arc<dyn ControlServer>, String>,
    entry: Entry,
    /// Of the entry; no other entry of any node has it.
    incarnation: u64,
    health: Health,
    watch: PortWatch,
    owner: String,
    ours: bool,
    followed: Followed,
    looking: bool,
    looked_at: Option<Instant>,
    confirm_at: Option<Instant>,
    waiting: Vec<oneshot::Sender<Found>>,
    public_ip: Option<String>,
    why: Option<String>,
    networks: u64,
    tunnels: u64,
    counts: Arc<Counts>,
}

impl Vpn {
    pub(super) fn new(settings: VpnSettings, parts: &Parts) -> Self {
        let server = (parts.connect)(&settings);
        if let Err(why) = &server {
            tracing::error!(
                vpn = settings.name,
                why,
                "the control server cannot be asked"
            );
        }
        Self {
            settings,
            server,
            entry: Entry::new(),
            incarnation: parts.incarnations.fetch_add(1, Ordering::Relaxed),
            health: Health::new(),
            watch: PortWatch::new(None),
            owner: String::new(),
            ours: false,
            followed: Followed::default(),
            looking: false,
            looked_at: None,
            confirm_at: None,
            waiting: Vec::new(),
            public_ip: None,
            why: None,
            networks: 0,
            tunnels: 0,
            counts: Arc::default(),
        }
    }

    /// Takes other settings; false when it is another VPN with them, of which nothing is known.
    pub(super) fn reconfigure(&mut self, settings: VpnSettings, parts: &Parts) -> bool {
        let is_same = |one: &VpnSettings, other: &VpnSettings| {
            (
                &one.control_url,
                &one.auth,
                &one.container,
                one.forwards_port,
            ) == (
                &other.control_url,
                &other.auth,
                &other.container,
                other.forwards_port,
            )
        };
        let is_known = is_same(&self.settings, &settings);
        if is_known {
            // Secrets are read with each configuration.
            if settings.auth != VpnAuth::None {
                self.server = (parts.connect)(&settings);
            }
            self.settings = settings;
        }
        is_known
    }

    /// This node asks for all nodes.
    pub(super) const fn is_ours(&self) -> bool {
        self.ours
    }

    /// `owner` asks from now on.
    pub(super) fn owned_by(&mut self, now: Instant, owner: String, here: &str) {
        if self.owner == owner {
            return;
        }
        let ours = owner == here;
        // What is known goes on, whoever asks: engines are not replaced because a node came or went.
        match (self.ours, ours) {
            (false, true) => {
                let container = self.followed.container().cloned();
                let health = self.followed.health();
                self.health = Health::taken_over(health, container, now.into_std());
                self.watch = PortWatch::new(self.followed.settled());
                self.looked_at = None;
            }
            (true, false) => {
                let (health, settled) = (self.health.state(), self.watch.settled());
                let container = self.health.container().cloned();
                self.followed = Followed::after(health, settled, container);
            }
            _ => {}
        }
        tracing::info!(
            vpn = self.settings.name,
            owner,
            "the node that asks the VPN"
        );
        (self.owner, self.ours) = (owner, ours);
    }

    /// Takes an answer of the control server.
    pub(super) fn fetched(
        &mut self,
        now: Instant,
        (ticket, reading): (Ticket, Reading),
        why: Option<String>,
        limits: &PortCacheSettings,
    ) {
        let outcome = self.entry.end_fetch(ticket, now.into_std(), reading);
        if outcome == Outcome::DroppedStale {
            return;
        }
        if self.why != why {
            if let Some(why) = &why {
                tracing::warn!(
                    vpn = self.settings.name,
                    why,
                    "the VPN's port cannot be told"
                );
            }
            self.why = why;
        }
        let Ok(port) = reading else {
            return;
        };
        // A VPN that nobody has looked at yet is not down.
        let is_up = self.health.state().is_up() || self.health.state() == State::Unknown;
        let limits = watch_limits(limits);
        for event in self.watch.read(now.into_std(), port, is_up, &limits) {
            tracing::info!(vpn = self.settings.name, %event, "port of the VPN");
            if matches!(event, PortEvent::Confirm(_)) {
                self.confirm_at = Some(now + CONFIRM_AFTER);
            }
        }
    }

    /// Takes a look at the VPN.
    pub(super) fn looked(
        &mut self,
        now: Instant,
        look: Look,
        limits: &PortCacheSettings,
        parts: &Parts,
        events: &mut Vec<VpnHappened>,
    ) {
        self.looking = false;
        if !self.ours {
            return;
        }
        if let Some(control) = &look.control {
            self.public_ip = control.public_ip.map(|ip| ip.to_string());
        }
        let limits = HealthLimits {
            rise: limits.health_rise,
            fall: limits.health_fall,
            needs_public_ip: self.settings.needs_public_ip,
            unreachable_max: limits.stale_max,
            forced_restart_after: self.settings.restart_after,
            quiet_after_restart: limits.restart_quiet,
            settle_after_restart: limits.restart_settle,
        };
        for event in self.health.look(now.into_std(), &look, &limits) {
            tracing::info!(vpn = self.settings.name, %event, "VPN");
            match event {
                Event::Lost => self.invalidate(now, Reason::Lost),
                Event::CameBack => self.invalidate(now, Reason::CameBack),
                Event::Stable { .. } => events.push(self.happened(VpnEvent::Stable)),
                Event::RestartedInPlace => {
                    self.tunnels += 1;
                    self.invalidate(now, Reason::RestartedInPlace);
                }
                Event::ContainerRestarted | Event::ContainerRecreated => {
                    self.networks += 1;
                    self.invalidate(now, Reason::ContainerReplaced);
                }
                Event::ForceRestart => self.restart(parts),
            }
        }
    }

    /// What is known of the port is void. Asked again at the next tick.
    pub(super) fn invalidate(&mut self, now: Instant, reason: Reason) {
        tracing::debug!(
            vpn = self.settings.name,
            reason = reason.name(),
            "port invalidated"
        );
        self.entry.invalidate(reason, now.into_std());
    }

    /// Somebody needs the port.
    pub(super) fn look_up(
        &mut self,
        now: Instant,
        answer: oneshot::Sender<Found>,
        limits: &PortCacheSettings,
        parts: &Parts,
    ) {
        if !self.settings.forwards_port {
            let _ = answer.send(Found::known(Answer::Refused(Failure::Unsupported)));
            return;
        }
        let within = self.limits(limits);
        let found = self.entry.look_up(now.into_std(), &within).answer;
        if found != Answer::Unknown {
            // Whoever asked may have given up.
            let _ = answer.send(Found::known(found));
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            let _ = answer.send(Found::waited_for(Answer::Refused(Failure::Unreachable)));
            return;
        }
        self.waiting.push(answer);
        if self.ours {
            self.fetch(now, limits, parts);
        }
    }

    /// Answers those who wait, if there is an answer by now.
    pub(super) fn answer_waiting(&mut self, now: Instant, limits: &PortCacheSettings) {
        self.waiting.retain(|waiting| !waiting.is_closed());
        let answer = self.entry.answer(now.into_std(), &self.limits(limits));
        if answer == Answer::Unknown {
            return;
        }
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(Found::waited_for(answer));
        }
    }

    /// Takes over what the node that asks has told.
    pub(super) fn learn(
        &mut self,
        now: Instant,
        heard: &Heard,
        limits: &PortCacheSettings,
        events: &mut Vec<VpnHappened>,
    ) {
        let Some(told) = Told::of(heard, &self.owner, &self.settings.name) else {
            return;
        };
        let Some(news) = self.followed.take(told, now) else {
            return;
        };
        self.entry.learn(
            now.into_std(),
            &news.told.origin,
            &news.told.picture,
            Came::Pushed,
        );
        self.public_ip.clone_from(&news.told.public_ip);
        events.extend(news.events.into_iter().map(|event| self.happened(event)));
        self.answer_waiting(now, limits);
    }

    /// The node that asks was told of an invalidation here: what it says from then on is believed.
    pub(super) fn confirmed(&mut self, now: Instant, confirmed: &Confirmed) {
        if confirmed.node != self.owner {
            return;
        }
        let at = confirmed.at.into_std();
        if let Some((origin, picture)) = told_by(&confirmed.node, &confirmed.port) {
            self.entry
                .learn(now.into_std(), &origin, &picture, Came::Invalidated { at });
        }
    }

    fn happened(&self, what: VpnEvent) -> VpnHappened {
        VpnHappened {
            vpn: self.settings.name.clone(),
            what,
        }
    }

    fn health(&self) -> State {
        match self.ours {
            true => self.health.state(),
            false => self.followed.health(),
        }
    }

    /// The network of its container, as it was seen last.
    fn network(&self) -> Option<Network> {
        let container = self.settings.container.clone()?;
        let seen = match self.ours {
            true => self.health.container(),
            false => self.followed.container(),
        };
        let (id, started_unix_ms) = seen.cloned()?;
        Some(Network {
            container,
            id,
            started_unix_ms,
        })
    }

    fn settled(&self) -> Option<Port> {
        match self.ours {
            true => self.watch.settled(),
            false => self.followed.settled(),
        }
    }

    /// The limits as core takes them.
    fn limits(&self, limits: &PortCacheSettings) -> Limits {
        Limits {
            ttl: limits.ttl,
            refresh_lead: limits.refresh_lead,
            // What tells of each change itself is asked for no other reason than that answers end.
            watch_interval: match self.settings.tells_port {
                true => limits.ttl,
                false => limits.watch_interval,
            },
            stale_max: limits.stale_max,
            negative_ttl: limits.negative_ttl,
            request_timeout: limits.request_timeout,
        }
    }
}

/// What rules the watch over a port, as core takes it.
fn watch_limits(limits: &PortCacheSettings) -> WatchLimits {
    WatchLimits {
        missing_max: limits.missing_max,
        changes_max: limits.changes_max,
        flap_window: limits.changes_window,
    }
}
