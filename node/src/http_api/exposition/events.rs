//! Metrics of events.

use crate::events::{Events, Kind};
use crate::telemetry::metrics::Exposition;

pub(super) fn render(events: &Events, text: &mut Exposition) {
    let name = "weir_events_total";
    text.family(
        name,
        "counter",
        "What happened, by kind; see `weir events`.",
    );
    for (kind, count) in events.counts() {
        text.sample(name, &[("kind", kind.as_str())], count);
    }
    let lost = events
        .counts()
        .find(|(kind, _)| *kind == Kind::EngineLinesLost);
    let name = "weir_engine_log_lines_dropped_total";
    text.family(
        name,
        "counter",
        "Lines that engines wrote and that were not kept, because there were too many.",
    );
    text.sample(name, &[], lost.map_or(0, |(_, count)| count));
    let name = "weir_provision_limited_total";
    text.family(
        name,
        "counter",
        "Starts of engines that were refused or had to wait, by limit.",
    );
    for (limit, count) in events.limits() {
        text.sample(name, &[("limit", limit.as_str())], count);
    }
}
