//! Metrics of bounds, beside what is counted against them.

use super::Shown;
use crate::data_plane::connections_ceiling;
use crate::telemetry::metrics::Exposition;

pub(super) fn render(shown: &Shown, text: &mut Exposition) {
    let name = "weir_connections_max";
    let help =
        "Client connections that may be open, by ingress.connections_max and by file descriptors.";
    text.family(name, "gauge", help);
    let most = shown.ingress.load().connections_max;
    text.sample(name, &[], most.min(connections_ceiling()));
    render_pools(shown, text);
    shown.disk.render(text);
}

fn render_pools(shown: &Shown, text: &mut Exposition) {
    let name = "weir_backend_in_flight_max";
    let help = "Requests for which a backend can get connections, spread evenly over the cores.";
    text.family(name, "gauge", help);
    let cores = shown.metrics.cores();
    for service in &shown.routing.load().services {
        let settings = &service.settings;
        let of_core = settings.pool.in_flight_max(settings.protocol);
        let most = of_core.saturating_mul(cores);
        text.sample(name, &[("service", settings.name.as_str())], most);
    }
}
