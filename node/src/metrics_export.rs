//! Has an OTLP receiver told all metrics of a node.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::http_api::{self, Shown};
use crate::telemetry::otlp_metrics::{Asked, MetricsExporter};
use crate::wiring::Wired;

/// What sends metrics, and what tells it to stop.
pub(crate) type Exporting = (JoinHandle<()>, Arc<Notify>);

/// Starts to send, where there is a receiver. Must run within a `LocalSet`.
///
/// # Errors
/// When the receiver's address is no URL.
pub(crate) fn start(
    config: &Config,
    wired: &Wired,
    shown: &Shown,
) -> Result<Option<Exporting>, tonic::transport::Error> {
    let Some(url) = config.telemetry.otlp.clone() else {
        return Ok(None);
    };
    let counts = Arc::clone(wired.core_parts.tracer.counts());
    let (shown, agent) = (shown.clone(), wired.config.clone());
    let asked = Asked {
        interval: Box::new(move || agent.in_force().config.telemetry.metrics_export_interval),
        read: Box::new(move |window| http_api::metrics_points(&shown, window)),
    };
    let of = (counts, wired.core_parts.clock);
    let exporter = MetricsExporter::new(url, &config.node.name, of, asked)?;
    let stop = Arc::new(Notify::new());
    let exporting = exporter.run(Arc::clone(&stop));
    Ok(Some((tokio::task::spawn_local(exporting), stop)))
}
