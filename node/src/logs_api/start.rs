//! How a watch of several nodes begins: with the newest lines of all of them together, as a list of them would.

use std::collections::{BTreeSet, VecDeque};

use weir_proto::node::v1 as pb;

use super::keep_newest;

/// Lists that come before the start is told, of nodes that have told theirs, and are told after it.
const HELD_MAX: usize = 16;

/// What one node told.
pub(super) struct Told {
    pub(super) node: String,
    /// What was there before; empty of a node that does not answer.
    pub(super) is_first: bool,
    pub(super) list: pb::LogList,
}

/// The newest lines of all nodes, as far as they are told.
pub(super) struct Start {
    awaited: BTreeSet<String>,
    lines_max: usize,
    list: pb::LogList,
    held: VecDeque<pb::LogList>,
}

impl Start {
    /// Nothing yet, of these nodes.
    pub(super) fn of(nodes: impl IntoIterator<Item = String>, lines_max: usize) -> Self {
        Self {
            awaited: nodes.into_iter().collect(),
            lines_max,
            list: pb::LogList::default(),
            held: VecDeque::new(),
        }
    }

    /// Whether nobody is waited for any more.
    pub(super) fn is_whole(&self) -> bool {
        self.awaited.is_empty() || self.held.len() >= HELD_MAX
    }

    /// Takes in what a node tells.
    pub(super) fn take(&mut self, told: Told) {
        let Told {
            node,
            is_first,
            list,
        } = told;
        if !is_first {
            self.held.push_back(list);
            return;
        }
        self.awaited.remove(&node);
        self.list.cut |= list.cut;
        self.list.unreachable_nodes.extend(list.unreachable_nodes);
        self.list.lines.extend(list.lines);
        keep_newest(&mut self.list, self.lines_max);
    }

    /// What is told first, and what then becomes of what comes.
    pub(super) fn told(self) -> (VecDeque<pb::LogList>, After) {
        let newest = self.list.lines.last();
        let after = After {
            unix_ms: newest.map_or(0, |line| line.at_unix_ms),
            lines_max: self.lines_max,
        };
        let mut lists = self.held;
        lists.push_front(self.list);
        (lists, after)
    }
}

/// What is told after the start.
#[derive(Clone, Copy)]
pub(super) struct After {
    /// Of the newest line of the start.
    unix_ms: u64,
    lines_max: usize,
}

impl After {
    /// The news in what a node tells: of a node that is late, not what it had before the start.
    pub(super) fn news(self, told: Told) -> Option<pb::LogList> {
        let mut list = told.list;
        if told.is_first {
            list.lines.retain(|line| line.at_unix_ms > self.unix_ms);
            keep_newest(&mut list, self.lines_max);
        }
        let is_news = !list.lines.is_empty() || list.missed > 0;
        (is_news || !list.unreachable_nodes.is_empty()).then_some(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(node: &str, is_first: bool, times: &[u64]) -> Told {
        let line = |at: &u64| pb::LogLine {
            node: node.to_owned(),
            at_unix_ms: *at,
            ..pb::LogLine::default()
        };
        Told {
            node: node.to_owned(),
            is_first,
            list: pb::LogList {
                lines: times.iter().map(line).collect(),
                ..pb::LogList::default()
            },
        }
    }

    fn times(list: &pb::LogList) -> Vec<u64> {
        list.lines.iter().map(|line| line.at_unix_ms).collect()
    }

    fn nodes() -> [String; 2] {
        ["a", "b"].map(str::to_owned)
    }

    #[test]
    fn a_watch_begins_with_the_newest_lines_of_all_nodes_by_time() {
        let mut start = Start::of(nodes(), 3);
        start.take(told("a", true, &[1, 4, 6]));
        assert!(!start.is_whole());
        start.take(told("a", false, &[9]));
        start.take(told("b", true, &[2, 3, 5]));
        assert!(start.is_whole());
        let (lists, after) = start.told();
        let lists: Vec<_> = lists.iter().map(times).collect();
        assert_eq!(lists, [vec![4, 5, 6], vec![9]]);
        let news = after.news(told("a", false, &[5])).unwrap();
        assert_eq!(times(&news), [5]);
    }

    #[test]
    fn a_node_that_is_late_tells_only_what_is_new() {
        let mut start = Start::of(nodes(), 2);
        start.take(told("a", true, &[4, 6]));
        let (_, after) = start.told();
        assert!(after.news(told("b", true, &[3, 5])).is_none());
        let news = after.news(told("b", true, &[5, 7, 8, 9])).unwrap();
        assert_eq!((times(&news), news.cut), (vec![8, 9], true));
    }

    #[test]
    fn a_node_that_does_not_answer_is_told_and_not_waited_for() {
        let mut start = Start::of(nodes(), 2);
        start.take(told("a", true, &[1]));
        let mut away = told("b", true, &[]);
        away.list.unreachable_nodes = vec!["b".to_owned()];
        start.take(away);
        assert!(start.is_whole());
        let (lists, _) = start.told();
        assert_eq!(lists[0].unreachable_nodes, ["b"]);
    }

    #[test]
    fn a_silent_node_does_not_hold_up_what_others_tell() {
        let mut start = Start::of(nodes(), 2);
        start.take(told("a", true, &[1]));
        for at in 0..HELD_MAX as u64 {
            assert!(!start.is_whole());
            start.take(told("a", false, &[2 + at]));
        }
        assert!(start.is_whole());
    }
}
