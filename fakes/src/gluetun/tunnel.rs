//! The tunnel: how it is at a time.

use std::time::{Duration, Instant};

use super::settings::Settings;

/// The tunnel.
#[derive(Debug)]
pub(super) struct Tunnel {
    started: Instant,
    /// From when on it is there; before, it starts.
    up_from: Instant,
    is_stopped: bool,
    down_since: Option<Instant>,
}

/// What is seen of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) status: String,
    pub(super) public_ip: String,
    pub(super) ports: Vec<u16>,
}

impl Tunnel {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started: now,
            up_from: now,
            is_stopped: false,
            down_since: None,
        }
    }

    pub(super) fn restart(&mut self, now: Instant, down: Duration) {
        self.is_stopped = false;
        self.up_from = now + down;
        self.down_since = (!down.is_zero()).then_some(now);
    }

    /// By order of a client; what becomes of it, as Gluetun puts it.
    pub(super) fn order(&mut self, now: Instant, wanted: &str) -> &'static str {
        match (wanted, self.is_stopped) {
            ("stopped", true) => "already stopped",
            ("stopped", false) => {
                self.is_stopped = true;
                self.down_since = Some(now);
                "stopped"
            }
            (_, false) => "already running",
            (_, true) => {
                self.restart(now, Duration::ZERO);
                "running"
            }
        }
    }

    /// Remembers since when it is down.
    pub(super) fn note(&mut self, now: Instant, settings: &Settings) {
        self.down_since = match self.status(now, settings) {
            "running" => None,
            _ => self.down_since.or(Some(now)),
        };
    }

    fn status<'a>(&self, now: Instant, settings: &'a Settings) -> &'a str {
        match (self.is_stopped, now < self.up_from) {
            (true, _) => "stopped",
            (_, true) => "starting",
            _ => &settings.status,
        }
    }

    pub(super) fn view(&self, now: Instant, settings: &Settings) -> View {
        let status = self.status(now, settings).to_owned();
        if status != "running" {
            return View {
                status,
                public_ip: String::new(),
                ports: Vec::new(),
            };
        }
        let up_for = now.saturating_duration_since(self.up_from);
        let ports = match settings.flap_ports.len() {
            _ if up_for < settings.port_delay => Vec::new(),
            0 => settings.ports.clone(),
            _ if settings.flap_every.is_zero() => settings.ports.clone(),
            count => {
                let turn = up_for.as_millis() / settings.flap_every.as_millis().max(1);
                vec![settings.flap_ports[(turn % count as u128) as usize]]
            }
        };
        View {
            status,
            public_ip: settings.public_ip.clone(),
            ports,
        }
    }

    /// What the health server tells, or why it is not well.
    pub(super) fn health(&mut self, now: Instant, settings: &Settings) -> Result<(), &'static str> {
        if now.saturating_duration_since(self.started) < settings.first_check {
            return Err("healthcheck did not run yet");
        }
        self.note(now, settings);
        let told = self
            .down_since
            .is_some_and(|since| now.saturating_duration_since(since) >= settings.report_lag);
        match told {
            true => Err("the tunnel is down"),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_restarted_tunnel_has_an_address_before_it_has_a_port() {
        let now = Instant::now();
        let mut tunnel = Tunnel::new(now);
        let settings = Settings {
            port_delay: SECOND,
            ..Settings::default()
        };
        tunnel.restart(now, SECOND);
        let view = |after: u32| tunnel.view(now + after * SECOND, &settings);
        assert_eq!(view(0).status, "starting");
        assert!(view(1).ports.is_empty() && !view(1).public_ip.is_empty());
        assert_eq!(view(2).ports, settings.ports);
    }

    #[test]
    fn ports_take_turns() {
        let now = Instant::now();
        let tunnel = Tunnel::new(now);
        let settings = Settings {
            flap_ports: vec![1, 2],
            flap_every: SECOND,
            ..Settings::default()
        };
        let ports: Vec<u16> = (0..4u32)
            .flat_map(|turn| tunnel.view(now + turn * SECOND, &settings).ports)
            .collect();
        assert_eq!(ports, [1, 2, 1, 2]);
    }

    #[test]
    fn health_is_told_after_the_first_check_and_late() {
        let now = Instant::now();
        let mut tunnel = Tunnel::new(now);
        let mut settings = Settings {
            first_check: SECOND,
            report_lag: 3 * SECOND,
            ..Settings::default()
        };
        assert!(tunnel.health(now, &settings).is_err());
        assert!(tunnel.health(now + SECOND, &settings).is_ok());
        settings.status = "crashed".into();
        tunnel.note(now + SECOND, &settings);
        assert!(tunnel.health(now + 3 * SECOND, &settings).is_ok());
        assert!(tunnel.health(now + 4 * SECOND, &settings).is_err());
        settings.status = "running".into();
        assert!(tunnel.health(now + 4 * SECOND, &settings).is_ok());
    }
}
