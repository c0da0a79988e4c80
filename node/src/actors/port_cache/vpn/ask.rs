//! Questions to a VPN: for its port, how it is, and to start again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_core::port_cache::{Failure, Upstream};

use super::super::look::look;
use super::super::{Fetched, Looked, Parts};
use super::Vpn;
use crate::config::PortCacheSettings;

/// Between two tries to hand an answer over.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// A VPN's container has this long to end before it is ended.
const RESTART_GRACE: Duration = Duration::from_secs(10);

impl Vpn {
    /// Asks for port and health when it is time.
    pub(in super::super) fn ask_what_is_due(
        &mut self,
        now: Instant,
        limits: &PortCacheSettings,
        parts: &Parts,
    ) {
        if self.health.is_quiet(now.into_std()) {
            return;
        }
        let is_due = self
            .entry
            .next_fetch_in(now.into_std(), &self.limits(limits))
            .is_zero();
        if is_due || self.confirm_at.is_some_and(|at| at <= now) {
            self.confirm_at = None;
            self.fetch(now, limits, parts);
        }
        let look_is_due = |at: Instant| at + limits.health_interval <= now;
        if !self.looking && self.looked_at.is_none_or(look_is_due) {
            self.looking = true;
            self.looked_at = Some(now);
            let (name, looked) = (self.settings.name.clone(), parts.links.looked.clone());
            let looking = look(
                self.settings.container.clone(),
                self.server.clone().ok(),
                Arc::clone(&parts.containers),
                limits.request_timeout,
                self.watch.settled(),
            );
            tokio::task::spawn_local(async move {
                let looked_at = Looked {
                    vpn: name,
                    look: looking.await,
                };
                while looked.offer(looked_at.clone()).is_err() {
                    sleep(AGAIN_AFTER).await;
                }
            });
        }
    }

    pub(super) fn fetch(&mut self, now: Instant, limits: &PortCacheSettings, parts: &Parts) {
        if !self.settings.forwards_port {
            return;
        }
        let within = self.limits(limits);
        let begun = self
            .entry
            .begin_fetch(now.into_std(), &within, Upstream::ControlServer);
        let Some(ticket) = begun else {
            return;
        };
        let (server, timeout) = (self.server.clone(), limits.request_timeout);
        let (vpn, fetched) = (self.settings.name.clone(), parts.links.fetched.clone());
        tokio::task::spawn_local(async move {
            let (reading, why) = match server {
                Err(why) => (Err(Failure::Unreachable), Some(why)),
                Ok(server) => match server.forwarded_port(timeout).await {
                    Ok(port) => (Ok(port), None),
                    Err(error) => (Err(error.failure()), Some(error.to_string())),
                },
            };
            let answer = Fetched {
                vpn,
                ticket,
                reading,
                why,
            };
            while fetched.offer(answer.clone()).is_err() {
                sleep(AGAIN_AFTER).await;
            }
        });
    }

    pub(super) fn restart(&self, parts: &Parts) {
        let Some(container) = self.settings.container.clone() else {
            return;
        };
        tracing::warn!(
            vpn = self.settings.name,
            container,
            "restarting the VPN's container, once in this outage"
        );
        let containers = Arc::clone(&parts.containers);
        tokio::task::spawn_local(async move {
            if let Err(error) = containers.restart(&container, RESTART_GRACE).await {
                tracing::error!(container, %error, "the VPN's container is not restarted");
            }
        });
    }
}
