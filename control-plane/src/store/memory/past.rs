//! What happened, and reads of what was.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::state::State;
use crate::store::{Entry, Error, Event, List, Page, Revision, StoreId, check_known};

/// A look into the history ends after this many revisions.
const REVISIONS_AT_ONCE_MAX: usize = 1000;

/// One revision's events.
pub(super) type Changed = (Revision, Vec<Event>);

/// A part of the history: what happened, and the revision up to which it was read.
pub(super) struct Part {
    pub(super) changes: Vec<Changed>,
    pub(super) read_to: Revision,
}

/// The history since compaction.
pub(super) struct Past {
    changes: VecDeque<Changed>,
    compacted: u64,
    revisions_max: u64,
}

impl Past {
    pub(super) fn new(revisions_max: u64) -> Self {
        Self {
            changes: VecDeque::new(),
            compacted: 0,
            revisions_max,
        }
    }

    /// Adds the newest revision, and forgets what is too old for it.
    pub(super) fn add(&mut self, revision: Revision, events: Vec<Event>) {
        self.changes.push_back((revision, events));
        self.forget_before(revision.0.saturating_sub(self.revisions_max));
    }

    /// Forgets what was before `at`.
    pub(super) fn compact(&mut self, at: Revision, newest: Revision) -> Result<(), Error> {
        if at.0 <= self.compacted {
            return Err(self.compacted(at));
        }
        check_known(at, newest.0, self.compacted)?;
        self.forget_before(at.0);
        Ok(())
    }

    /// What happened below a prefix from a revision on.
    pub(super) fn read(&self, prefix: &[u8], from: Revision) -> Result<Part, Error> {
        if from.0 < self.compacted {
            return Err(self.compacted(from));
        }
        let since = self.since(from).take(REVISIONS_AT_ONCE_MAX);
        let mut part = Part {
            changes: Vec::new(),
            read_to: Revision(from.0.saturating_sub(1)),
        };
        for (revision, events) in since {
            part.read_to = *revision;
            let below = events.iter().filter(|event| event.key.starts_with(prefix));
            let below: Vec<Event> = below.cloned().collect();
            if !below.is_empty() {
                part.changes.push((*revision, below));
            }
        }
        Ok(part)
    }

    fn since(&self, from: Revision) -> impl DoubleEndedIterator<Item = &Changed> {
        let first = self
            .changes
            .partition_point(|(revision, _)| *revision < from);
        self.changes.range(first..)
    }

    fn forget_before(&mut self, oldest: u64) {
        self.compacted = self.compacted.max(oldest);
        let known = |(revision, _): &Changed| revision.0 >= self.compacted;
        while self.changes.front().is_some_and(|oldest| !known(oldest)) {
            self.changes.pop_front();
        }
    }

    fn compacted(&self, asked: Revision) -> Error {
        Error::Compacted {
            asked,
            compacted: Some(Revision(self.compacted)),
        }
    }
}

impl State {
    /// The entry at a key, now or then.
    pub(super) fn get_at(&self, key: &Bytes, at: Option<Revision>) -> Result<Option<Entry>, Error> {
        Ok(self.then(key, at)?.get(key).map(|entry| (*entry).clone()))
    }

    /// One page of the entries below a prefix.
    pub(super) fn list(&self, list: &List, id: StoreId) -> Result<Page, Error> {
        let found = self.then(&list.prefix, list.at)?;
        let is_next = |key: &Bytes| list.after.as_ref().is_none_or(|after| key > after);
        let mut rest = found.into_iter().filter(|(key, _)| is_next(key));
        let entries = rest.by_ref().take(list.entries_max);
        Ok(Page {
            entries: entries.map(|(_, entry)| entry.clone()).collect(),
            more: rest.next().is_some(),
            revision: self.revision(),
            store: id,
        })
    }

    /// What is below a prefix: the present, with every change after `at` undone.
    fn then(
        &self,
        prefix: &Bytes,
        at: Option<Revision>,
    ) -> Result<BTreeMap<&Bytes, &Entry>, Error> {
        let present = self.keys.range(prefix.clone()..);
        let mut then: BTreeMap<&Bytes, &Entry> = present
            .take_while(|(key, _)| key.starts_with(prefix))
            .collect();
        let Some(at) = at else {
            return Ok(then);
        };
        check_known(at, self.revision().0, self.past.compacted)?;
        let since = self.past.since(at.next()).rev();
        let undone = since.flat_map(|(_, events)| events.iter().rev());
        for event in undone.filter(|event| event.key.starts_with(prefix)) {
            match &event.previous {
                Some(previous) => then.insert(&event.key, previous),
                None => then.remove(&event.key),
            };
        }
        Ok(then)
    }
}
