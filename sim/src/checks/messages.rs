//! What subscribers and publishers of messages are promised.

use super::{Check, Violation, violations};
use crate::messages::history::History;

const CHECKS: &[(&str, Check<History, ()>)] = &[
    ("every_skip_is_announced", |history, ()| {
        history.skips.clone()
    }),
    ("epochs_rise", |history, ()| history.epochs_back.clone()),
    ("one_number_is_one_message", |history, ()| {
        history.doubled.clone()
    }),
    ("acknowledged_messages_stay", acknowledged_messages_stay),
    (
        "everybody_has_everything_in_the_end",
        everybody_has_everything_in_the_end,
    ),
    ("enough_happens", enough_happens),
];

/// A run with fewer says nothing.
const GIVEN_MIN: usize = 1_000;
const ACKED_MIN: usize = 100;

/// Runs every check.
pub(crate) fn run(history: &History) -> Vec<Violation> {
    violations(CHECKS, history, &())
}

/// How many checks there are.
pub(crate) const fn count() -> usize {
    CHECKS.len()
}

/// What a second node has is in its epoch for as long as that goes on.
fn acknowledged_messages_stay(history: &History, (): &()) -> Vec<String> {
    let lost = history.acked.iter().filter(|(topic, epoch, offset)| {
        let last = history.last.get(topic);
        last.is_none_or(|last| last.0 == *epoch && last.1 < *offset)
    });
    lost.map(|place| {
        format!(
            "{place:?}, and the owner ends at {:?}",
            history.last.get(&place.0)
        )
    })
    .collect()
}

fn everybody_has_everything_in_the_end(history: &History, (): &()) -> Vec<String> {
    let is_behind = |(who, at): &(&(String, usize), &(u64, u64))| {
        let last = history.last.get(&who.1);
        last != Some(*at)
    };
    let behind = history.at.iter().filter(is_behind);
    let told = behind.map(|((name, topic), at)| {
        format!(
            "{name} is at {at:?} of t.{topic}, and the owner at {:?}",
            history.last.get(topic)
        )
    });
    told.collect()
}

fn enough_happens(history: &History, (): &()) -> Vec<String> {
    let (given, acked) = (history.given, history.acked.len());
    let is_enough = given >= GIVEN_MIN && acked >= ACKED_MIN && history.recovered > 0;
    match is_enough {
        true => Vec::new(),
        false => vec![format!(
            "{given} given, {acked} acked, {} recovered",
            history.recovered
        )],
    }
}
