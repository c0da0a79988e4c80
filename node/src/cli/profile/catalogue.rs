//! `weir profile knobs` and `weir profile presets`: what this version declares; nobody is asked.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_core::tuning::{Knob, PRESETS, all, preset};

use crate::cli::output::{Failure, Format, print, print_json, table};

#[derive(Serialize)]
struct KnobView {
    path: &'static str,
    kind: &'static str,
    default: String,
    bound: String,
    apply: &'static str,
    meaning: &'static str,
}

impl From<&Knob> for KnobView {
    fn from(knob: &Knob) -> Self {
        Self {
            path: knob.path,
            kind: knob.kind_name(),
            default: knob.default_value().to_string(),
            bound: knob.bound(),
            apply: knob.apply.name(),
            meaning: knob.meaning,
        }
    }
}

/// Every knob, or those of one section, or one.
pub(super) fn knobs(wanted: Option<&str>, format: Format) -> Result<(), Failure> {
    let is_wanted =
        |knob: &&Knob| wanted.is_none_or(|wanted| knob.section() == wanted || knob.path == wanted);
    let knobs: Vec<KnobView> = all().filter(is_wanted).map(KnobView::from).collect();
    if let (true, Some(wanted)) = (knobs.is_empty(), wanted) {
        let mut sections: Vec<&str> = all().map(Knob::section).collect();
        sections.dedup();
        return Err(Failure::Usage(format!(
            "`{wanted}` is no section and no knob; allowed: {}",
            sections.join(", ")
        )));
    }
    if format == Format::Json {
        return print_json(&knobs);
    }
    let heading = ["KNOB", "DEFAULT", "ALLOWED", "APPLY", "MEANING"];
    let mut rows: Vec<Vec<String>> = vec![heading.map(String::from).into()];
    rows.extend(knobs.into_iter().map(|knob| {
        vec![
            knob.path.to_owned(),
            knob.default,
            knob.bound,
            knob.apply.to_owned(),
            knob.meaning.to_owned(),
        ]
    }));
    print(&table(&rows))
}

#[derive(Serialize)]
struct PresetView {
    name: &'static str,
    meaning: &'static str,
    settings: BTreeMap<&'static str, &'static str>,
}

/// Every preset in a line, or one with all it sets.
pub(super) fn presets(name: Option<&str>, format: Format) -> Result<(), Failure> {
    let wanted: Vec<_> = match name {
        None => PRESETS.iter().collect(),
        Some(name) => vec![preset(name).ok_or_else(|| {
            let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
            Failure::Usage(format!(
                "`{name}` is no preset; allowed: {}",
                names.join(", ")
            ))
        })?],
    };
    if format == Format::Json {
        let views: Vec<PresetView> = wanted
            .iter()
            .map(|preset| PresetView {
                name: preset.name,
                meaning: preset.meaning,
                settings: preset.settings.iter().copied().collect(),
            })
            .collect();
        return print_json(&views);
    }
    let text = |text: &str| text.to_owned();
    let mut rows = match name {
        None => vec![vec![text("PRESET"), text("SETTINGS"), text("MEANING")]],
        Some(_) => vec![vec![text("KNOB"), text("VALUE")]],
    };
    for preset in wanted {
        match name {
            None => rows.push(vec![
                text(preset.name),
                preset.settings.len().to_string(),
                text(preset.meaning),
            ]),
            Some(_) => rows.extend(
                preset
                    .settings
                    .iter()
                    .map(|(path, value)| vec![text(path), text(value)]),
            ),
        }
    }
    print(&table(&rows))
}
