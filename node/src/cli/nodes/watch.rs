//! `weir nodes watch`: every node once, then only what is no longer as it was shown.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use weir_proto::control::v1 as pb;

use super::view::NodeView;
use super::{HEADING, row, with_conflicts};
use crate::cli::control::ControlPlane;
use crate::cli::output::{Failure, Format, print, print_json, table_in};
use crate::ports::clock::WallClock;

/// Shows until it is interrupted.
pub(super) async fn run(plane: &mut ControlPlane, format: Format) -> Result<(), Failure> {
    let (mut shown, mut widths) = (Shown::default(), Vec::new());
    plane
        .watch(
            async |session| session.nodes().watch_nodes(pb::WatchNodesRequest {}).await,
            |list| match format {
                Format::Json => as_json(&mut shown, &list.nodes).map_or(Ok(()), |v| print_json(&v)),
                Format::Text => {
                    let now = WallClock::system().unix_now();
                    let text = as_text(&mut shown, &mut widths, &list.nodes, now);
                    text.map_or(Ok(()), |text| print(&text))
                }
            },
        )
        .await
}

/// What was shown of each node last.
#[derive(Debug, Default)]
struct Shown {
    nodes: BTreeMap<String, Value>,
    /// The first list is shown although it may be empty.
    is_begun: bool,
}

/// What of a list is to be shown.
struct News<'a> {
    is_first: bool,
    nodes: Vec<&'a pb::NodeInfo>,
    forgotten: Vec<String>,
}

impl Shown {
    /// The nodes that are not what was shown; `look` is all that is shown of one, without what time alone changes.
    fn take<'a>(
        &mut self,
        list: &'a [pb::NodeInfo],
        look: impl Fn(&pb::NodeInfo) -> Value,
    ) -> Option<News<'a>> {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let mut nodes = Vec::new();
        for node in list {
            let now = look(node);
            if self.nodes.get(&node.node_id) != Some(&now) {
                self.nodes.insert(node.node_id.clone(), now);
                nodes.push(node);
            }
        }
        let there: BTreeSet<&String> = list.iter().map(|node| &node.node_id).collect();
        let gone = self.nodes.keys().filter(|id| !there.contains(id));
        let forgotten: Vec<String> = gone.cloned().collect();
        for id in &forgotten {
            self.nodes.remove(id);
        }
        let is_news = is_first || !nodes.is_empty() || !forgotten.is_empty();
        is_news.then_some(News {
            is_first,
            nodes,
            forgotten,
        })
    }
}

/// Rows below one heading; `None` when nothing is to be said.
fn as_text(
    shown: &mut Shown,
    widths: &mut Vec<usize>,
    list: &[pb::NodeInfo],
    now: Duration,
) -> Option<String> {
    // The row as it would be at another time, and since when it is so.
    let look = |node: &pb::NodeInfo| {
        let cells = row(node, Duration::ZERO);
        json!([cells, node.since_unix_ms, node.conflict])
    };
    let news = shown.take(list, look)?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    rows.extend(news.is_first.then(|| HEADING.map(String::from).to_vec()));
    rows.extend(news.nodes.iter().map(|node| row(node, now)));
    let text = with_conflicts(table_in(widths, &rows), news.nodes);
    let forgotten = news.forgotten.iter().map(|id| format!("{id} is forgotten"));
    let lines = (!text.is_empty()).then_some(text).into_iter();
    Some(lines.chain(forgotten).collect::<Vec<_>>().join("\n"))
}

/// An array of what is news; of a node that is not there any more `{"node": ID, "forgotten": true}`.
fn as_json(shown: &mut Shown, list: &[pb::NodeInfo]) -> Option<Vec<Value>> {
    let look = |node: &pb::NodeInfo| json!(NodeView::from(node));
    let news = shown.take(list, look)?;
    let nodes = news.nodes.into_iter().map(look);
    let forgotten = news.forgotten.into_iter();
    let forgotten = forgotten.map(|id| json!({ "node": id, "forgotten": true }));
    Some(nodes.chain(forgotten).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, zone: &str, requests_in_flight: u64) -> pb::NodeInfo {
        pb::NodeInfo {
            node_id: id.to_owned(),
            zone: zone.to_owned(),
            since_unix_ms: 1_000,
            heartbeat: Some(pb::NodeHeartbeat {
                requests_in_flight,
                ..pb::NodeHeartbeat::default()
            }),
            ..pb::NodeInfo::default()
        }
    }

    #[test]
    fn a_row_is_printed_again_only_when_it_differs() {
        let (mut shown, mut widths) = (Shown::default(), Vec::new());
        let mut told = |list: &[pb::NodeInfo], now_s| {
            as_text(&mut shown, &mut widths, list, Duration::from_secs(now_s))
        };
        let first = told(&[node("a", "x", 1), node("b", "x", 1)], 6).unwrap();
        assert_eq!(first.lines().count(), 3);
        // Neither time nor what is not in the row is a change.
        assert_eq!(told(&[node("a", "x", 2), node("b", "x", 3)], 60), None);
        let second = told(&[node("a", "x", 2), node("b", "y", 3)], 61).unwrap();
        assert!(
            second.starts_with("b ") && second.lines().count() == 1,
            "{second}"
        );
        let at = |text: &str, word: &str| text.lines().last().unwrap().find(word);
        assert_eq!(
            at(&first, " x "),
            at(&second, " y "),
            "columns stay where they are"
        );
        assert_eq!(told(&[node("b", "y", 3)], 62).unwrap(), "a is forgotten");
        let back = told(&[node("a", "x", 2), node("b", "y", 3)], 63).unwrap();
        assert!(
            back.starts_with("a ") && back.lines().count() == 1,
            "{back}"
        );
    }

    #[test]
    fn since_when_a_node_is_what_it_is_belongs_to_its_row() {
        let (mut shown, mut widths) = (Shown::default(), Vec::new());
        let mut told = |node| as_text(&mut shown, &mut widths, &[node], Duration::from_secs(9));
        told(node("a", "x", 1)).unwrap();
        let again = pb::NodeInfo {
            since_unix_ms: 5_000,
            ..node("a", "x", 1)
        };
        assert!(told(again).unwrap().starts_with("a "));
    }

    #[test]
    fn a_fleet_without_nodes_is_shown_once() {
        let (mut shown, mut widths) = (Shown::default(), Vec::new());
        let mut told = || as_text(&mut shown, &mut widths, &[], Duration::ZERO);
        assert!(told().unwrap().starts_with("NODE"));
        assert_eq!(told(), None);
    }

    #[test]
    fn scripts_get_what_changed_and_what_is_forgotten() {
        let mut shown = Shown::default();
        let mut told = |list: &[pb::NodeInfo]| as_json(&mut shown, list);
        assert_eq!(
            told(&[node("a", "x", 1), node("b", "x", 1)]).unwrap().len(),
            2
        );
        assert_eq!(told(&[node("a", "x", 1), node("b", "x", 1)]), None);
        let second = told(&[node("a", "x", 2)]).unwrap();
        assert_eq!(second[0]["heartbeat"]["requests_in_flight"], 2);
        assert_eq!(second[1], json!({ "node": "b", "forgotten": true }));
    }
}
