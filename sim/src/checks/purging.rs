//! A purge beats every fetch that began before it, on every tier and node.

use weir_core::purge::Hardness;

use super::{Check, Violation, violations};
use crate::purging::NODES;
use crate::purging::history::{Answer, History, Purged};

const CHECKS: &[(&str, Check<History, ()>)] = &[
    (
        "nothing_older_than_a_purge_in_force_answers",
        nothing_older_than_a_purge_in_force_answers,
    ),
    (
        "nothing_older_than_an_acknowledged_purge_answers",
        nothing_older_than_an_acknowledged_purge_answers,
    ),
    (
        "what_one_node_has_in_force_all_have_in_the_end",
        what_one_node_has_in_force_all_have_in_the_end,
    ),
    ("enough_happens", enough_happens),
];

/// A run with fewer says nothing.
const PURGES_MIN: usize = 20;
const ANSWERS_MIN: usize = 500;

/// Runs every check.
pub(crate) fn run(history: &History) -> Vec<Violation> {
    violations(CHECKS, history, &())
}

/// How many checks there are.
pub(crate) const fn count() -> usize {
    CHECKS.len()
}

/// Whether this purge forbids this answer, if it was in force: a soft one only wants it to be called stale.
fn forbids(purge: &Purged, answer: &Answer, history: &History) -> bool {
    let is_older =
        history.fetches[answer.fetch] < purge.order || answer.version < purge.versions[answer.key];
    let is_told = answer.is_stale && purge.hardness == Hardness::Soft;
    purge.of.concerns(answer.key) && is_older && !is_told
}

fn older_answers(history: &History, is_promised: impl Fn(&Purged, &Answer) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for answer in &history.answers {
        let mut purges = history.purges.iter();
        let purge =
            purges.find(|purge| is_promised(purge, answer) && forbids(purge, answer, history));
        if let Some(purge) = purge {
            found.push(format!(
                "{} answers key {} at {:?} from fetch {} with version {}, purged by {} at {:?} as {}-{} ({:?} {:?})",
                answer.node,
                answer.key,
                answer.at,
                answer.fetch,
                answer.version,
                purge.node,
                purge.at,
                purge.origin,
                purge.seq,
                purge.hardness,
                purge.of,
            ));
        }
    }
    found
}

/// A request that comes when a node has a purge in force gets nothing from before.
fn nothing_older_than_a_purge_in_force_answers(history: &History, (): &()) -> Vec<String> {
    older_answers(history, |purge, answer| {
        let seen = answer.in_force.get(&purge.origin);
        seen.is_some_and(|seen| *seen >= purge.seq)
    })
}

/// A request that comes when a purge was said to be in force on all nodes gets nothing from before, on any node, also
/// on one that has been started since.
fn nothing_older_than_an_acknowledged_purge_answers(history: &History, (): &()) -> Vec<String> {
    older_answers(history, |purge, answer| {
        purge.acked.is_some_and(|acked| acked < answer.asked)
    })
}

/// Nodes that see each other for long tell each other everything, also what others purged that are gone.
fn what_one_node_has_in_force_all_have_in_the_end(history: &History, (): &()) -> Vec<String> {
    let mut found = Vec::new();
    for node in NODES
        .iter()
        .filter(|node| !history.last.contains_key(*node))
    {
        found.push(format!("{node} is not there in the end"));
    }
    for purge in &history.purges {
        let has = |node: &&&str| {
            let seen = history
                .last
                .get(**node)
                .and_then(|seen| seen.get(&purge.origin));
            seen.is_some_and(|seen| *seen >= purge.seq)
        };
        let with = NODES.iter().filter(has).count();
        if with > 0 && with < NODES.len() {
            found.push(format!(
                "purge {}-{} of {} at {:?} is in force on {with} of {} nodes",
                purge.origin,
                purge.seq,
                purge.node,
                purge.at,
                NODES.len(),
            ));
        }
    }
    found
}

/// There were purges and answers to check.
fn enough_happens(history: &History, (): &()) -> Vec<String> {
    let (purges, answers) = (history.purges.len(), history.answers.len());
    let acked = history.purges.iter().filter(|purge| purge.acked.is_some());
    let acked = acked.count();
    let is_enough = purges >= PURGES_MIN && answers >= ANSWERS_MIN && acked > 0;
    match is_enough {
        true => Vec::new(),
        false => vec![format!(
            "{purges} purges, {acked} acknowledged, {answers} answers"
        )],
    }
}
