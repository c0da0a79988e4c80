//! All that an engine knows of itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::json;
use super::sessions::Sessions;
use super::settings::{Options, Settings};

/// How often it was asked what.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) version: AtomicU64,
    pub(super) status: AtomicU64,
    pub(super) network: AtomicU64,
    pub(super) stat: AtomicU64,
    /// Calls of stop, whatever became of them.
    pub(super) stop_calls: AtomicU64,
}

pub(super) struct Engine {
    pub(super) http_port: u16,
    pub(super) counts: Counts,
    pub(super) sessions: Sessions,
    p2p_port: Option<u16>,
    p2p_bound: bool,
    started: Instant,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    settings: Mutex<Settings>,
}

impl Engine {
    pub(super) fn new(
        options: Options,
        http_port: u16,
        p2p_bound: bool,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
    ) -> Self {
        Self {
            http_port,
            counts: Counts::default(),
            sessions: Sessions::default(),
            p2p_port: options.p2p_port,
            p2p_bound,
            started: Instant::now(),
            arguments,
            environment,
            settings: Mutex::new(options.settings),
        }
    }

    pub(super) fn settings(&self) -> Settings {
        self.locked().clone()
    }

    pub(super) fn set(&self, name: &str, value: &str) -> Result<(), String> {
        self.locked().set(name, value)
    }

    fn locked(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.started.elapsed() >= Duration::from_millis(self.settings().not_ready_ms)
    }

    pub(super) fn json(&self) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let environment: Vec<_> = self
            .environment
            .iter()
            .map(|(name, value)| format!("{}:{}", json::text(name), json::text(value)))
            .collect();
        let arguments: Vec<_> = self
            .arguments
            .iter()
            .map(|argument| json::text(argument))
            .collect();
        format!(
            r#"{{"http_port":{},"p2p_port":{},"p2p_bound":{},"uptime_ms":{},"ready":{},"probes":{},"#,
            self.http_port,
            json::number(self.p2p_port),
            self.p2p_bound,
            self.started.elapsed().as_millis(),
            self.is_ready(),
            count(&self.counts.version) + count(&self.counts.status) + count(&self.counts.network),
        ) + &format!(
            r#""version_probes":{},"status_probes":{},"network_probes":{},"stat_calls":{},"stop_calls":{},"#,
            count(&self.counts.version),
            count(&self.counts.status),
            count(&self.counts.network),
            count(&self.counts.stat),
            count(&self.counts.stop_calls),
        ) + &format!(
            r#"{},"arguments":[{}],"environment":{{{}}}}}"#,
            self.sessions.json(),
            arguments.join(","),
            environment.join(","),
        )
    }
}
