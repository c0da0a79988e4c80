//! Metrics of the cache.

use std::collections::BTreeMap;

use weir_proto::node::v1 as pb;

use super::Shown;
use crate::telemetry::metrics::Exposition;

type Pick = fn(&pb::CacheStats) -> u64;

type PickOfCdn = fn(&pb::CdnStanding) -> u64;

/// Name, kind, help and place of what is told of each CDN.
const CDNS: &[(&str, &str, &str, PickOfCdn)] = &[
    (
        "weir_cache_cdn_purges_waiting",
        "gauge",
        "Purges that a CDN has not taken yet.",
        |cdn| cdn.waiting,
    ),
    (
        "weir_cache_cdn_oldest_seconds",
        "gauge",
        "How long the oldest of them has waited.",
        |cdn| cdn.oldest_s,
    ),
    (
        "weir_cache_cdn_purges_total",
        "counter",
        "Purges that a CDN has taken.",
        |cdn| cdn.told,
    ),
    (
        "weir_cache_cdn_refused_total",
        "counter",
        "Purges that a CDN will never take.",
        |cdn| cdn.refused,
    ),
    (
        "weir_cache_cdn_failures_total",
        "counter",
        "Requests to a CDN that failed.",
        |cdn| cdn.failures,
    ),
];

/// Name, kind, help and place of what is told once.
const PLAIN: &[(&str, &str, &str, Pick)] = &[
    (
        "weir_cache_stores_total",
        "counter",
        "Answers stored.",
        |s| s.stores,
    ),
    (
        "weir_cache_refreshes_total",
        "counter",
        "Fetches beside an answer.",
        |s| s.refreshes,
    ),
    (
        "weir_cache_fills_broken_total",
        "counter",
        "Bodies that broke off while they were being stored.",
        |s| s.fills_broken,
    ),
    (
        "weir_cache_fetches_unwanted",
        "gauge",
        "Fetches under way that nobody wants any more.",
        |s| s.fetches_unwanted,
    ),
    (
        "weir_cache_fetches_given_up_total",
        "counter",
        "Fetches and refreshes given up because too many went on for nobody.",
        |s| s.fetches_given_up,
    ),
    (
        "weir_cache_invalidated_total",
        "counter",
        "Keys that unsafe requests made invalid.",
        |s| s.invalidated,
    ),
    (
        "weir_cache_purges_received_total",
        "counter",
        "Purges of other nodes.",
        |s| s.purges_received,
    ),
    (
        "weir_cache_purge_floors_total",
        "counter",
        "Times that purges were missed which nobody could tell any more.",
        |s| s.purge_floors,
    ),
    (
        "weir_cache_entries",
        "gauge",
        "Keys with answers in memory.",
        |s| s.keys,
    ),
    ("weir_cache_bytes", "gauge", "Memory of answers.", |s| {
        s.bytes
    }),
    (
        "weir_cache_bytes_max",
        "gauge",
        "Memory that they may take.",
        |s| s.bytes_max,
    ),
    (
        "weir_cache_entry_bytes_max",
        "gauge",
        "The longest answer that is kept.",
        |s| s.entry_bytes_max,
    ),
    ("weir_cache_flights", "gauge", "Fetches under way.", |s| {
        s.flights
    }),
    (
        "weir_cache_fill_bytes",
        "gauge",
        "Bytes of bodies under way.",
        |s| s.fill_bytes,
    ),
    (
        "weir_cache_peers_linked",
        "gauge",
        "Nodes that hear the purges of this one.",
        |s| s.peers.iter().filter(|peer| peer.linked).count() as u64,
    ),
    (
        "weir_cache_purges_behind",
        "gauge",
        "Purges of this node that the node furthest behind has not acknowledged.",
        |s| s.peers.iter().map(|peer| peer.behind).max().unwrap_or(0),
    ),
];

pub(super) fn render(shown: &Shown, text: &mut Exposition) {
    let stats = shown.cache.stats();
    let labelled: [(&str, &str, &str, &BTreeMap<String, u64>); 4] = [
        (
            "weir_cache_requests_total",
            "Requests to routes with a cache, by what became of them.",
            "outcome",
            &stats.requests,
        ),
        (
            "weir_cache_not_stored_total",
            "Answers that were not stored, by reason.",
            "reason",
            &stats.not_stored,
        ),
        (
            "weir_cache_purges_total",
            "Purges of this node, by what they are of.",
            "scope",
            &stats.purges,
        ),
        (
            "weir_cache_peers_failed_total",
            "Fetches for which the node that owns the key was of no use, by reason.",
            "reason",
            &stats.peers_failed_by,
        ),
    ];
    for (name, help, label, values) in labelled {
        text.family(name, "counter", help);
        for (value, count) in values {
            text.sample(name, &[(label, value)], *count);
        }
    }
    for (name, kind, help, pick) in CDNS {
        text.family(name, kind, help);
        for cdn in &stats.cdns {
            text.sample(name, &[("cdn", &cdn.name)], pick(cdn));
        }
    }
    for (name, kind, help, pick) in PLAIN {
        text.family(name, kind, help);
        text.sample(name, &[], pick(&stats));
    }
    super::cache_redis::render(stats.redis.as_ref(), text);
}
