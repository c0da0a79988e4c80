//! Changes of values of this node.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;
use tonic::Status;
use weir_cache::aside::{TOO_MANY_ENDS, Watcher};
use weir_cache::{Resource, Store};
use weir_core::aside::{Change, Scope, Watched, What};
use weir_proto::node::v1 as pb;

use super::super::{CacheApi, Error};
use crate::data_plane::answer::Reason;

/// Changes that are read at a time.
const READ_MAX: usize = 256;

/// Changes of this node.
pub(super) struct Here {
    store: Arc<Store<Reason>>,
    node: Arc<str>,
    namespace: Arc<str>,
    watched: Watched,
    seq: u64,
    first: VecDeque<pb::ValueChange>,
    read: VecDeque<Arc<Change>>,
    last: watch::Receiver<u64>,
    is_over: bool,
    _place: Watcher,
}

impl Here {
    pub(super) fn begin(
        api: &CacheApi,
        namespace: Arc<str>,
        watched: Watched,
        since: Option<&pb::WatchPosition>,
    ) -> Result<Self, Error> {
        let store = Arc::clone(api.tier.store());
        let place = store.values.changes.watcher().map_err(|full| Error::Busy {
            what: "watchers",
            why: full.to_string(),
        })?;
        let last = store.values.changes.last();
        let newest = *last.borrow();
        let mut here = Self {
            seq: newest,
            store,
            node: Arc::clone(&api.node),
            namespace,
            watched,
            first: VecDeque::new(),
            read: VecDeque::new(),
            last,
            is_over: false,
            _place: place,
        };
        if let Some(since) = since {
            here.resume(since);
        }
        here.first.push_back(here.told("watching"));
        here.wait_for_end(api);
        if here.store.values.changes.misses_ends() {
            let reason = TOO_MANY_ENDS.to_owned();
            let gap = here.told("gap");
            here.first.push_back(pb::ValueChange { reason, ..gap });
        }
        Ok(here)
    }

    /// Goes on after what was seen, or tells that this cannot be.
    fn resume(&mut self, since: &pb::WatchPosition) {
        let changes = &self.store.values.changes;
        // Epoch 0: whatever this process has.
        let is_same = since.epoch == changes.epoch() || since.epoch == 0;
        let kept = changes.after(since.seq, 1);
        match is_same && kept.is_ok() {
            true => self.seq = since.seq,
            false => {
                let reason = match is_same {
                    true => "changes since then are not kept any more",
                    false => "the node has restarted",
                };
                self.first.push_back(pb::ValueChange {
                    reason: reason.to_owned(),
                    ..self.told("gap")
                });
            }
        }
    }

    /// The end of a value that was put before is told too, if it is known which one is watched.
    fn wait_for_end(&self, api: &CacheApi) {
        if let Watched::Key(key) = &self.watched
            && let Ok(resource) = Resource::of_value(&self.namespace, key)
            && let Some(entry) = self.store.value_in_memory(&resource, &api.node, api.now())
        {
            self.store.values.changes.watch_end(&entry);
        }
    }

    fn told(&self, kind: &str) -> pb::ValueChange {
        pb::ValueChange {
            kind: kind.to_owned(),
            at: Some(pb::WatchPosition {
                node: self.node.to_string(),
                epoch: self.store.values.changes.epoch(),
                seq: self.seq,
            }),
            ..pb::ValueChange::default()
        }
    }

    pub(super) async fn next(&mut self) -> Option<Result<pb::ValueChange, Status>> {
        if let Some(first) = self.first.pop_front() {
            return Some(Ok(first));
        }
        while !self.is_over {
            while let Some(change) = self.read.pop_front() {
                self.seq = change.seq;
                if change.concerns(&self.namespace, &self.watched) {
                    return Some(Ok(self.shown(&change)));
                }
            }
            match self.store.values.changes.after(self.seq, READ_MAX) {
                Ok(read) if read.is_empty() => self.last.changed().await.ok()?,
                Ok(read) => self.read = read.into(),
                Err(missed) => {
                    self.is_over = true;
                    return Some(Err(too_slow(&self.node, self.seq, missed.last)));
                }
            }
        }
        None
    }

    fn shown(&self, change: &Change) -> pb::ValueChange {
        let (kind, scope, reason) = match &change.what {
            What::Put => ("put", String::new(), ""),
            What::Touched => ("touched", String::new(), ""),
            What::Expired => ("expired", String::new(), ""),
            What::Purged(Scope::Key(key)) => ("purged", format!("key={key}"), ""),
            What::Purged(Scope::Prefix(prefix)) => ("purged", format!("prefix={prefix}"), ""),
            What::Purged(Scope::Tag(tag)) => ("purged", format!("tag={tag}"), ""),
            What::Purged(Scope::All) => ("purged", "all".to_owned(), ""),
            What::Gap(why) => ("gap", String::new(), *why),
        };
        pb::ValueChange {
            key: change.key.to_string(),
            version: change.version.clone(),
            tags: change.tags.to_vec(),
            scope,
            reason: reason.to_owned(),
            ..self.told(kind)
        }
    }
}

/// Why a watcher is cut.
fn too_slow(node: &str, seq: u64, last: u64) -> Status {
    Status::resource_exhausted(format!(
        "too slow: change {} of node {node} is not kept any more (the newest is {last}); read what is watched anew, \
         and watch again",
        seq + 1
    ))
}
