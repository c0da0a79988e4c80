//! What a new profile would do to nodes, and whether the layers allow it.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_core::tuning::{Problem, Scope, check_rules};

use super::record::Head;
use super::settings::{Difference, differences};
use super::stack::{Laid, Stack, ids};

/// Most nodes that are named where more are meant.
pub const NODE_IDS_MAX: usize = 10;

/// What layers need to know of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its id.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Nodes for which a change does the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDifference {
    /// Some of them, at most [`NODE_IDS_MAX`].
    pub node_ids: Vec<String>,
    /// How many there are.
    pub nodes: u64,
    /// What they get otherwise than before.
    pub changes: Vec<Difference>,
}

/// What follows from a change.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// What the change would break that was whole, in the order of paths.
    pub(super) problems: Vec<Problem>,
    /// What nodes get otherwise; those with the most nodes first.
    pub(super) nodes: Vec<NodeDifference>,
}

/// Nodes that are named as far as there is room.
#[derive(Clone, Debug, Default)]
struct Named {
    ids: Vec<String>,
    total: u64,
    /// Also those that nobody knows yet.
    and_unknown: bool,
    /// The layers of the first of them.
    layers: String,
}

impl Named {
    fn add(&mut self, other: &Self) {
        let room = NODE_IDS_MAX - self.ids.len();
        self.ids.extend(other.ids.iter().take(room).cloned());
        self.total += other.total;
        self.and_unknown |= other.and_unknown;
        if self.layers.is_empty() {
            self.layers.clone_from(&other.layers);
        }
    }

    fn sentence(&self) -> String {
        let more = self.total.saturating_sub(self.ids.len() as u64);
        let mut who = match (self.ids.is_empty(), self.and_unknown) {
            (true, _) => "every node without other layers".to_owned(),
            (false, true) => format!(
                "every node without other layers, such as {}",
                self.ids.join(", ")
            ),
            (false, false) => self.ids.join(", "),
        };
        if more > 0 {
            who.push_str(&format!(" and {more} more"));
        }
        format!("for {who} (layers {})", self.layers)
    }
}

/// One combination of layers, before and after.
struct Combination<'a> {
    before: Vec<&'a Arc<Head>>,
    after: Vec<&'a Arc<Head>>,
    named: Named,
}

/// Judges a change of one scope. Problems that were there before are not counted against it: they must not keep an
/// override from those who need it.
pub(super) fn judge(before: &Stack, after: &Stack, scope: &Scope, nodes: &[NodeFacts]) -> Verdict {
    let mut problems: BTreeMap<Problem, Named> = BTreeMap::new();
    let mut changes: BTreeMap<Vec<Difference>, Named> = BTreeMap::new();
    for combination in combinations(before, after, scope, nodes) {
        let laid_before = Laid::of(combination.before.iter().copied());
        let laid_after = Laid::of(combination.after.iter().copied());
        let there = problems_of(&laid_before);
        for problem in problems_of(&laid_after) {
            if !there.contains(&problem) {
                problems.entry(problem).or_default().add(&combination.named);
            }
        }
        let found = differences(&laid_before.texts(), &laid_after.texts());
        if !found.is_empty() && combination.named.total > 0 {
            changes.entry(found).or_default().add(&combination.named);
        }
    }
    let told = |(mut problem, named): (Problem, Named)| {
        problem.message = format!("{} {}", problem.message, named.sentence());
        problem
    };
    let mut nodes: Vec<NodeDifference> = changes.into_iter().map(difference).collect();
    nodes.sort_by_key(|difference| std::cmp::Reverse(difference.nodes));
    Verdict {
        problems: problems.into_iter().map(told).collect(),
        nodes,
    }
}

fn difference((changes, named): (Vec<Difference>, Named)) -> NodeDifference {
    NodeDifference {
        node_ids: named.ids,
        nodes: named.total,
        changes,
    }
}

fn problems_of(laid: &Laid) -> Vec<Problem> {
    let merged = &laid.merged;
    let mut problems = merged.problems.clone();
    problems.extend(check_rules(|knob| match merged.get(knob) {
        Some(given) => given.value.clone(),
        None => knob.default_value(),
    }));
    problems
}

/// Every combination that the scope takes part in, before or after.
fn combinations<'a>(
    before: &'a Stack,
    after: &'a Stack,
    scope: &Scope,
    nodes: &[NodeFacts],
) -> Vec<Combination<'a>> {
    type Ids = (Arc<[u64]>, Arc<[u64]>);
    let mut found: BTreeMap<Ids, Combination<'a>> = BTreeMap::new();
    let mut add = |id: &str, labels: &BTreeMap<String, String>, is_known: bool| {
        let (before, after) = (before.layers(id, labels), after.layers(id, labels));
        let takes_part =
            |layers: &[&Arc<Head>]| layers.iter().any(|head| head.revision.scope == *scope);
        if !takes_part(&before) && !takes_part(&after) {
            return;
        }
        let key = (ids(&before), ids(&after));
        let combination = found.entry(key).or_insert_with(|| Combination {
            named: Named {
                layers: names(&after),
                ..Named::default()
            },
            before,
            after,
        });
        let named = &mut combination.named;
        if !id.is_empty() && named.ids.len() < NODE_IDS_MAX {
            named.ids.push(id.to_owned());
        }
        named.total += u64::from(is_known);
        named.and_unknown |= id.is_empty();
    };
    let none = BTreeMap::new();
    for node in nodes {
        add(&node.id, &node.labels, true);
    }
    match scope.node() {
        Some(id) if nodes.iter().all(|node| node.id != id) => add(id, &none, false),
        Some(_) => {}
        None => add("", &none, false),
    }
    found.into_values().collect()
}

fn names(layers: &[&Arc<Head>]) -> String {
    let scope = |head: &&Arc<Head>| head.revision.scope.to_string();
    let scopes: Vec<String> = layers.iter().map(scope).collect();
    scopes.join(", ")
}
