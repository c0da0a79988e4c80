//! `weir profile effective`: what each knob of a node is, where that comes from and who reads it.

use std::collections::BTreeSet;

use serde::Serialize;
use tonic::Code;
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
    let refused = match answer.node_answer.is_empty() {
        true => BTreeSet::new(),
        false => refused_last(&mut plane, &request).await?,
    };
    if changed {
        answer.knobs.retain(is_changed);
    }
    match format {
        Format::Json => print_json(&View::of(&answer, &refused)),
        Format::Text => print(&as_text(&answer, &refused)),
    }
}

/// What a node that does not answer now refused as not supported when it was heard last, by path.
async fn refused_last(
    plane: &mut ControlPlane,
    asked: &pb::EffectiveRequest,
) -> Result<BTreeSet<String>, Failure> {
    let request = pb::GetNodeRequest {
        node_id: asked.node_id.clone(),
    };
    let node = plane
        .ask(async |session| session.nodes().get_node(request.clone()).await)
        .await;
    let node = match node {
        // A profile may speak of a node that never was.
        Err(Failure::Refused(status)) if status.code() == Code::NotFound => {
            return Ok(BTreeSet::new());
        }
        node => node?,
    };
    let unsupported = node.profile.into_iter().flat_map(|state| state.unsupported);
    Ok(unsupported.map(|error| error.path).collect())
}

/// Whether a layer sets what the node does not support: it is not in force there, whatever its default is called.
fn is_refused(knob: &pb::LayeredKnob, refused: &BTreeSet<String>) -> bool {
    let path = knob.knob.as_ref().map_or("", |knob| &knob.path);
    let by_node = match &knob.node {
        Some(node) => node.consumer.is_empty() && node.pending.is_empty(),
        None => refused.contains(path),
    };
    by_node && is_set(knob)
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

/// A knob as it is shown.
struct Shown {
    /// What the node says, if it said anything, else what the layers give; nothing where it is refused.
    value: Option<String>,
    source: Option<String>,
    note: String,
}

fn shown(knob: &pb::LayeredKnob, refused: &BTreeSet<String>) -> Shown {
    if is_refused(knob, refused) {
        let (layer, value) = (layer(knob), &knob.value);
        return Shown {
            value: None,
            source: None,
            note: format!("refused: not supported by this node; {layer} gives {value}"),
        };
    }
    let value = knob.node.as_ref().map_or(&knob.value, |node| &node.value);
    Shown {
        value: Some(value.clone()),
        source: Some(source(knob)),
        note: note(knob),
    }
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
    } else if node.value != knob.value && (is_set(knob) || node.source == OLDER_PROFILE) {
        notes.push(format!("{} gives {}", layer(knob), knob.value));
    }
    if !node.overridden_by.is_empty() {
        let services = node.overridden_by.join(", ");
        notes.push(format!("overridden by services: {services}"));
    }
    notes.join("; ")
}

fn as_text(answer: &pb::EffectiveResponse, refused: &BTreeSet<String>) -> String {
    let heading = ["KNOB", "VALUE", "SOURCE", "APPLY", "CONSUMER", "NOTE"];
    let mut rows = vec![heading.map(String::from).into()];
    for layered in &answer.knobs {
        let declared = layered.knob.clone().unwrap_or_default();
        let consumer = layered.node.as_ref().map_or("", |node| &node.consumer);
        let shown = shown(layered, refused);
        rows.push(vec![
            declared.path.clone(),
            or_dash(&shown.value.unwrap_or_default()),
            or_dash(&shown.source.unwrap_or_default()),
            apply_class(declared.apply()).to_owned(),
            or_dash(consumer),
            shown.note,
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
    /// `None` where the node refuses it.
    value: Option<String>,
    source: Option<String>,
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

impl<'a> View<'a> {
    fn of(answer: &'a pb::EffectiveResponse, refused: &BTreeSet<String>) -> Self {
        let knobs = answer.knobs.iter();
        Self {
            node: &answer.node_id,
            node_answer: some(&answer.node_answer),
            knobs: knobs.map(|knob| KnobView::of(knob, refused)).collect(),
        }
    }
}

impl KnobView {
    fn of(layered: &pb::LayeredKnob, refused: &BTreeSet<String>) -> Self {
        let declared = layered.knob.clone().unwrap_or_default();
        let node = layered.node.clone().unwrap_or_default();
        let shown = shown(layered, refused);
        Self {
            value: shown.value,
            source: shown.source,
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
            note: some(&shown.note),
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
        let of = |knob: pb::LayeredKnob| {
            let shown = shown(&knob, &BTreeSet::new());
            (shown.source.unwrap(), shown.note, is_changed(&knob))
        };
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
        assert_eq!(of(knob("fleet", "4", None)), text("fleet@7", "", true));
    }

    #[test]
    fn a_knob_that_the_node_does_not_support_is_refused_and_has_no_value() {
        let (nothing, last) = (BTreeSet::new(), BTreeSet::from(["a.b".to_owned()]));
        let named = |node| {
            let mut knob = knob("fleet", "4", node);
            knob.knob.get_or_insert_default().path = "a.b".to_owned();
            knob
        };
        let connected = named(told("0", "default", "", ""));
        let away = named(None);
        for (knob, refused) in [(&connected, &nothing), (&away, &last)] {
            let shown = shown(knob, refused);
            assert_eq!((shown.value, shown.source), (None, None));
            let note = "refused: not supported by this node; fleet@7 gives 4";
            assert_eq!(shown.note, note);
            assert!(is_changed(knob));
        }
        let unset = knob("defaults", "0", told("0", "default", "", ""));
        assert_eq!(shown(&unset, &nothing).value.as_deref(), Some("0"));
    }
}
