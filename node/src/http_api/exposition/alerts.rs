//! Alerts of the node about itself.

use weir_core::alerts::State;

use super::Shown;
use crate::telemetry::metrics::Exposition;

pub(super) fn render(shown: &Shown, text: &mut Exposition) {
    let name = "weir_alert_firing";
    let help = "1 while the node is above a limit of telemetry.alert_* for long enough.";
    text.family(name, "gauge", help);
    for alert in shown.alerts.now().iter() {
        let is_firing = alert.watch.state() == State::Firing;
        let labels = [("alert", alert.name.as_str())];
        text.sample(name, &labels, u64::from(is_firing));
    }
}
