//! Metrics of what is fetched before it is asked for.

use super::super::Shown;
use super::Exposition;
use crate::telemetry::cache::{WarmOutcome, WarmSource};

pub(super) fn render(shown: &Shown, text: &mut Exposition) {
    let name = "weir_cache_warmed_total";
    text.family(
        name,
        "counter",
        "Fetches before anybody asked, by what for and by what became of them.",
    );
    for source in WarmSource::ALL {
        for outcome in WarmOutcome::ALL {
            let count = shown.metrics.sum(|core| core.cache.warmed(source, outcome));
            let labels = [("source", source.name()), ("outcome", outcome.name())];
            text.sample(name, &labels, count);
        }
    }
}
