//! Metrics of messages between nodes.

use crate::broadcast::mesh::Mesh;
use crate::telemetry::metrics::Exposition;

pub(super) fn render(mesh: &Mesh, text: &mut Exposition) {
    let canary = mesh.canary();
    let counts = [
        (
            "weir_broadcast_nodes",
            "gauge",
            "Nodes that number messages, this one included.",
            mesh.view().live.len() as u64,
        ),
        (
            "weir_broadcast_canaries_received_total",
            "counter",
            "Messages that the node before this one sends to be seen, every second.",
            canary.received,
        ),
        (
            "weir_broadcast_canaries_lost_total",
            "counter",
            "Those of them that did not come.",
            canary.lost,
        ),
        (
            "weir_broadcast_canary_silent",
            "gauge",
            "1 when none has come for 5 s.",
            u64::from(canary.is_silent),
        ),
    ];
    for (name, kind, help, value) in counts {
        text.family(name, kind, help);
        text.sample(name, &[], value);
    }
    let name = "weir_broadcast_canary_seconds";
    text.family(
        name,
        "gauge",
        "How long the last one took, by the clocks of both nodes.",
    );
    text.sample(name, &[], canary.latency.as_secs_f64());
}
