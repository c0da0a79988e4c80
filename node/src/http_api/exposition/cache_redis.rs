//! Metrics of the cache's tier in Redis.

use weir_proto::node::v1 as pb;

use super::Shown;
use crate::telemetry::metrics::Exposition;

type Pick = fn(&pb::CacheRedis) -> u64;

/// Name, kind, help and place; told only with a Redis.
const REDIS: &[(&str, &str, &str, Pick)] = &[
    (
        "weir_cache_redis_up",
        "gauge",
        "Whether Redis answers: 0 while it is away and not asked.",
        |redis| u64::from(redis.state == "up"),
    ),
    (
        "weir_cache_redis_hits_total",
        "counter",
        "Reads of Redis that found a value.",
        |redis| redis.hits,
    ),
    (
        "weir_cache_redis_misses_total",
        "counter",
        "Reads of Redis that found none.",
        |redis| redis.misses,
    ),
    (
        "weir_cache_redis_skipped_total",
        "counter",
        "Reads that did not ask Redis, because it is away or too many were under way.",
        |redis| redis.skipped,
    ),
    (
        "weir_cache_redis_timeouts_total",
        "counter",
        "Commands that Redis did not answer in time.",
        |redis| redis.timeouts,
    ),
    (
        "weir_cache_redis_errors_total",
        "counter",
        "Commands to Redis that failed otherwise.",
        |redis| redis.errors,
    ),
    (
        "weir_cache_redis_unusable_total",
        "counter",
        "Values in Redis that were damaged, or that today's rules would not store.",
        |redis| redis.unusable,
    ),
    (
        "weir_cache_redis_writes_total",
        "counter",
        "Values written to Redis.",
        |redis| redis.writes,
    ),
    (
        "weir_cache_redis_writes_dropped_total",
        "counter",
        "Values not written: the queue or Redis was full, or Redis away.",
        |redis| redis.writes_dropped,
    ),
    (
        "weir_cache_redis_queued_bytes",
        "gauge",
        "Bytes that wait to be written to Redis.",
        |redis| redis.queued_bytes,
    ),
    (
        "weir_cache_redis_opened_total",
        "counter",
        "Times that failures piled up so that Redis was not asked for a while.",
        |redis| redis.opened,
    ),
];

pub(super) fn render(redis: Option<&pb::CacheRedis>, text: &mut Exposition) {
    for (name, kind, help, pick) in REDIS {
        text.family(name, kind, help);
        if let Some(redis) = redis {
            text.sample(name, &[], pick(redis));
        }
    }
    let name = "weir_cache_redis_ping_seconds";
    text.family(
        name,
        "gauge",
        "How long Redis took for its last answer to the question of each second.",
    );
    if let Some(redis) = redis.filter(|redis| redis.ping_us > 0) {
        text.sample(name, &[], redis.ping_us as f64 / 1e6);
    }
}

/// How much Redis has, and how much it may have.
pub(super) fn render_memory(shown: &Shown, text: &mut Exposition) {
    let store = shown.cache.tier().store();
    let tier = store.l2();
    text.family(
        "weir_cache_redis_used_bytes",
        "gauge",
        "Memory that Redis uses, whatever is in it.",
    );
    if let Some(tier) = &tier {
        text.sample("weir_cache_redis_used_bytes", &[], tier.tier().used_bytes());
    }
    text.family(
        "weir_cache_redis_bytes_max",
        "gauge",
        "Memory of Redis beyond which nothing more is written.",
    );
    if tier.is_some() {
        text.sample("weir_cache_redis_bytes_max", &[], store.shared().bytes_max);
    }
}
