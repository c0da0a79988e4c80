//! `/metrics`: every metric name of the node.

mod alerts;
mod broadcast;
mod cache;
mod cache_redis;
mod compression;
mod engines;
mod events;
mod limits;
mod logs;
mod mesh;
mod process;
mod warming;

use std::sync::atomic::Ordering;

use opentelemetry_proto::tonic::metrics::v1::Metric;

use super::Shown;
use crate::data_plane::answer::Reason;
use crate::describe;
use crate::telemetry::counters::Counter;
use crate::telemetry::metrics::{CoreMetrics, Exposition, TextFormat};
use crate::telemetry::points::Window;

type Pick = fn(&CoreMetrics) -> &Counter;

/// Name, kind, help and place of what a node counts once.
const NODE_METRICS: &[(&str, &str, &str, Pick)] = &[
    (
        "weir_connections_open",
        "gauge",
        "Client connections open now.",
        |m| &m.connections_open,
    ),
    (
        "weir_connections_accepted_total",
        "counter",
        "Client connections accepted.",
        |m| &m.connections_accepted,
    ),
    (
        "weir_accept_pauses_total",
        "counter",
        "Times that accepting paused at the connection limit.",
        |m| &m.accept_paused,
    ),
    (
        "weir_heads_refused_total",
        "counter",
        "Connections closed for a request head that broke HTTP/1.1 framing.",
        |m| &m.heads_refused,
    ),
    (
        "weir_head_timeouts_total",
        "counter",
        "Connections closed because a request head took too long.",
        |m| &m.head_timeouts,
    ),
    (
        "weir_write_timeouts_total",
        "counter",
        "Connections closed because their client took nothing.",
        |m| &m.write_timeouts,
    ),
    (
        "weir_requests_in_flight",
        "gauge",
        "Requests running now.",
        |m| &m.requests_in_flight,
    ),
    (
        "weir_requests_abandoned_total",
        "counter",
        "Requests ended because their client left.",
        |m| &m.requests_abandoned,
    ),
    (
        "weir_requests_cut_total",
        "counter",
        "Requests that a stopping node cut.",
        |m| &m.requests_cut,
    ),
    (
        "weir_backend_connects_total",
        "counter",
        "Backend connections opened.",
        |m| &m.backend_connects,
    ),
    (
        "weir_backend_connect_failures_total",
        "counter",
        "Backend connections that could not be opened.",
        |m| &m.backend_connect_failures,
    ),
    (
        "weir_backend_reuses_total",
        "counter",
        "Requests sent over a connection that was open already.",
        |m| &m.backend_reuses,
    ),
    (
        "weir_replays_total",
        "counter",
        "Requests sent again because no byte of them had been sent.",
        |m| &m.replays,
    ),
    (
        "weir_slow_request_lines_left_out_total",
        "counter",
        "Log lines about slow requests that were left out because there were too many.",
        |m| &m.slow_lines_left_out,
    ),
    (
        "weir_sendfile_bytes_total",
        "counter",
        "Bytes of files that were sent without being read.",
        |m| &m.sendfile_bytes,
    ),
    (
        "weir_tunnels_open",
        "gauge",
        "Upgraded connections open now.",
        |m| &m.tunnels_open,
    ),
];

/// As a text.
pub(super) fn render(shown: &Shown, format: TextFormat) -> String {
    let mut text = Exposition::new(format);
    tell(shown, &mut text);
    text.into_text()
}

/// As OTLP has them.
pub(super) fn points(shown: &Shown, window: Window) -> Vec<Metric> {
    let mut points = Exposition::points(window);
    tell(shown, &mut points);
    points.into_metrics()
}

/// The one list.
fn tell(shown: &Shown, text: &mut Exposition) {
    for (name, kind, help, pick) in NODE_METRICS {
        text.family(name, kind, help);
        text.sample(name, &[], shown.metrics.sum(pick));
    }
    text.family("weir_cores", "gauge", "Cores that carry traffic.");
    text.sample("weir_cores", &[], shown.metrics.cores());
    render_reasons(shown, text);
    render_services(shown, text);
    render_backends(shown, text);
    render_spans(shown, text);
    render_access_log(shown, text);
    render_config(shown, text);
    render_control_plane(shown, text);
    compression::render(shown, text);
    engines::render(shown, text);
    cache::render(shown, text);
    warming::render(shown, text);
    broadcast::render(&shown.broadcast, text);
    mesh::render(shown.broadcast.mesh(), text);
    events::render(&shown.events, text);
    process::render(text);
    logs::render(shown.logs.counts(), text);
    limits::render(shown, text);
    cache_redis::render_memory(shown, text);
    alerts::render(shown, text);
}

fn render_reasons(shown: &Shown, text: &mut Exposition) {
    let name = "weir_own_answers_total";
    text.family(
        name,
        "counter",
        "Answers that the node made or cut itself, by reason.",
    );
    for reason in Reason::ALL {
        text.sample(
            name,
            &[("reason", reason.as_str())],
            shown.metrics.reason(*reason),
        );
    }
}

fn render_services(shown: &Shown, text: &mut Exposition) {
    let routing = shown.routing.load();
    text.family(
        "weir_responses_total",
        "counter",
        "Answers by service and status class.",
    );
    for service in &routing.services {
        for (class, label) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().enumerate() {
            let labels = [
                ("service", service.settings.name.as_str()),
                ("class", label),
            ];
            text.sample(
                "weir_responses_total",
                &labels,
                service.metrics.responses(class + 1),
            );
        }
    }
    let name = "weir_requests_waiting";
    text.family(name, "gauge", "Requests that wait for the first engine.");
    for service in &routing.services {
        if service.settings.engines.is_some() {
            let labels = [("service", service.settings.name.as_str())];
            text.sample(name, &labels, service.metrics.waiting());
        }
    }
    let name = "weir_request_duration_seconds";
    text.family(
        name,
        "histogram",
        "From a request's head to the end of its answer.",
    );
    for service in &routing.services {
        let labels = [("service", service.settings.name.as_str())];
        let metrics = &service.metrics;
        text.histogram(name, &labels, &metrics.latency(), &metrics.exemplars());
    }
    let bytes = [
        (
            "weir_response_body_bytes_total",
            "Body bytes from backends to clients.",
        ),
        (
            "weir_request_body_bytes_total",
            "Body bytes from clients to backends.",
        ),
    ];
    for (at, (name, help)) in bytes.into_iter().enumerate() {
        text.family(name, "counter", help);
        for service in &routing.services {
            let labels = [("service", service.settings.name.as_str())];
            let value = match at {
                0 => service.metrics.response_bytes(),
                _ => service.metrics.request_bytes(),
            };
            text.sample(name, &labels, value);
        }
    }
}

fn render_backends(shown: &Shown, text: &mut Exposition) {
    let routing = shown.routing.load();
    let services: Vec<_> = routing
        .services
        .iter()
        .map(|s| describe::service(s))
        .collect();
    let families: [(&str, &str, &str); 4] = [
        (
            "weir_backend_requests_total",
            "counter",
            "Requests given to a backend.",
        ),
        (
            "weir_backend_failures_total",
            "counter",
            "Requests that a backend failed.",
        ),
        (
            "weir_backend_in_flight",
            "gauge",
            "Requests running on a backend.",
        ),
        (
            "weir_backend_takes_work",
            "gauge",
            "1 while a backend gets new work.",
        ),
    ];
    for (at, (name, kind, help)) in families.into_iter().enumerate() {
        text.family(name, kind, help);
        for (service, shown) in services.iter().zip(&routing.services) {
            for (backend, view) in service.backends.iter().zip(&shown.backends) {
                let labels = [("service", &*service.name), ("backend", &*backend.id)];
                let value = match at {
                    0 => backend.requests,
                    1 => backend.failures,
                    2 => backend.in_flight,
                    _ => u64::from(view.standing.takes_work() && view.weight > 0),
                };
                text.sample(name, &labels, value);
            }
        }
    }
}

fn render_spans(shown: &Shown, text: &mut Exposition) {
    if let Some(recent) = shown.tracer.recent() {
        let name = "weir_trace_recent_bytes";
        text.family(name, "gauge", "Memory of traces that are kept on the node.");
        text.sample(name, &[], recent.bytes());
    }
    let counts = shown.tracer.counts();
    for (name, help, count) in [
        (
            "weir_spans_made_total",
            "Spans of sampled requests and of jobs.",
            &counts.made,
        ),
        (
            "weir_spans_sent_total",
            "Spans that the OTLP receiver took.",
            &counts.sent,
        ),
        (
            "weir_spans_dropped_total",
            "Spans lost on the way to the receiver.",
            &counts.dropped,
        ),
        (
            "weir_metric_points_sent_total",
            "Points of metrics that the OTLP receiver took.",
            &counts.points_sent,
        ),
        (
            "weir_metric_points_dropped_total",
            "Points of metrics that the OTLP receiver did not take; the next ones tell what they told.",
            &counts.points_dropped,
        ),
        (
            "weir_traces_not_held_total",
            "Requests that were not traced because too many were held.",
            &counts.requests_not_held,
        ),
        (
            "weir_traces_not_kept_total",
            "Traces and exemplars that the node did not keep: too large, or somebody was reading.",
            &counts.not_kept,
        ),
        (
            "weir_traces_over_budget_total",
            "Requests that failed, were slow or were to be sampled by a caller's word, of which there were too many.",
            &counts.requests_over_budget,
        ),
    ] {
        text.family(name, "counter", help);
        text.sample(name, &[], count.load(Ordering::Relaxed));
    }
}

fn render_access_log(shown: &Shown, text: &mut Exposition) {
    let counts = &shown.access_log;
    for (name, help, count) in [
        (
            "weir_access_log_lines_total",
            "Lines of the access log that were written.",
            &counts.written,
        ),
        (
            "weir_access_log_dropped_total",
            "Lines of the access log that were lost: too many waited, or they could not be written.",
            &counts.dropped,
        ),
    ] {
        text.family(name, "counter", help);
        text.sample(name, &[], count.load(Ordering::Relaxed));
    }
}

fn render_config(shown: &Shown, text: &mut Exposition) {
    let cached = shown.status.now();
    let revision = "weir_config_revision";
    text.family(
        revision,
        "gauge",
        "Configurations that came into force since the start.",
    );
    text.sample(revision, &[], cached.status.config_revision);
    let refusals = "weir_config_refusals_total";
    text.family(
        refusals,
        "counter",
        "Configurations refused since the start.",
    );
    text.sample(refusals, &[], cached.status.config_refusals);
}

fn render_control_plane(shown: &Shown, text: &mut Exposition) {
    let cached = shown.status.now();
    let Some(link) = &cached.status.control_plane else {
        return;
    };
    let gauges: [(&str, &str, u64); 4] = [
        (
            "weir_control_plane_connected",
            "1 while the stream to the control plane is open.",
            u64::from(link.state == "connected"),
        ),
        (
            "weir_control_plane_silent_seconds",
            "Since the control plane was last heard.",
            link.silent_s,
        ),
        (
            "weir_profile_problems",
            "Why the profile offered last was refused; 0 if it was not.",
            link.profile_problems.len() as u64,
        ),
        (
            "weir_profile_unsupported_knobs",
            "Knobs of the profile that no part of this node reads.",
            link.unsupported.len() as u64,
        ),
    ];
    for (name, help, value) in gauges {
        text.family(name, "gauge", help);
        text.sample(name, &[], value);
    }
}
