//! What is asked of a store, and what it answers.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

/// A state of the whole store. Rises by one with each change; an empty store is at 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// The one after this.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Tells one store from another. Revisions of different stores must not be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(pub u64);

/// Names a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// A lease as granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// How long it lives without a keep-alive; at least what was asked for.
    pub ttl: Duration,
}

/// A key and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// When the key came to be; a key deleted and put again has a new one.
    pub create_revision: Revision,
    /// When it was last put.
    pub mod_revision: Revision,
    /// How often it was put since it came to be.
    pub version: u64,
    /// The lease that it dies with.
    pub lease: Option<LeaseId>,
}

/// A condition on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key is there.
    Exists(Bytes),
    /// The key is not there.
    Absent(Bytes),
    /// The key was last put at this revision; 0 stands for a key that is not there.
    ModRevision(Bytes, Revision),
    /// The key came to be at this revision: the fence. 0 stands for a key that is not there.
    CreateRevision(Bytes, Revision),
    /// The key is there and holds this value.
    Value(Bytes, Bytes),
}

impl Compare {
    /// The key that it looks at.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Exists(key)
            | Self::Absent(key)
            | Self::ModRevision(key, _)
            | Self::CreateRevision(key, _)
            | Self::Value(key, _) => key,
        }
    }

    /// Whether it holds for what is at the key.
    pub fn holds(&self, found: Option<&Entry>) -> bool {
        match self {
            Self::Exists(_) => found.is_some(),
            Self::Absent(_) => found.is_none(),
            Self::ModRevision(_, at) => found.map_or(Revision(0), |e| e.mod_revision) == *at,
            Self::CreateRevision(_, at) => found.map_or(Revision(0), |e| e.create_revision) == *at,
            Self::Value(_, value) => found.is_some_and(|entry| entry.value == *value),
        }
    }
}

/// One step of a transaction. A later step sees what an earlier one did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Puts a value, attached to this lease and to no other: `None` makes the key permanent, even if it was not.
    Put {
        /// Where.
        key: Bytes,
        /// What.
        value: Bytes,
        /// What it dies with.
        lease: Option<LeaseId>,
    },
    /// Deletes a key.
    Delete(Bytes),
    /// Reads a key.
    Get(Bytes),
}

impl Op {
    /// Puts a value that belongs to no lease.
    pub fn put(key: Bytes, value: Bytes) -> Self {
        Self::Put {
            key,
            value,
            lease: None,
        }
    }

    /// The key that it reads or writes.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Delete(key) | Self::Get(key) => key,
        }
    }
}

/// Conditions, and what to do if all hold or if one does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All of these must hold for `then`.
    pub when: Vec<Compare>,
    /// Done if all hold.
    pub then: Vec<Op>,
    /// Done otherwise.
    pub or_else: Vec<Op>,
}

impl Txn {
    /// Does nothing unless all hold.
    pub fn only_if(when: Vec<Compare>, then: Vec<Op>) -> Self {
        Self {
            when,
            then,
            or_else: Vec::new(),
        }
    }
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnOutcome {
    /// Whether all conditions held.
    pub succeeded: bool,
    /// The revision that it took, or the newest one if it wrote nothing.
    pub revision: Revision,
    /// One for each operation done, in order.
    pub results: Vec<OpResult>,
}

/// What one operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// The value is there.
    Put,
    /// Whether there was something to delete.
    Deleted(bool),
    /// What was read.
    Got(Option<Entry>),
}

/// What to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Only keys that begin with this; empty for all.
    pub prefix: Bytes,
    /// Only keys after this one: the last key of the page before.
    pub after: Option<Bytes>,
    /// As it was then: the revision of the first page, for the pages after it.
    pub at: Option<Revision>,
    /// At most this many entries; a page may hold fewer although more follow.
    pub entries_max: usize,
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In order of their keys.
    pub entries: Vec<Entry>,
    /// Whether there are more after these.
    pub more: bool,
    /// The newest revision of the store; of a page without [`List::at`], the revision that it shows.
    pub revision: Revision,
    /// The store that answered.
    pub store: StoreId,
}

/// What to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Only keys that begin with this; empty for all.
    pub prefix: Bytes,
    /// The first revision to tell of: that of a list, plus one.
    pub from: Revision,
}

/// One item of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Everything that one revision did below the prefix.
    Changed {
        /// Higher than that of the item before.
        revision: Revision,
        /// In the order in which it was done.
        events: Vec<Event>,
    },
    /// Nothing happened, and the watch is alive. The revision is a hint: some servers send it too early.
    Progress(Revision),
}

/// A key was put or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The key.
    pub key: Bytes,
    /// What happened to it.
    pub kind: EventKind,
    /// What was there before; `None` too if it was compacted since.
    pub previous: Option<Entry>,
}

/// What happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It holds this now.
    Put(Entry),
    /// It is gone.
    Deleted,
}

/// How a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether it takes writes: it has a leader, has space and raised no alarm.
    pub healthy: bool,
    /// Why it is not healthy, one line each.
    pub problems: Vec<String>,
    /// The newest revision.
    pub revision: Revision,
    /// The member that leads, for a cluster that has a leader.
    pub leader: Option<u64>,
    /// Which store it is.
    pub store: StoreId,
    /// What it takes on disk; of a store in memory, what it holds.
    pub disk_bytes: u64,
}
