//! Metrics of engines and of VPNs' ports.

use weir_proto::node::v1 as pb;

use super::Shown;
use crate::telemetry::metrics::Exposition;

/// States that an engine can be in while it is there.
const STATES: [&str; 7] = [
    "starting",
    "probing",
    "ready",
    "hidden",
    "unhealthy",
    "draining",
    "stopping",
];

type Pick = fn(&pb::PortCounters) -> u64;

/// Name, kind, help and place of what is counted for each VPN.
const PORT_COUNTERS: &[(&str, &str, &str, Pick)] = &[
    (
        "weir_port_cache_hits_total",
        "counter",
        "Look-ups of a VPN's port answered from what was known.",
        |c| c.hits,
    ),
    (
        "weir_port_cache_misses_total",
        "counter",
        "Look-ups of a VPN's port that had to wait for an answer.",
        |c| c.misses,
    ),
    (
        "weir_port_cache_coalesced_total",
        "counter",
        "Questions not asked because one was out already.",
        |c| c.coalesced,
    ),
    (
        "weir_port_cache_upstream_calls_total",
        "counter",
        "Questions to the VPN's control server.",
        |c| c.upstream_calls,
    ),
    (
        "weir_port_cache_calls_saved",
        // A refresh that nobody asked for takes one away.
        "gauge",
        "Look-ups less questions to the VPN's control server.",
        |c| c.calls_saved,
    ),
    (
        "weir_port_cache_stale_served_total",
        "counter",
        "Look-ups answered with the last good port while nobody answers.",
        |c| c.stale_served,
    ),
    (
        "weir_port_cache_stale_replies_dropped_total",
        "counter",
        "Answers from before an invalidation, dropped.",
        |c| c.stale_replies_dropped,
    ),
];

pub(super) fn render(shown: &Shown, text: &mut Exposition) {
    render_engines(shown, text);
    render_outdated(shown, text);
    render_provisioning(shown, text);
    render_ports(shown, text);
}

fn render_engines(shown: &Shown, text: &mut Exposition) {
    let picture = shown.engines.picture();
    let name = "weir_engines";
    text.family(name, "gauge", "Engines of this node by service and state.");
    for service in &picture.services {
        for state in STATES {
            let engines = picture.engines.iter();
            let count = engines
                .filter(|engine| engine.service == service.service && engine.state == state)
                .count();
            let labels = [("service", service.service.as_str()), ("state", state)];
            text.sample(name, &labels, count);
        }
    }
}

fn render_outdated(shown: &Shown, text: &mut Exposition) {
    let picture = shown.engines.picture();
    let name = "weir_engines_outdated";
    let help = "Engines of this node that are not what their service's configuration makes by now.";
    text.family(name, "gauge", help);
    for service in &picture.services {
        let engines = picture.engines.iter();
        let count = engines
            .filter(|engine| engine.service == service.service && engine.outdated)
            .count();
        text.sample(name, &[("service", service.service.as_str())], count);
    }
}

fn render_provisioning(shown: &Shown, text: &mut Exposition) {
    let picture = shown.engines.picture();
    let gauges = [
        (
            "weir_provision_in_flight",
            "Starts of engines under way.",
            picture.in_flight,
        ),
        (
            "weir_provision_waiting",
            "Starts of engines that wait for their turn.",
            picture.waiting,
        ),
        (
            "weir_provision_breaker_open",
            "1 while some service has no engine provisioned because starts failed too often.",
            usize::from(picture.breaker == "open"),
        ),
    ];
    for (name, help, value) in gauges {
        text.family(name, "gauge", help);
        text.sample(name, &[], value);
    }
    let name = "weir_provision_service_breaker_open";
    let help = "1 while no engine of the service is provisioned because starts failed too often.";
    text.family(name, "gauge", help);
    for service in &picture.services {
        let labels = [("service", service.service.as_str())];
        text.sample(name, &labels, usize::from(service.breaker == "open"));
    }
}

fn render_ports(shown: &Shown, text: &mut Exposition) {
    let vpns = shown.engines.vpn_counts();
    for (name, kind, help, pick) in PORT_COUNTERS {
        text.family(name, kind, help);
        for vpn in &vpns {
            text.sample(name, &[("vpn", &vpn.name)], pick(&vpn.counters));
        }
    }
    let name = "weir_vpn_up";
    text.family(name, "gauge", "1 while the VPN is up, for however long.");
    for vpn in &vpns {
        text.sample(name, &[("vpn", &vpn.name)], u8::from(vpn.is_up));
    }
}
