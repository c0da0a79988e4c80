//! Metrics of the tier in Redis; families without samples where there is none.

use weir_cache::redis::{L2, L2State};

use super::Shown;
use crate::telemetry::metrics::Exposition;

type Pick = fn(&L2) -> u64;

/// Name, kind, help and place of what is told of it.
const TIER: &[(&str, &str, &str, Pick)] = &[
    (
        "weir_cache_redis_up",
        "gauge",
        "1 while Redis is asked; 0 while it is away or given up because too much failed.",
        |tier| u64::from(*tier.state().borrow() == L2State::Up),
    ),
    (
        "weir_cache_redis_given_up_total",
        "counter",
        "Times that Redis failed so often that it was not asked for a while.",
        |tier| tier.counters().opened.get(),
    ),
    (
        "weir_cache_redis_reads_away_total",
        "counter",
        "Look-ups that were not made because Redis was away.",
        |tier| tier.counters().away.get(),
    ),
    (
        "weir_cache_redis_used_bytes",
        "gauge",
        "Memory that Redis uses, whatever is in it.",
        L2::used_bytes,
    ),
];

pub(super) fn render(shown: &Shown, text: &mut Exposition) {
    let store = shown.cache.tier().store();
    let tier = store.l2();
    for (name, kind, help, pick) in TIER {
        text.family(name, kind, help);
        if let Some(tier) = &tier {
            text.sample(name, &[], pick(tier.tier()));
        }
    }
    let name = "weir_cache_redis_bytes_max";
    text.family(
        name,
        "gauge",
        "Memory of Redis beyond which nothing more is written.",
    );
    if tier.is_some() {
        text.sample(name, &[], store.shared().bytes_max);
    }
}
