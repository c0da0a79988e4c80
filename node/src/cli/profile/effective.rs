//! `weir profile effective`: what each knob of a node is, where that comes from and who reads it.

use serde::Serialize;
use weir_proto::control::v1 as pb;

use crate::cli::control::text::{apply_class, or_dash, some};
use crate::cli::control::{ControlPlane, Target};
use crate::cli::output::{Failure, Format, print, print_json, table};

/// What the layers' scope is called when no layer sets a knob.
const DEFAULTS: &str = "defaults";
/// The source of what a node has from a profile that is not the wanted one; the control plane decides it.
const OLDER_PROFILE: &str = "profile (older)";

pub(super) async fn run(target: &Target, node: String, changed: bool) -> Result<(), Failure> {
    let (format, mut plane) = (target.format()?, ControlPlane::new(target)?);
    let request = pb::EffectiveRequest { node_id: node };
    let mut answer = plane
        .ask(async |session| session.profiles().effective(request.clone()).await)
        .await?;
    if changed {
        answer.knobs.retain(is_changed);
    }
    match format {
        Format::Json => print_json(&View::from(&answer)),
        Format::Text => print(&as_text(&answer)),
    }
}

/// Whether anything but the default speaks for it.
fn is_changed(knob: &pb::LayeredKnob) -> bool {
    let by_node = knob
        .node
        .as_ref()
        .is_some_and(|node| node.source != "default" || !node.pending.is_empty());
    by_node || is_set(knob)
}

fn is_set(knob: &pb::LayeredKnob) -> bool {
    !knob.scope.is_empty() && knob.scope != DEFAULTS
}

/// The layer, such as `fleet@7`; `default` when none sets it.
fn layer(knob: &pb::LayeredKnob) -> String {
    match is_set(knob) {
        true => format!("{}@{}", knob.scope, knob.revision),
        false => "default".to_owned(),
    }
}

/// What the node says, if it said anything; else what the layers give.
fn value(knob: &pb::LayeredKnob) -> &str {
    knob.node.as_ref().map_or(&knob.value, |node| &node.value)
}

fn source(knob: &pb::LayeredKnob) -> String {
    match &knob.node {
        Some(node) if node.source == "profile" => layer(knob),
        Some(node) => node.source.clone(),
        None => layer(knob),
    }
}

fn note(knob: &pb::LayeredKnob) -> String {
    let Some(node) = &knob.node else {
        return String::new();
    };
    let mut notes = Vec::new();
    if !node.pending.is_empty() {
        notes.push(format!("pending restart: {}", node.pending));
    } else if node.consumer.is_empty() && is_set(knob) {
        notes.push("not supported by this node".to_owned());
    } else if node.value != knob.value && (is_set(knob) || node.source == OLDER_PROFILE) {
        notes.push(format!("{} gives {}", layer(knob), knob.value));
    }
    if !node.overridden_by.is_empty() {
        let services = node.overridden_by.join(", ");
        notes.push(format!("overridden by services: {services}"));
    }
    notes.join("; ")
}

fn as_text(answer: &pb::EffectiveResponse) -> String {
    let heading = ["KNOB", "VALUE", "SOURCE", "APPLY", "CONSUMER", "NOTE"];
    let mut rows = vec![heading.map(String::from).into()];
    for layered in &answer.knobs {
        let declared = layered.knob.clone().unwrap_or_default();
        let consumer = layered.node.as_ref().map_or("", |node| &node.consumer);
        rows.push(vec![
            declared.path.clone(),
            or_dash(value(layered)),
            source(layered),
            apply_class(declared.apply()).to_owned(),
            or_dash(consumer),
            note(layered),
        ]);
    }
    let table = table(&rows);
    match answer.node_answer.as_str() {
        "" => table,
        why => format!(
            "{} does not tell its own values ({why}); this is what the layers give\n{table}",
            answer.node_id
        ),
    }
}

#[derive(Serialize)]
struct View<'a> {
    node: &'a str,
    node_answer: Option<String>,
    knobs: Vec<KnobView>,
}

#[derive(Serialize)]
struct KnobView {
    path: String,
    value: String,
    source: String,
    apply: &'static str,
    default: String,
    layer: LayerView,
    consumer: Option<String>,
    overridden_by: Vec<String>,
    pending: Option<String>,
    note: Option<String>,
}

#[derive(Serialize)]
struct LayerView {
    value: String,
    scope: String,
    revision: u64,
}

impl<'a> From<&'a pb::EffectiveResponse> for View<'a> {
    fn from(answer: &'a pb::EffectiveResponse) -> Self {
        Self {
            node: &answer.node_id,
            node_answer: some(&answer.node_answer),
            knobs: answer.knobs.iter().map(KnobView::from).collect(),
        }
    }
}

impl From<&pb::LayeredKnob> for KnobView {
    fn from(layered: &pb::LayeredKnob) -> Self {
        let declared = layered.knob.clone().unwrap_or_default();
        let node = layered.node.clone().unwrap_or_default();
        Self {
            value: value(layered).to_owned(),
            source: source(layered),
            apply: apply_class(declared.apply()),
            path: declared.path,
            default: declared.default,
            layer: LayerView {
                value: layered.value.clone(),
                scope: layered.scope.clone(),
                revision: layered.revision,
            },
            consumer: some(&node.consumer),
            overridden_by: node.overridden_by,
            pending: some(&node.pending),
            note: some(&note(layered)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knob(scope: &str, value: &str, node: Option<pb::EffectiveKnob>) -> pb::LayeredKnob {
        pb::LayeredKnob {
            scope: scope.to_owned(),
            revision: 7,
            value: value.to_owned(),
            node,
            ..pb::LayeredKnob::default()
        }
    }

    fn told(value: &str, source: &str, consumer: &str, pending: &str) -> Option<pb::EffectiveKnob> {
        Some(pb::EffectiveKnob {
            value: value.to_owned(),
            source: source.to_owned(),
            consumer: consumer.to_owned(),
            pending: pending.to_owned(),
            ..pb::EffectiveKnob::default()
        })
    }

    #[test]
    fn the_source_is_the_layer_the_file_or_the_default() {
        let of = |knob: pb::LayeredKnob| (source(&knob), note(&knob), is_changed(&knob));
        let text =
            |source: &str, note: &str, changed| (source.to_owned(), note.to_owned(), changed);
        assert_eq!(
            of(knob("fleet", "10s", told("10s", "profile", "ingress", ""))),
            text("fleet@7", "", true)
        );
        assert_eq!(
            of(knob(
                "defaults",
                "30s",
                told("30s", "default", "ingress", "")
            )),
            text("default", "", false)
        );
        assert_eq!(
            of(knob("fleet", "10s", told("20s", "file", "ingress", ""))),
            text("file", "fleet@7 gives 10s", true)
        );
        assert_eq!(
            of(knob(
                "fleet",
                "4",
                told("2", OLDER_PROFILE, "data plane", "4")
            )),
            text(OLDER_PROFILE, "pending restart: 4", true)
        );
        assert_eq!(
            of(knob(
                "fleet",
                "55",
                told("44", OLDER_PROFILE, "ingress", "")
            )),
            text(OLDER_PROFILE, "fleet@7 gives 55", true)
        );
        assert_eq!(
            of(knob(
                "defaults",
                "1s",
                told("81ms", OLDER_PROFILE, "ingress", "")
            )),
            text(OLDER_PROFILE, "default gives 1s", true)
        );
        assert_eq!(
            of(knob("fleet", "4", told("0", "default", "", ""))),
            text("default", "not supported by this node", true)
        );
        assert_eq!(of(knob("fleet", "4", None)), text("fleet@7", "", true));
    }
}
