//! What compression did.

use weir_core::content_coding::Coding;

use super::super::Shown;
use crate::telemetry::compression::Compressed;
use crate::telemetry::metrics::Exposition;

pub(super) fn render(shown: &Shown, text: &mut Exposition) {
    let name = "weir_compressions_total";
    let help = "Answers (stream) and forms of what is kept (stored) that were compressed.";
    text.family(name, "counter", help);
    for coding in Coding::MADE {
        for what in Compressed::ALL {
            let labels = [("coding", coding.name()), ("kind", what.name())];
            let count = shown
                .metrics
                .sum(|core| core.compression.compressions(coding, what));
            text.sample(name, &labels, count);
        }
    }
    let name = "weir_compressions_without_room_total";
    let help = "Answers sent as they were because there was no memory for a compressor.";
    text.family(name, "counter", help);
    let count = shown.metrics.sum(|core| &core.compression.without_room);
    text.sample(name, &[], count);
}
