//! What was acknowledged is in the store, once and in order, and one leads.

use std::collections::BTreeMap;

use weir_control_plane::keys::Key;
use weir_proto::control::records::v1 as records;

use super::Promises;
use super::truth::{put, read};
use crate::fleet::history::{History, Outcome, Write};
use crate::fleet::hosts::DUTY_KEY;

/// One record that an operator had written.
struct Made {
    target: String,
    write_id: String,
    revision: u64,
}

/// Every such record, in the order of the store.
fn made(history: &History) -> Vec<Made> {
    let records = history.stored.iter().filter_map(|stored| {
        let (key, entry) = put(stored)?;
        match key {
            Key::ProfileRevision { .. } => {
                let record: records::Profile = read(entry);
                Some(Made {
                    target: record.scope,
                    write_id: record.write_id,
                    revision: record.revision,
                })
            }
            Key::Weights { .. } => {
                let record: records::Weights = read(entry);
                Some(Made {
                    target: record.service,
                    write_id: record.write_id,
                    revision: record.revision,
                })
            }
            _ => None,
        }
    });
    records.collect()
}

/// A write that was acknowledged is in the history once, as the revision that was told, after those that were
/// acknowledged before it began.
pub(super) fn acknowledged_writes_are_made_once(history: &History, _: &Promises) -> Vec<String> {
    let made = made(history);
    let mut found = Vec::new();
    for write in &history.writes {
        let Outcome::Made(revision) = write.outcome else {
            continue;
        };
        let its: Vec<u64> = made
            .iter()
            .filter(|made| made.target == write.target && made.write_id == write.write_id)
            .map(|made| made.revision)
            .collect();
        if its != [revision] {
            let Write {
                target, write_id, ..
            } = write;
            found.push(format!(
                "{write_id} on {target}: told {revision}, made {its:?}"
            ));
        }
        let later = history.writes.iter().find(|other| {
            let is_older = matches!(other.outcome, Outcome::Made(of) if of <= revision);
            other.target == write.target && other.began > write.ended && is_older
        });
        if let Some(later) = later {
            let (first, second) = (&write.write_id, &later.write_id);
            found.push(format!("{second} began after {first} and is before it"));
        }
    }
    found
}

/// A write that was refused is nowhere in the history.
pub(super) fn refused_writes_are_not_made(history: &History, _: &Promises) -> Vec<String> {
    let made = made(history);
    let refused = history
        .writes
        .iter()
        .filter(|write| write.outcome == Outcome::Refused);
    refused
        .filter(|write| made.iter().any(|made| made.write_id == write.write_id))
        .map(|write| format!("{} on {}", write.write_id, write.target))
        .collect()
}

/// Revisions of one scope or service go 1, 2, 3.
pub(super) fn revisions_follow_each_other(history: &History, _: &Promises) -> Vec<String> {
    let mut newest: BTreeMap<String, u64> = BTreeMap::new();
    let mut found = Vec::new();
    for made in made(history) {
        let newest = newest.entry(made.target.clone()).or_default();
        if made.revision != *newest + 1 {
            let (target, revision) = (&made.target, made.revision);
            found.push(format!("{target}: {revision} after {newest}"));
        }
        *newest = made.revision;
    }
    found
}

/// What a leader may do alone is never done by an older one after a younger one.
pub(super) fn terms_never_go_down(history: &History, _: &Promises) -> Vec<String> {
    let duties = history
        .stored
        .iter()
        .filter_map(|stored| match &stored.event.kind {
            weir_control_plane::store::EventKind::Put(entry) if entry.key == DUTY_KEY => {
                let term: u64 = std::str::from_utf8(&entry.value).ok()?.parse().ok()?;
                Some((stored.at, term))
            }
            _ => None,
        });
    let duties: Vec<_> = duties.collect();
    let mut found = Vec::new();
    if duties.is_empty() {
        found.push("nobody ever led".to_owned());
    }
    for pair in duties.windows(2) {
        if let [(_, before), (at, after)] = pair
            && after < before
        {
            found.push(format!("{after} after {before} at {at:?}"));
        }
    }
    found
}

/// No instance believes that it leads while another one does.
pub(super) fn one_leads_at_a_time(history: &History, _: &Promises) -> Vec<String> {
    let mut leading: BTreeMap<&str, u64> = BTreeMap::new();
    let mut found = Vec::new();
    for belief in &history.beliefs {
        match belief.term {
            Some(term) => drop(leading.insert(&belief.instance, term)),
            None => drop(leading.remove(&*belief.instance)),
        }
        if leading.len() > 1 {
            found.push(format!("{leading:?} at {:?}", belief.at));
        }
    }
    found
}
