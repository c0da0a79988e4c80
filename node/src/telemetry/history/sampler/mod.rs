//! Takes a sample for each slot.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use weir_broadcast::Count;
use weir_core::series::slot_at;

use super::History;
use super::layout::{
    ACCEPTED, BUCKETS, BYTES_IN, BYTES_OUT, CACHE, CACHE_RESULTS, CLASSES, CONNECTIONS_OPEN,
    CPU_MS, DELIVERIES, ENGINES, FDS_OPEN, IN_FLIGHT, REASONS, RSS_BYTES, SUBSCRIBERS, WAITING,
    WIDTH,
};
use crate::actors::provision_supervisor::ProvisionHandle;
use crate::broadcast::Broadcast;
use crate::data_plane::answer::Reason;
use crate::data_plane::routing::Routing;
use crate::ports::clock::WallClock;
use crate::snapshot::Snapshot;
use crate::telemetry::cache::Outcome;
use crate::telemetry::counters::LATENCY_BUCKETS_US;
use crate::telemetry::metrics::{NodeMetrics, ServiceMetrics};
use crate::telemetry::process::Process;
use crate::wiring::Wired;

/// What is counted of each service: answers by class, bytes in, bytes out, buckets of latency.
const OF_SERVICE: usize = 5 + 2 + LATENCY_BUCKETS_US.len() + 1;

/// Takes samples of what the node counts.
pub struct Sampler {
    history: History,
    routing: Snapshot<Routing>,
    metrics: NodeMetrics,
    broadcast: Broadcast,
    provision: ProvisionHandle,
    clock: WallClock,
    services: Vec<Counted>,
    /// What the node's own counters said last, at the places of deltas.
    before: [u64; WIDTH],
}

/// A service, and what its counters said last.
struct Counted {
    metrics: Arc<ServiceMetrics>,
    before: [u64; OF_SERVICE],
}

impl Sampler {
    /// A sampler of a node.
    pub fn new(wired: &Wired) -> Self {
        Self {
            history: wired.history.clone(),
            routing: wired.core_parts.routing.clone(),
            metrics: wired.core_parts.metrics.clone(),
            broadcast: wired.broadcast.clone(),
            provision: wired.provision.clone(),
            clock: wired.core_parts.clock,
            services: Vec::new(),
            before: [0; WIDTH],
        }
    }

    /// A sample when a slot is over, for as long as it is polled. What was counted in slots that were slept through is
    /// in the last of them.
    pub async fn run(mut self) {
        let mut settings = self.history.settings.subscribe();
        loop {
            let now = *settings.borrow_and_update();
            self.history.apply(now);
            let interval_ms = now.interval_ms();
            let unix_ms = self.clock.unix_ms_now();
            let next_ms = (slot_at(unix_ms, interval_ms) + 1) * interval_ms;
            tokio::select! {
                () = sleep(Duration::from_millis(next_ms - unix_ms)) => {}
                changed = settings.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            }
            let slot = slot_at(self.clock.unix_ms_now(), interval_ms).saturating_sub(1);
            let sample = self.count();
            let process = tokio::task::spawn_blocking(Process::read).await;
            let process = process.unwrap_or_default();
            let sample = self.with_process(sample, &process);
            self.history.add(slot, &sample, process);
        }
    }

    fn count(&mut self) -> [u64; WIDTH] {
        let mut now = [0; WIDTH];
        for (at, reason) in Reason::ALL.iter().enumerate() {
            now[REASONS + at] = self.metrics.reason(*reason);
        }
        for outcome in Outcome::ALL {
            if outcome != Outcome::PassedBy {
                let result = outcome.tier().unwrap_or("miss");
                let at = CACHE_RESULTS.iter().position(|known| *known == result);
                let count = self.metrics.sum(|core| core.cache.requests(outcome));
                now[CACHE + at.unwrap_or(CACHE_RESULTS.len() - 1)] += count;
            }
        }
        now[ACCEPTED] = self.metrics.sum(|core| &core.connections_accepted);
        let broadcast = self.broadcast.clone();
        let of_messages = |count| broadcast.sum(|counters| counters.get(count));
        now[DELIVERIES] = of_messages(Count::Deliveries);
        let mut sample = self.since_last(&now);
        sample[CONNECTIONS_OPEN] = self.metrics.sum(|core| &core.connections_open);
        sample[IN_FLIGHT] = self.metrics.sum(|core| &core.requests_in_flight);
        sample[ENGINES] = self.provision.picture().engines.len() as u64;
        sample[SUBSCRIBERS] = of_messages(Count::Opened).saturating_sub(of_messages(Count::Closed));
        self.count_services(&mut sample);
        sample
    }

    /// What the node's own counters count since the last sample; those of services begin at 0 with each of them.
    fn since_last(&mut self, now: &[u64; WIDTH]) -> [u64; WIDTH] {
        let mut sample = [0; WIDTH];
        for at in (REASONS..CACHE + CACHE_RESULTS.len()).chain([ACCEPTED, DELIVERIES]) {
            sample[at] = now[at].saturating_sub(self.before[at]);
            self.before[at] = now[at];
        }
        sample
    }

    fn count_services(&mut self, sample: &mut [u64; WIDTH]) {
        let routing = self.routing.load();
        let known: HashSet<_> = self
            .services
            .iter()
            .map(|counted| Arc::as_ptr(&counted.metrics))
            .collect();
        for service in &routing.services {
            sample[WAITING] += service.metrics.waiting();
            if !known.contains(&Arc::as_ptr(&service.metrics)) {
                self.services.push(Counted {
                    metrics: Arc::clone(&service.metrics),
                    before: [0; OF_SERVICE],
                });
            }
        }
        for counted in &mut self.services {
            counted.add_to(sample);
        }
        // One that left is counted a last time.
        let metrics = routing.services.iter().map(|service| &service.metrics);
        let present: HashSet<_> = metrics.map(Arc::as_ptr).collect();
        let is_present = |counted: &Counted| present.contains(&Arc::as_ptr(&counted.metrics));
        self.services.retain(is_present);
    }

    fn with_process(&mut self, mut sample: [u64; WIDTH], process: &Process) -> [u64; WIDTH] {
        sample[CPU_MS] = process.cpu_ms.saturating_sub(self.before[CPU_MS]);
        self.before[CPU_MS] = process.cpu_ms;
        sample[RSS_BYTES] = process.rss_bytes;
        sample[FDS_OPEN] = process.fds_open;
        sample
    }
}

impl Counted {
    fn add_to(&mut self, sample: &mut [u64; WIDTH]) {
        let latency = self.metrics.latency();
        let classes = (1..=5).map(|class| self.metrics.responses(class));
        let bytes = [self.metrics.request_bytes(), self.metrics.response_bytes()];
        let places = (CLASSES..CLASSES + 5)
            .chain([BYTES_IN, BYTES_OUT])
            .chain(BUCKETS..WIDTH);
        let now = classes.chain(bytes).chain(latency.buckets);
        for ((before, now), place) in self.before.iter_mut().zip(now).zip(places) {
            sample[place] += now.saturating_sub(*before);
            *before = now;
        }
    }
}

#[cfg(test)]
mod tests;
