//! `TUNING.md` is what the knobs declare.

use std::fmt::Write as _;
use std::path::Path;

use weir_core::tuning::{ApplyClass, PRESETS, all};
use weir_node::config::supported;

/// The document, from the declarations.
fn document() -> String {
    let mut text = String::from(
        "# Tuning\n\n\
         Every knob of a tuning profile, made from its declaration. `weir profile set KNOB=VALUE` \
         sets one for the fleet,\n\
         `--group`, `--node` and `--override --for 10m` for less. A change takes effect at once \
         (hot), for connections opened\n\
         from then on, after what it rules was drained, when the node starts again (restart), or \
         never by itself (host). A knob\n\
         without a consumer is told by nodes of this version by name, and the rest applies.\n",
    );
    let mut section = "";
    for knob in all() {
        if knob.section() != section {
            section = knob.section();
            let _ = write!(
                text,
                "\n## {section}\n\n\
                 | knob | default | allowed | takes effect | consumer | meaning |\n\
                 |---|---|---|---|---|---|\n"
            );
        }
        let others = match knob.apply {
            ApplyClass::Host => "`weir doctor`",
            _ => "none yet",
        };
        let consumer = supported().get(knob.path).copied().unwrap_or(others);
        let default = knob.default_value().to_string();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {consumer} | {} |",
            knob.path,
            if default.is_empty() { "none" } else { &default },
            knob.bound(),
            knob.apply.name(),
            knob.meaning,
        );
    }
    text.push_str(
        "\n## Presets\n\n`weir profile apply --preset NAME` sets these and nothing else.\n",
    );
    for preset in &PRESETS {
        let _ = write!(
            text,
            "\n### {}\n\n{}.\n",
            preset.name,
            capitalised(preset.meaning)
        );
        if !preset.settings.is_empty() {
            text.push('\n');
        }
        for (path, value) in preset.settings {
            let _ = writeln!(text, "- `{path}` = {value}");
        }
    }
    text
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

#[test]
fn the_tuning_document_is_what_the_knobs_declare() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../TUNING.md");
    if std::env::var_os("WEIR_WRITE_DOCUMENTS").is_some() {
        std::fs::write(&path, document()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written == document(),
        "TUNING.md differs from the declarations; WEIR_WRITE_DOCUMENTS=1 makes it anew"
    );
}
