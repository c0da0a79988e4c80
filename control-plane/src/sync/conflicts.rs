//! Processes that were sent away because a younger one has their id: for people, who gave an id twice.

use std::collections::HashMap;

/// How long it is told.
const TOLD_FOR_MS: u64 = 5 * 60 * 1_000;
/// Nodes of which it is told.
const NODES_MAX: usize = 1_000;

struct SentAway {
    at_unix_ms: u64,
    from: String,
}

/// The last process sent away, node by node.
#[derive(Default)]
pub(super) struct Conflicts(HashMap<String, SentAway>);

impl Conflicts {
    /// Notes one. Beyond the bound it is not told.
    pub(super) fn note(&mut self, node_id: &str, from: &str, at_unix_ms: u64) {
        self.0.retain(|_, sent_away| is_told(sent_away, at_unix_ms));
        if self.0.len() < NODES_MAX || self.0.contains_key(node_id) {
            let from = from.to_owned();
            self.0
                .insert(node_id.to_owned(), SentAway { at_unix_ms, from });
        }
    }

    /// What is told of a node; empty without a conflict.
    pub(super) fn of(&self, node_id: &str, now_unix_ms: u64) -> String {
        let sent_away = self.0.get(node_id);
        let sent_away = sent_away.filter(|sent_away| is_told(sent_away, now_unix_ms));
        sent_away.map_or_else(String::new, |SentAway { at_unix_ms, from }| {
            let second = at_unix_ms / 1_000;
            let (hour, minute) = (second / 3_600 % 24, second / 60 % 60);
            format!(
                "another process with this id was sent away at {hour:02}:{minute:02}:{:02} UTC, from {from}",
                second % 60
            )
        })
    }
}

fn is_told(sent_away: &SentAway, now_unix_ms: u64) -> bool {
    now_unix_ms.saturating_sub(sent_away.at_unix_ms) < TOLD_FOR_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_is_told_for_five_minutes() {
        let mut conflicts = Conflicts::default();
        let at = 86_400_000 + 3_723_000;
        conflicts.note("n", "10.0.0.7", at);
        let told = "another process with this id was sent away at 01:02:03 UTC, from 10.0.0.7";
        assert_eq!(conflicts.of("n", at + TOLD_FOR_MS - 1), told);
        assert_eq!(conflicts.of("n", at + TOLD_FOR_MS), "");
        assert_eq!(conflicts.of("other", at), "");
    }

    #[test]
    fn conflicts_are_bounded_and_old_ones_make_room() {
        let mut conflicts = Conflicts::default();
        for node in 0..=NODES_MAX {
            conflicts.note(&node.to_string(), "a", 1);
        }
        assert_eq!(conflicts.0.len(), NODES_MAX);
        conflicts.note("late", "a", 1 + TOLD_FOR_MS);
        assert_eq!(conflicts.0.len(), 1);
    }
}
