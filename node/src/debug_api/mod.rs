//! What a running node tells of itself to whoever looks for what is slow: where processors' time goes, what the heap
//! has and who allocates it, what actors and runtimes do.

pub mod cpu;
pub mod heap;
pub mod heap_profile;
pub mod pprof;

use std::sync::Arc;

use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::data_plane::Cores;
use crate::mailbox::Watched;
use crate::ports::clock::WallClock;
use crate::telemetry::metrics::NodeMetrics;
use crate::wiring::Wired;

/// What is read of binaries to name calls: it goes with this.
#[derive(Debug)]
struct ReadBinaries;

impl ReadBinaries {
    /// Gives it back at once, with what this thread has freed before.
    fn give_back(self) {
        weir_heap::forget_binaries();
        std::mem::forget(self);
    }
}

impl Drop for ReadBinaries {
    fn drop(&mut self) {
        // Giving back so many pieces takes longer than the control thread has.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(weir_heap::forget_binaries)),
            Err(_) => weir_heap::forget_binaries(),
        }
    }
}

/// Everything that can be looked at. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DebugApi {
    actors: Arc<[Watched]>,
    control: Handle,
    cores: Arc<[Handle]>,
    metrics: NodeMetrics,
    profiling: Arc<Semaphore>,
    clock: WallClock,
}

/// One actor's mailbox since the start of the node.
#[derive(Debug, Serialize)]
pub struct ActorView {
    name: &'static str,
    /// Messages that wait or are being handled.
    depth: usize,
    /// Messages that may wait; more are refused.
    bound: usize,
    handled: u64,
    refused: u64,
    restarts: u64,
    /// From when a message was sent to the end of its handling, in microseconds.
    wait_p50_us: u64,
    wait_p95_us: u64,
    wait_p99_us: u64,
}

/// One runtime: the control thread's, or that of a core.
#[derive(Debug, Serialize)]
pub struct RuntimeView {
    name: String,
    /// Tasks that may move between threads. Those of connections do not, and are counted as such.
    tasks_alive: usize,
    /// Such tasks that were woken from other threads and wait to run.
    queue_depth: usize,
    /// Time that it was busy since its start.
    busy_seconds: f64,
    /// How often it went to sleep.
    parks: u64,
    /// Of a core: a task each.
    connections_open: Option<u64>,
    requests_in_flight: Option<u64>,
    tunnels_open: Option<u64>,
}

impl DebugApi {
    /// Must be made on the control thread.
    pub fn new(wired: &Wired, cores: &Cores) -> Self {
        Self {
            actors: vec![
                wired.load_balancer.configure.watched("load_balancer"),
                wired.config.offer.watched("config_agent"),
                wired
                    .provision
                    .links
                    .configure
                    .watched("provision_supervisor"),
                wired.port_cache.links.configure.watched("port_cache"),
                wired.cache_tier.links.configure.watched("cache_tier"),
                wired.cache_warmer.links.configure.watched("cache_warmer"),
                wired.cdns.links.enqueue.watched("cdn_outbox"),
                wired.broadcaster.clone(),
            ]
            .into(),
            control: Handle::current(),
            cores: cores.runtimes().into(),
            metrics: wired.core_parts.metrics.clone(),
            profiling: Arc::new(Semaphore::new(1)),
            clock: wired.core_parts.clock,
        }
    }

    /// The right to profile, which one at a time has; `None` while somebody does.
    pub fn begin_profile(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.profiling).try_acquire_owned().ok()
    }

    /// The time of profiles.
    pub fn clock(&self) -> WallClock {
        self.clock
    }

    /// Every actor.
    pub fn actors(&self) -> Vec<ActorView> {
        let view = |watched: &Watched| {
            let waits = watched.mailbox.waits();
            ActorView {
                name: watched.name,
                depth: watched.mailbox.depth(),
                bound: watched.mailbox.bound(),
                handled: waits.count(),
                refused: watched.mailbox.refused(),
                restarts: watched.restarts(),
                wait_p50_us: waits.percentile_us(0.50),
                wait_p95_us: waits.percentile_us(0.95),
                wait_p99_us: waits.percentile_us(0.99),
            }
        };
        self.actors.iter().map(view).collect()
    }

    /// Every runtime, the control thread's first.
    pub fn runtimes(&self) -> Vec<RuntimeView> {
        let view = |name: String, handle: &Handle| {
            let metrics = handle.metrics();
            RuntimeView {
                name,
                tasks_alive: metrics.num_alive_tasks(),
                queue_depth: metrics.global_queue_depth(),
                busy_seconds: metrics.worker_total_busy_duration(0).as_secs_f64(),
                parks: metrics.worker_park_count(0),
                connections_open: None,
                requests_in_flight: None,
                tunnels_open: None,
            }
        };
        let control = view("control".to_owned(), &self.control);
        let cores = self.cores.iter().enumerate().map(|(index, handle)| {
            let counts = self.metrics.core(index);
            RuntimeView {
                connections_open: Some(counts.connections_open.get()),
                requests_in_flight: Some(counts.requests_in_flight.get()),
                tunnels_open: Some(counts.tunnels_open.get()),
                ..view(format!("core-{index}"), handle)
            }
        });
        std::iter::once(control).chain(cores).collect()
    }
}
