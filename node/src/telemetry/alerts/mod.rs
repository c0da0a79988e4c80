//! Alerts of this node about itself: limits that are tuned live, looked at each second.
//!
//! What is measured comes from the node's own history and pictures; when it becomes an alert, and when one is over,
//! is decided in `weir_core::alerts`.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use weir_core::alerts::{Name, State, Watch};
use weir_core::series::Ring;
use weir_core::units::format_rough;
use weir_proto::node::v1 as pb;

use super::history::History;
use super::history::layout::{BUCKETS, CONNECTIONS_OPEN, WAITING, percentiles};
use crate::actors::cache_tier::CacheTierHandle;
use crate::actors::provision_supervisor::ProvisionHandle;
use crate::config::{AlertLimits, Ingress};
use crate::data_plane::connections_ceiling;
use crate::data_plane::routing::Routing;
use crate::events::{Events, Kind};
use crate::ports::clock::WallClock;
use crate::snapshot::Snapshot;
use crate::wiring::Wired;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Over which the 95th percentile is.
const LATENCY_WINDOW_MS: u64 = 60_000;

/// Limits in force, and how each alert is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Alerts {
    limits: Snapshot<AlertLimits>,
    shown: Snapshot<Vec<Alert>>,
}

/// One alert, and what it was looked at last.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// What is watched.
    pub name: Name,
    /// What it is now, and of what of many.
    pub measured: Measured,
    /// Above this it fires.
    pub limit: f64,
    /// How it is, and since when.
    pub watch: Watch,
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// `None` when there is nothing to measure.
    pub value: Option<f64>,
    /// What of many it is about; empty if there is one only.
    pub of: String,
}

impl Alerts {
    /// Nothing was measured yet.
    pub fn new(limits: AlertLimits) -> Self {
        let alert = |name| Alert {
            name,
            measured: Measured::default(),
            limit: limits.of(name),
            watch: Watch::default(),
        };
        Self {
            shown: Snapshot::new(Name::ALL.map(alert).into()),
            limits: Snapshot::new(limits),
        }
    }

    /// Limits that hold from the next look on.
    pub fn configure(&self, limits: AlertLimits) {
        self.limits.publish(limits);
    }

    /// The limits in force.
    pub fn limits(&self) -> AlertLimits {
        *self.limits.load()
    }

    /// All alerts, in the order of [`Name::ALL`].
    pub fn now(&self) -> std::sync::Arc<Vec<Alert>> {
        self.shown.load()
    }

    /// Looks at what was measured, and tells what began and what is over.
    fn look(&self, measure: impl Fn(Name) -> Measured, now_unix_ms: u64, events: &Events) {
        let limits = self.limits();
        let before = self.now();
        let looked = before.iter().map(|before| {
            let (name, limit) = (before.name, limits.of(before.name));
            let mut alert = Alert {
                measured: measure(name),
                limit,
                ..before.clone()
            };
            let value = alert.measured.value;
            match alert.watch.look(value, limit, name.hold(), now_unix_ms) {
                Some(State::Firing) => tell(events, &alert),
                Some(_) => {
                    let told = [("alert", name.as_str().to_owned())];
                    events.record(Kind::AlertOver, "", told);
                }
                None => {}
            }
            alert
        });
        let looked = looked.collect();
        self.shown.publish(looked);
    }
}

fn tell(events: &Events, alert: &Alert) {
    let Alert { name, limit, .. } = alert;
    let value = alert.measured.value.unwrap_or_default();
    tracing::warn!(
        alert = name.as_str(),
        of = alert.measured.of,
        value,
        limit,
        "alert"
    );
    let attributes = [
        ("alert", name.as_str().to_owned()),
        ("value", name.shown(value)),
        ("limit", name.shown(*limit)),
        ("of", alert.measured.of.clone()),
    ];
    events.record(Kind::AlertFiring, "", attributes);
}

impl Alert {
    /// As it is told.
    pub fn describe(&self) -> pb::Alert {
        pb::Alert {
            name: self.name.as_str().to_owned(),
            state: self.watch.state().as_str().to_owned(),
            value: self.measured.value,
            limit: self.limit,
            unit: self.name.unit().to_owned(),
            since_unix_ms: self.watch.since_unix_ms().unwrap_or(0),
            hold_ms: u64::try_from(self.name.hold().as_millis()).unwrap_or(u64::MAX),
            of: self.measured.of.clone(),
        }
    }

    /// What an operator should look at, in words; `None` while it does not fire.
    pub fn problem(&self, now_unix_ms: u64) -> Option<String> {
        let since = self.watch.since_unix_ms();
        let since = since.filter(|_| self.watch.state() == State::Firing)?;
        let (name, lasted_s) = (self.name, now_unix_ms.saturating_sub(since) / 1_000);
        let lasted = format_rough(Duration::from_secs(lasted_s));
        let value = name.shown(self.measured.value.unwrap_or_default());
        let of = match &*self.measured.of {
            "" => String::new(),
            of => format!(" of {of}"),
        };
        Some(format!(
            "alert {} for {lasted}: {value}{of}, limit {}",
            name.as_str(),
            name.shown(self.limit)
        ))
    }
}

/// Measures and looks.
pub struct Watcher {
    alerts: Alerts,
    history: History,
    routing: Snapshot<Routing>,
    ingress: Snapshot<Ingress>,
    provision: ProvisionHandle,
    cache: CacheTierHandle,
    events: Events,
    clock: WallClock,
    cores: usize,
}

impl Watcher {
    /// Of a node.
    pub fn new(wired: &Wired) -> Self {
        Self {
            alerts: wired.alerts.clone(),
            history: wired.history.clone(),
            routing: wired.core_parts.routing.clone(),
            ingress: wired.core_parts.ingress.clone(),
            provision: wired.provision.clone(),
            cache: wired.cache_tier.clone(),
            events: wired.events.clone(),
            clock: wired.core_parts.clock,
            cores: wired.core_parts.metrics.cores(),
        }
    }

    /// Looks each second, for as long as it is polled.
    pub async fn run(self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = self.clock.unix_ms_now();
            self.alerts
                .look(|name| self.measure(name), now, &self.events);
        }
    }

    fn measure(&self, name: Name) -> Measured {
        match name {
            Name::Connections => {
                let most = self.ingress.load().connections_max;
                let most = most.min(connections_ceiling());
                let open = self.last(CONNECTIONS_OPEN);
                only(open.map(|open| share(open, most as u64)))
            }
            Name::LatencyP95 => only(self.history.look(p95_seconds)),
            Name::Queue => self.queue(),
            Name::Pool => self.fullest_pool(),
            Name::RedisMemory => {
                let store = self.cache.store();
                let used = store.l2().map(|tier| tier.tier().used_bytes());
                let most = store.shared().bytes_max;
                only(used.map(|used| share(used, most)))
            }
        }
    }

    fn last(&self, at: usize) -> Option<u64> {
        self.history.look(|ring, _| {
            let last = ring.next_slot().checked_sub(1)?;
            ring.slot(last).map(|sample| sample[at])
        })
    }

    fn queue(&self) -> Measured {
        let requests = self.last(WAITING).unwrap_or(0);
        let starts = self.provision.picture().waiting as u64;
        let (value, of) = match starts > requests {
            true => (starts, "starts of engines"),
            false => (requests, "requests for a first engine"),
        };
        Measured {
            value: Some(as_f64(value)),
            of: of.to_owned(),
        }
    }

    fn fullest_pool(&self) -> Measured {
        let routing = self.routing.load();
        let mut fullest: Option<(f64, String)> = None;
        for service in &routing.services {
            let settings = &service.settings;
            let of_core = settings.pool.in_flight_max(settings.protocol);
            let most = of_core.saturating_mul(self.cores) as u64;
            for view in &service.backends {
                let taken = share(view.backend.load.in_flight(), most);
                if fullest.as_ref().is_none_or(|(most, _)| taken > *most) {
                    let of = format!("{} of {}", view.backend.id, settings.name.as_str());
                    fullest = Some((taken, of));
                }
            }
        }
        let (value, of) = fullest.unzip();
        Measured {
            value,
            of: of.unwrap_or_default(),
        }
    }
}

fn only(value: Option<f64>) -> Measured {
    Measured {
        value,
        of: String::new(),
    }
}

/// Of the newest slots that make a window, in seconds; `None` without requests.
fn p95_seconds(ring: &Ring, interval_ms: u64) -> Option<f64> {
    let slots = (LATENCY_WINDOW_MS / interval_ms.max(1)).max(1);
    let end = ring.next_slot();
    let (sums, _) = ring.sum(end.saturating_sub(slots)..end);
    let [_, p95_us, _] = percentiles(&sums[BUCKETS..]);
    p95_us.map(|us| as_f64(us) / 1e6)
}

#[expect(clippy::cast_precision_loss, reason = "compared with a limit")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Nothing is a share of nothing.
fn share(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => as_f64(part) / as_f64(whole),
    }
}

#[cfg(test)]
mod tests;
