//! The start of a run: what to start from, and what the runs before mean.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use weir_core::error::chain;
use weir_core::probation::{
    BootDecision, BootFacts, CRASHES_MAX, ContentHash, LastRun, Probation, Standing,
};
use weir_proto::sync::content_hash;

use super::error::Error;
use super::files::{Disk, Files, replace};
use super::found::{Found, LastRunFile};
use super::records::{SlotRecord, encode_quarantine};
use super::slots::Slots;
use super::{LastKnownGood, QUARANTINE, QUARANTINED_MAX, Quarantined, TEXT_BYTES_MAX};

/// What a node starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The content; without any the node starts from its file alone.
    pub start_from: Option<Content>,
    /// The last run did not end in order.
    pub crashed: bool,
    /// Went into quarantine now: the node rolls back, [`Boot::back_to`] says to what.
    pub rolled_back: Option<ContentHash>,
    /// Everything in quarantine, the oldest first.
    pub quarantined: Vec<Quarantined>,
    /// What cannot be used or written, for the log and the status.
    pub notes: Vec<String>,
}

impl Boot {
    /// What the node starts from, for people.
    pub fn back_to(&self) -> String {
        let content = self.start_from.as_ref().map(|content| content.hash);
        match content.filter(|hash| hash.0 != content_hash(&[])) {
            Some(hash) => format!("profile {:.8}, in force before", hash.to_string()),
            None => "no profile".to_owned(),
        }
    }
}

/// Content of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// What was stored.
    pub payload: Bytes,
    /// Names it.
    pub hash: ContentHash,
    /// The epoch of the store that it comes from.
    pub epoch: String,
    /// Good or on probation.
    pub standing: Standing,
    /// Unix time at which it first came into force.
    pub applied_at: Duration,
}

impl LastKnownGood {
    /// Opens the folder `dir`, made if it is missing, for a run that starts at Unix time `now`.
    ///
    /// Never fails: a folder that cannot be used, or is used by another process, is told in [`Boot::notes`]
    /// and tried again with every write.
    pub fn open(dir: &Path, node_version: &str, now: Duration) -> (Self, Boot) {
        Self::open_with(Box::new(Disk::new(dir)), node_version, now)
    }

    pub(super) fn open_with(
        mut files: Box<dyn Files>,
        node_version: &str,
        now: Duration,
    ) -> (Self, Boot) {
        let node_version = bounded(node_version);
        let prepared = files.prepare().map_err(Error::of_folder);
        let mut found = match &prepared {
            Ok(()) => Found::read(&*files),
            Err(_) => Found::nothing(),
        };
        let entries_before = found.quarantine.len();
        found.quarantine.retain(|q| q.node_version == node_version);
        let slots = Slots::of(&found.slots);
        let decision = decide(&found, &slots, &node_version, now);
        let start_from = decision.start_from.and_then(|at| found.slots[at].take());
        let in_force = start_from.as_ref().map(|record| record.content);
        let mut lkg = Self {
            files,
            ready: prepared.is_ok(),
            ended: false,
            node_version,
            slots,
            in_force,
            applied_at: start_from.as_ref().map_or(now, |record| record.applied_at),
            run_told: false,
            crashes: decision.crashes,
            probation: Probation::starting_at(now),
            quarantine: found.quarantine,
            unsaved: None,
            tried_at: now,
            problem: None,
        };
        if let Some(hash) = decision.quarantine {
            lkg.quarantine(hash, now);
        }
        let changed = decision.quarantine.is_some() || lkg.quarantine.len() != entries_before;
        let written = prepared.and_then(|()| lkg.write_first(changed));
        if let Err(error) = written {
            found.notes.push(chain(&error));
            lkg.problem = Some(chain(&error));
        }
        let boot = Boot {
            start_from: start_from.map(Content::of),
            crashed: !matches!(found.run, LastRunFile::Absent),
            rolled_back: decision.quarantine,
            quarantined: lkg.quarantine.clone(),
            notes: found.notes,
        };
        (lkg, boot)
    }

    fn quarantine(&mut self, hash: ContentHash, now: Duration) {
        self.quarantine.push(Quarantined {
            hash,
            reason: format!("crashed the node {CRASHES_MAX} times in a row"),
            node_version: self.node_version.clone(),
            since: now,
        });
        let too_many = self.quarantine.len().saturating_sub(QUARANTINED_MAX);
        self.quarantine.drain(..too_many);
    }

    /// The crashes are forgotten only when the quarantine that follows from them is on the disk.
    fn write_first(&mut self, quarantine_changed: bool) -> Result<(), Error> {
        let mut kept = Ok(());
        if quarantine_changed {
            let bytes = encode_quarantine(&self.quarantine);
            kept = replace(&*self.files, QUARANTINE, &bytes).map_err(|source| Error::Write {
                file: QUARANTINE,
                source,
            });
        }
        if kept.is_ok() {
            let entries = &self.quarantine;
            let settled = |hash| entries.iter().any(|entry| entry.hash == hash);
            self.crashes = self.crashes.filter(|crashes| !settled(crashes.hash));
        }
        kept.and(self.tell_run())
    }
}

impl Content {
    fn of(record: SlotRecord) -> Self {
        Self {
            payload: record.payload,
            hash: record.content.hash,
            epoch: record.epoch,
            standing: record.content.standing(false),
            applied_at: record.applied_at,
        }
    }
}

fn decide(found: &Found, slots: &Slots, node_version: &str, now: Duration) -> BootDecision {
    let last_run = match &found.run {
        LastRunFile::Absent => LastRun::EndedWell,
        LastRunFile::Says(run) if run.node_version == node_version => LastRun::Crashed {
            in_force: run.in_force,
            before: run.crashes,
        },
        // What crashed another version says nothing about this one.
        LastRunFile::Says(_) | LastRunFile::Unreadable => LastRun::Crashed {
            in_force: None,
            before: None,
        },
    };
    let quarantined: Vec<ContentHash> = found.quarantine.iter().map(|q| q.hash).collect();
    let facts = BootFacts {
        now,
        slots: slots.facts(),
        last_run,
        quarantined: &quarantined,
    };
    facts.decide()
}

fn bounded(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
