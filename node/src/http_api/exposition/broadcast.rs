//! Metrics of messages to many.

use weir_broadcast::Count;
use weir_core::broadcast::CutReason;

use crate::broadcast::Broadcast;
use crate::telemetry::metrics::Exposition;

/// What is counted on each thread, under which name, and what it says.
const COUNTS: [(Count, &str, &str); 12] = [
    (
        Count::Opened,
        "weir_broadcast_connections_total",
        "Subscribers that came.",
    ),
    (
        Count::Batches,
        "weir_broadcast_batches_total",
        "Batches that were made, each once for a thread.",
    ),
    (
        Count::Deliveries,
        "weir_broadcast_deliveries_total",
        "Batches that were given to a subscriber.",
    ),
    (
        Count::DeliveredMessages,
        "weir_broadcast_delivered_messages_total",
        "Messages that were given to a subscriber.",
    ),
    (
        Count::Pages,
        "weir_broadcast_history_reads_total",
        "Reads of history for who was behind.",
    ),
    (
        Count::FellBehind,
        "weir_broadcast_fell_behind_total",
        "Times that a subscriber missed something of a topic and read it from history.",
    ),
    (
        Count::Gaps,
        "weir_broadcast_gaps_total",
        "Gaps that subscribers were told of.",
    ),
    (
        Count::Recovered,
        "weir_broadcast_recovered_total",
        "Subscribers that came back and got everything.",
    ),
    (
        Count::Restarted,
        "weir_broadcast_restarted_total",
        "Subscribers whose position meant nothing any more.",
    ),
    (
        Count::DroppedEphemeral,
        "weir_broadcast_ephemeral_dropped_total",
        "Ephemeral messages that a subscriber did not get.",
    ),
    (
        Count::Missed,
        "weir_broadcast_inbox_full_total",
        "Messages that did not fit into the inbox of a thread.",
    ),
    (
        Count::Conflated,
        "weir_broadcast_conflated_total",
        "Messages that newer ones replaced before they went out.",
    ),
];
/// Why outboxes were emptied.
const SHEDS: [(Count, &str); 3] = [
    (Count::ShedFull, "full"),
    (Count::ShedOld, "old"),
    (Count::ShedMemory, "memory"),
];

pub(super) fn render(broadcast: &Broadcast, text: &mut Exposition) {
    let topics = broadcast.topics();
    let sum = |count| broadcast.sum(|counters| counters.get(count));
    let mut one = |name: &str, kind: &str, help: &str, value: u64| {
        text.family(name, kind, help);
        text.sample(name, &[], value);
    };
    one(
        "weir_broadcast_topics",
        "gauge",
        "Topics that the node knows.",
        topics.len() as u64,
    );
    let open = sum(Count::Opened).saturating_sub(sum(Count::Closed));
    one(
        "weir_broadcast_connections_open",
        "gauge",
        "Subscribers now.",
        open,
    );
    let bytes = topics.account().bytes();
    one(
        "weir_broadcast_retained_bytes",
        "gauge",
        "Memory of messages that are kept or wait.",
        bytes,
    );
    let published = topics.published();
    one(
        "weir_broadcast_published_total",
        "counter",
        "Messages that were published here or came from other nodes.",
        published,
    );
    for (count, name, help) in COUNTS {
        one(name, "counter", help, sum(count));
    }
    let name = "weir_broadcast_sheds_total";
    text.family(
        name,
        "counter",
        "Outboxes that were emptied, by why; they are filled from history.",
    );
    for (count, why) in SHEDS {
        text.sample(name, &[("why", why)], sum(count));
    }
    let name = "weir_broadcast_connections_cut_total";
    text.family(
        name,
        "counter",
        "Subscribers that the node ended, by reason.",
    );
    for reason in CutReason::ALL {
        let cut = broadcast.sum(|counters| counters.cut(reason));
        text.sample(name, &[("reason", reason.as_str())], cut);
    }
}
