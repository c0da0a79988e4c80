//! What a node tells of itself.

use super::declare::*;

knobs! {
    SAMPLE_RATIO = "telemetry.sample_ratio", Kind::Ratio,
        Literal::Ppm(10_000), ApplyClass::Hot,
        "Share of requests without a sampled parent that are traced.";
    TRACE_TAIL_PER_SECOND_MAX = "telemetry.trace_tail_per_second_max", Kind::Count(0, 1_000_000),
        Literal::Count(50), ApplyClass::Hot,
        "Failed and slow requests traced within a second on each core, though nobody sampled them; 0: none.";
    TRACE_RECENT_BYTES_MAX = "telemetry.trace_recent_bytes_max", Kind::Bytes(0, 1_073_741_824),
        Literal::Bytes(8_388_608), ApplyClass::Hot,
        "Memory of a node for traces that `weir trace` tells; 0 keeps none.";
    STATUS_CACHE_TTL = "telemetry.status_cache_ttl", Kind::Duration(millis(0), secs(60)),
        Literal::Duration(secs(2)), ApplyClass::Hot,
        "How old the status may be that is shown to who polls.";
    LOG_LINES_MAX = "telemetry.log_lines_max", Kind::Count(1, 1_000),
        Literal::Count(1000), ApplyClass::Hot,
        "Lines of one log query.";
    LOG_LEVELS = "telemetry.log_levels", Kind::Texts,
        Literal::Texts(&[]), ApplyClass::Hot,
        "Levels of log lines beside those of the start: a level for all, or MODULE=LEVEL.";
    METRICS_EXPORT_INTERVAL = "telemetry.metrics_export_interval",
        Kind::DurationOrOff(secs(1), secs(3600)),
        Literal::Duration(secs(60)), ApplyClass::Hot,
        "Between two exports of all metrics to the OTLP receiver; off sends none.";
    METRIC_SAMPLES_MAX = "telemetry.metric_samples_max", Kind::Count(10, 1_000_000),
        Literal::Count(1000), ApplyClass::Hot,
        "Samples kept of each metric.";
    METRIC_INTERVAL = "telemetry.metric_interval", Kind::Duration(millis(100), secs(3600)),
        Literal::Duration(secs(1)), ApplyClass::Hot,
        "Between two samples.";
    DEPENDENCY_TIMEOUT = "telemetry.dependency_timeout", Kind::Duration(millis(100), secs(3600)),
        Literal::Duration(secs(30)), ApplyClass::Hot,
        "How long /debug waits for a disk: for the token of who asks, and for the names in a profile.";
    PROFILE_DURATION = "telemetry.profile_duration", Kind::Duration(secs(1), secs(600)),
        Literal::Duration(secs(30)), ApplyClass::Hot,
        "Length of a CPU profile.";
    HEAP_SAMPLE_INTERVAL = "telemetry.heap_sample_interval", Kind::Bytes(0, 1_073_741_824),
        Literal::Bytes(0), ApplyClass::Hot,
        "Bytes between two allocations that a heap profile since the start knows (64KiB at least); 0: none.";
    ALERT_CONNECTIONS_PERCENT = "telemetry.alert_connections_percent", Kind::Percent(1, 100),
        Literal::Percent(80), ApplyClass::Hot,
        "Alerts when more of the connections are taken.";
    ALERT_P95 = "telemetry.alert_p95", Kind::Duration(millis(1), secs(3600)),
        Literal::Duration(secs(1)), ApplyClass::Hot,
        "Alerts when the 95th percentile of latency is above.";
    ALERT_QUEUE_MAX = "telemetry.alert_queue_max", Kind::Count(1, 10_000_000),
        Literal::Count(1000), ApplyClass::Hot,
        "Alerts when more jobs wait.";
    ALERT_POOL_PERCENT = "telemetry.alert_pool_percent", Kind::Percent(1, 100),
        Literal::Percent(80), ApplyClass::Hot,
        "Alerts when more of a pool is taken.";
    ALERT_REDIS_MEMORY_PERCENT = "telemetry.alert_redis_memory_percent", Kind::Percent(1, 100),
        Literal::Percent(90), ApplyClass::Hot,
        "Alerts when more of Redis's memory is taken.";
}
