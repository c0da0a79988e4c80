//! Which series a node keeps, where each of them is in a sample, and how they are told.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use weir_core::series::{Ring, percentile};
use weir_proto::node::v1 as pb;

use crate::data_plane::answer::Reason;
use crate::telemetry::counters::LATENCY_BUCKETS_US;

/// Answers by class: 1xx to 5xx.
pub const CLASSES: usize = 0;
/// The node's own answers, by reason.
pub const REASONS: usize = CLASSES + 5;
/// Answers of cached routes by the tier that had them, then those that no tier had.
pub const CACHE: usize = REASONS + Reason::ALL.len();
/// Client connections that were accepted.
pub const ACCEPTED: usize = CACHE + CACHE_RESULTS.len();
/// Body bytes from clients.
pub const BYTES_IN: usize = ACCEPTED + 1;
/// Body bytes to clients.
pub const BYTES_OUT: usize = BYTES_IN + 1;
/// Batches that were given to subscribers.
pub const DELIVERIES: usize = BYTES_OUT + 1;
/// Client connections.
pub const CONNECTIONS_OPEN: usize = DELIVERIES + 1;
/// Requests that run.
pub const IN_FLIGHT: usize = CONNECTIONS_OPEN + 1;
/// Requests that wait for an engine.
pub const WAITING: usize = IN_FLIGHT + 1;
/// Processors' time in milliseconds.
pub const CPU_MS: usize = WAITING + 1;
/// Resident memory.
pub const RSS_BYTES: usize = CPU_MS + 1;
/// File descriptors in use.
pub const FDS_OPEN: usize = RSS_BYTES + 1;
/// Engines of the node.
pub const ENGINES: usize = FDS_OPEN + 1;
/// Subscribers of messages.
pub const SUBSCRIBERS: usize = ENGINES + 1;
/// Requests by bucket of latency.
pub const BUCKETS: usize = SUBSCRIBERS + 1;
/// Numbers of a sample.
pub const WIDTH: usize = BUCKETS + LATENCY_BUCKETS_US.len() + 1;

/// Which tier had an answer, or none.
pub const CACHE_RESULTS: [&str; 4] = ["l1", "l2", "peer", "miss"];
/// Percentiles that are told, as labels name them.
const PERCENTILES: [(&str, f64); 3] = [("0.5", 0.5), ("0.95", 0.95), ("0.99", 0.99)];

/// What a series is called.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    name: &'static str,
    unit: &'static str,
    kind: &'static str,
    label: Option<(&'static str, String)>,
}

/// In the order of a sample.
static SERIES: LazyLock<Vec<Named>> = LazyLock::new(|| {
    let mut all = Vec::with_capacity(WIDTH);
    let mut add = |name, unit, kind, label: Option<(&'static str, String)>| {
        all.push(Named {
            name,
            unit,
            kind,
            label,
        });
    };
    for class in ["1xx", "2xx", "3xx", "4xx", "5xx"] {
        add("requests", "count", "delta", Some(("class", class.into())));
    }
    for reason in Reason::ALL {
        let label = ("reason", reason.as_str().to_owned());
        add("own_answers", "count", "delta", Some(label));
    }
    for result in CACHE_RESULTS {
        add("cache", "count", "delta", Some(("result", result.into())));
    }
    for (name, unit, kind) in [
        ("connections_accepted", "count", "delta"),
        ("bytes_in", "bytes", "delta"),
        ("bytes_out", "bytes", "delta"),
        ("broadcast_deliveries", "count", "delta"),
        ("connections_open", "count", "gauge"),
        ("requests_in_flight", "count", "gauge"),
        ("requests_waiting", "count", "gauge"),
        ("cpu", "ms", "delta"),
        ("rss", "bytes", "gauge"),
        ("fds_open", "count", "gauge"),
        ("engines", "count", "gauge"),
        ("subscribers", "count", "gauge"),
    ] {
        add(name, unit, kind, None);
    }
    let bounds = LATENCY_BUCKETS_US.iter().map(u64::to_string);
    for bound in bounds.chain(["inf".to_owned()]) {
        let label = Some(("le_us", bound));
        add("latency_bucket", "count", "delta", label);
    }
    debug_assert_eq!(all.len(), WIDTH);
    all
});

/// The percentiles that are told: 50th, 95th and 99th, of counts by bucket.
pub fn percentiles(buckets: &[u64]) -> [Option<u64>; 3] {
    PERCENTILES.map(|(_, share)| percentile(&LATENCY_BUCKETS_US, buckets, share))
}

/// These slots of a ring of samples; latencies as percentiles, or by bucket for whoever merges them.
pub fn told(ring: &Ring, interval_ms: u64, slots: Range<u64>, buckets: bool) -> pb::History {
    let rows: Vec<Option<&[u64]>> = slots.clone().map(|slot| ring.slot(slot)).collect();
    let shown = if buckets { WIDTH } else { BUCKETS };
    let mut series: Vec<pb::Series> = SERIES[..shown]
        .iter()
        .enumerate()
        .map(|(at, named)| named.told(rows.iter().map(|row| Some(row.as_ref()?[at]))))
        .collect();
    if !buckets {
        let of_rows = rows
            .iter()
            .map(|row| row.map_or([None; 3], |row| percentiles(&row[BUCKETS..])));
        let of_rows: Vec<_> = of_rows.collect();
        for (at, (quantile, _)) in PERCENTILES.into_iter().enumerate() {
            let named = Named {
                name: "latency",
                unit: "us",
                kind: "percentile",
                label: Some(("quantile", quantile.to_owned())),
            };
            series.push(named.told(of_rows.iter().map(|row| row[at])));
        }
    }
    pb::History {
        interval_ms,
        first_slot: slots.start,
        next_slot: slots.end,
        series,
    }
}

impl Named {
    fn told(&self, values: impl Iterator<Item = Option<u64>>) -> pb::Series {
        let value = |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok());
        let label = self.label.iter();
        pb::Series {
            name: self.name.to_owned(),
            unit: self.unit.to_owned(),
            labels: label
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            kind: self.kind.to_owned(),
            values: values.map(|one| value(one).unwrap_or(-1)).collect(),
        }
    }
}

/// Adds what another node told by bucket, of slots among `within`. Series that this node does not keep are left out,
/// so are slots for which the other one has nothing.
pub fn merge(ring: &mut Ring, history: &pb::History, within: Range<u64>) {
    let places = places_of(&history.series);
    let end = within.end.min(history.next_slot);
    let mut numbers = [0; WIDTH];
    for slot in within.start.max(history.first_slot)..end {
        let Ok(at) = usize::try_from(slot - history.first_slot) else {
            return;
        };
        numbers.fill(0);
        let mut is_filled = false;
        for (series, place) in history.series.iter().zip(&places) {
            let value = series.values.get(at).copied().map(u64::try_from);
            if let (Some(place), Some(Ok(value))) = (place, value) {
                numbers[*place] = value;
                is_filled = true;
            }
        }
        if is_filled {
            ring.add(slot, &numbers);
        }
    }
}

/// Where each series of another node is in a sample of this one.
fn places_of(series: &[pb::Series]) -> Vec<Option<usize>> {
    type Key<'a> = (&'a str, Option<(&'a str, &'a str)>);
    let key = |named: &'static Named| -> Key<'static> {
        let label = named.label.as_ref();
        (named.name, label.map(|(name, value)| (*name, &**value)))
    };
    let own: HashMap<Key<'_>, usize> = SERIES.iter().map(key).zip(0..).collect();
    let theirs = series.iter().map(|series| {
        let label = series.labels.first_key_value();
        let key = (
            &*series.name,
            label.map(|(name, value)| (&**name, &**value)),
        );
        own.get(&key).copied()
    });
    theirs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seed: u64) -> [u64; WIDTH] {
        std::array::from_fn(|at| seed * 1_000 + at as u64)
    }

    #[test]
    fn what_one_node_tells_by_bucket_another_one_merges_to_the_same() {
        let mut ring = Ring::new(WIDTH, 10);
        for slot in [7, 9] {
            ring.add(slot, &sample(slot));
        }
        let told = told(&ring, 1_000, 6..10, true);
        assert_eq!(told.series.len(), WIDTH);
        let mut merged = Ring::new(WIDTH, 10);
        merge(&mut merged, &told, 0..10);
        merge(&mut merged, &told, 8..10);
        assert_eq!(merged.slot(7).unwrap(), sample(7));
        assert_eq!(merged.slot(8), None);
        assert_eq!(merged.slot(9).unwrap(), sample(9).map(|one| 2 * one));
    }

    #[test]
    fn series_that_nobody_knows_are_left_out() {
        let mut ring = Ring::new(WIDTH, 4);
        ring.add(3, &sample(1));
        let mut history = told(&ring, 1_000, 3..4, true);
        history.series.reverse();
        "of tomorrow".clone_into(&mut history.series[0].name);
        let mut merged = Ring::new(WIDTH, 4);
        merge(&mut merged, &history, 0..4);
        let mut expected = sample(1);
        expected[WIDTH - 1] = 0;
        assert_eq!(merged.slot(3).unwrap(), expected);
    }

    #[test]
    fn percentiles_are_told_and_gaps_are_none() {
        let mut ring = Ring::new(WIDTH, 4);
        let mut numbers = [0; WIDTH];
        ring.add(1, &numbers);
        numbers[BUCKETS + 1] = 4;
        ring.add(3, &numbers);
        let told = told(&ring, 1_000, 1..4, false);
        let values = |name: &str| {
            let series = told.series.iter().find(|series| series.name == name);
            series.unwrap().values.clone()
        };
        assert_eq!(values("latency"), [-1, -1, 375]);
        assert_eq!(values("requests_in_flight"), [0, -1, 0]);
        let json = serde_json::to_string(&told).unwrap();
        assert!(json.contains("[null,null,375]"), "{json}");
    }
}
