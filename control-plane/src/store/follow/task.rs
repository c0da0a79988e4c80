//! Lists, tells the difference, watches, and begins anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::Instant;
use weir_core::backoff::Backoff;

use super::{Followed, Options, Reason};
use crate::store::{
    Entry, Error, Event, EventKind, Pages, Revision, Store, StoreId, Watch, WatchStream, Watched,
};

/// What the reader knows.
struct Told {
    store: StoreId,
    revision: Revision,
    entries: BTreeMap<Bytes, Entry>,
}

/// Why a watch ended.
enum End {
    Audit,
    Failed(Error),
    /// Nobody reads any more.
    Unread,
}

/// The follower at work.
pub(super) struct Task {
    store: Arc<dyn Store>,
    prefix: Bytes,
    options: Options,
    random: fastrand::Rng,
    backoff: Backoff,
    tell: mpsc::Sender<Followed>,
    told: Option<Told>,
    is_lost: bool,
}

impl Task {
    /// One that has told nothing yet.
    pub(super) fn new(
        store: Arc<dyn Store>,
        prefix: Bytes,
        options: Options,
        tell: mpsc::Sender<Followed>,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(options.seed);
        let waits = options.backoff_min..=options.backoff_max;
        Self {
            store,
            prefix,
            backoff: Backoff::new(waits, random.fork()),
            random,
            options,
            tell,
            told: None,
            is_lost: false,
        }
    }

    /// Tells until nobody reads any more.
    pub(super) async fn run(mut self) {
        let mut reason = Reason::Lost;
        loop {
            let begun = Instant::now();
            let error = match self.round(reason).await {
                End::Unread => return,
                End::Audit => {
                    reason = Reason::Audit;
                    continue;
                }
                End::Failed(error) => error,
            };
            reason = match error {
                Error::Compacted { .. } => Reason::Compacted,
                Error::Future { .. } => Reason::OtherStore,
                _ => Reason::Lost,
            };
            let prefix = self.prefix.escape_ascii();
            // That a store is away is told by the store, once.
            match error.is_ambiguous() {
                true => tracing::debug!(%error, %prefix, "the watch ended"),
                false => tracing::warn!(%error, %prefix, "the watch ended"),
            }
            if !self.is_lost && self.send(Followed::Lost(error)).await.is_err() {
                return;
            }
            self.is_lost = true;
            self.back_off(begun.elapsed()).await;
        }
    }

    async fn back_off(&mut self, lasted: Duration) {
        if lasted >= self.options.healthy_after {
            self.backoff.reset();
        }
        tokio::time::sleep(self.backoff.next_wait()).await;
    }

    /// Lists, tells the difference and watches, until something ends it.
    async fn round(&mut self, reason: Reason) -> End {
        let found = match self.list_all().await {
            Ok(found) => found,
            Err(error) => return End::Failed(error),
        };
        let watch = Watch {
            prefix: self.prefix.clone(),
            from: found.revision.next(),
        };
        if self.tell_found(found, reason).await.is_err() {
            return End::Unread;
        }
        match self.store.watch(watch).await {
            Ok(stream) => self.watch(stream).await,
            Err(error) => End::Failed(error),
        }
    }

    /// Everything below the prefix at one revision.
    async fn list_all(&self) -> Result<Told, Error> {
        let mut pages = Pages::below(&*self.store, self.prefix.clone());
        let mut told: Option<Told> = None;
        while let Some(page) = pages.next().await? {
            let told = told.get_or_insert(Told {
                store: page.store,
                revision: page.revision,
                entries: BTreeMap::new(),
            });
            told.store = page.store;
            let entries = page.entries.into_iter();
            let entries = entries.filter(|entry| !self.is_left_out(&entry.key));
            told.entries
                .extend(entries.map(|entry| (entry.key.clone(), entry)));
        }
        Ok(told.expect("there is a first page"))
    }

    async fn tell_found(&mut self, found: Told, reason: Reason) -> Result<(), End> {
        let revision = found.revision;
        let Some(told) = self.told.replace(found) else {
            self.is_lost = false;
            let entries = self
                .told
                .iter()
                .flat_map(|told| told.entries.values().cloned());
            let entries = entries.collect();
            return self.send(Followed::Snapshot { revision, entries }).await;
        };
        let Some(found) = &self.told else {
            return Ok(());
        };
        let events = difference(&told.entries, &found.entries);
        let is_other = found.store != told.store
            || revision < told.revision
            || went_back(&told.entries, &found.entries);
        if reason == Reason::Audit && !is_other && events.is_empty() {
            return Ok(());
        }
        self.is_lost = false;
        let reason = if is_other { Reason::OtherStore } else { reason };
        self.send(Followed::Resync {
            revision,
            reason,
            events,
        })
        .await
    }

    /// Passes on what happens until the watch ends or the audit is due.
    async fn watch(&mut self, mut stream: WatchStream) -> End {
        let audit_in = self
            .options
            .audit_every
            .mul_f64(0.8 + 0.4 * self.random.f64());
        let audit_at = Instant::now() + audit_in;
        loop {
            let item = tokio::select! {
                biased;
                () = self.tell.closed() => return End::Unread,
                item = stream.next() => item,
                () = tokio::time::sleep_until(audit_at) => return End::Audit,
            };
            match item {
                Some(Ok(Watched::Changed { revision, events })) => {
                    if self.tell_change(revision, events).await.is_err() {
                        return End::Unread;
                    }
                }
                Some(Ok(Watched::Progress(_))) => {}
                Some(Err(error)) => return End::Failed(error),
                None => return End::Failed(ended()),
            }
        }
    }

    fn is_left_out(&self, key: &Bytes) -> bool {
        let except = &self.options.except;
        !except.is_empty() && key.starts_with(except)
    }

    async fn tell_change(&mut self, revision: Revision, mut events: Vec<Event>) -> Result<(), End> {
        let all = events.len();
        events.retain(|event| !self.is_left_out(&event.key));
        let Some(told) = &mut self.told else {
            return Ok(());
        };
        if revision <= told.revision {
            // Some servers repeat events.
            return Ok(());
        }
        told.revision = revision;
        if events.is_empty() && all > 0 {
            return Ok(());
        }
        for event in &events {
            match &event.kind {
                EventKind::Put(entry) => told.entries.insert(event.key.clone(), entry.clone()),
                EventKind::Deleted => told.entries.remove(&event.key),
            };
        }
        self.send(Followed::Changed { revision, events }).await
    }

    async fn send(&self, item: Followed) -> Result<(), End> {
        self.tell.send(item).await.map_err(|_| End::Unread)
    }
}

fn ended() -> Error {
    Error::Unavailable {
        reason: "the watch ended".to_owned(),
    }
}

/// Whether an entry is older than it was: a store that was put back and written to since may be at any revision.
fn went_back(old: &BTreeMap<Bytes, Entry>, new: &BTreeMap<Bytes, Entry>) -> bool {
    let before = |entry: &Entry| old.get(&entry.key).map(|old| old.mod_revision);
    new.values()
        .any(|entry| before(entry).is_some_and(|before| before > entry.mod_revision))
}

/// What makes the second of the first. Entries of one mod revision and version with the same value are the same.
fn difference(old: &BTreeMap<Bytes, Entry>, new: &BTreeMap<Bytes, Entry>) -> Vec<Event> {
    let changed = new
        .values()
        .filter(|entry| old.get(&entry.key) != Some(entry));
    let put = changed.map(|entry| Event {
        key: entry.key.clone(),
        kind: EventKind::Put(entry.clone()),
        previous: old.get(&entry.key).cloned(),
    });
    let gone = old.values().filter(|entry| !new.contains_key(&entry.key));
    let deleted = gone.map(|entry| Event {
        key: entry.key.clone(),
        kind: EventKind::Deleted,
        previous: Some(entry.clone()),
    });
    let mut events: Vec<Event> = put.chain(deleted).collect();
    events.sort_by(|a, b| a.key.cmp(&b.key));
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(all: &[(&'static str, u64)]) -> BTreeMap<Bytes, Entry> {
        let entry = |(key, at): &(&'static str, u64)| Entry {
            key: Bytes::from_static(key.as_bytes()),
            value: Bytes::new(),
            create_revision: Revision(1),
            mod_revision: Revision(*at),
            version: 1,
            lease: None,
        };
        let all = all.iter().map(entry);
        all.map(|entry| (entry.key.clone(), entry)).collect()
    }

    #[test]
    fn only_an_older_state_has_an_older_entry() {
        let before = entries(&[("a", 5), ("b", 9)]);
        assert!(!went_back(&before, &before));
        assert!(!went_back(&before, &entries(&[("a", 12), ("c", 2)])));
        assert!(went_back(&before, &entries(&[("a", 12), ("b", 8)])));
    }
}
