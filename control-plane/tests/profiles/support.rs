//! Stores with profiles on them, and short words for what the tests do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_control_plane::governance::audit::Actor;
use weir_control_plane::governance::identity::Role;
use weir_control_plane::keys::{DEFAULT_NAMESPACE, Keys};
use weir_control_plane::profiles::{
    NodeFacts, ProfileBook, ProfileStore, ProfileView, PutError, PutOutcome,
};
use weir_control_plane::store::embedded::{self, EmbeddedStore};
use weir_control_plane::store::etcd::{self as client, EtcdStore};
use weir_control_plane::store::follow::{Followed, Options, follow};
use weir_control_plane::store::{EventKind, Store};
use weir_core::tuning::Problem;
use weir_proto::control::v1::{GroupSelector, PutProfileRequest, TextSetting};

use crate::etcd::Etcd;

/// No step of any test takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// When everything happens, if the test does not say otherwise.
pub(crate) const NOW: u64 = 1_772_366_400_000;

/// A shared store.
pub(crate) type Shared = Arc<dyn Store>;

/// An embedded store that is empty, and its folder.
pub(crate) async fn embedded() -> (TempDir, Shared) {
    let folder = tempfile::tempdir().unwrap();
    let options = embedded::Options::new(folder.path(), 7);
    let store = EmbeddedStore::open(options).await.unwrap();
    (folder, Arc::new(store))
}

/// A real etcd that is empty, and a store on it.
pub(crate) async fn etcd() -> (Etcd, Shared) {
    let etcd = Etcd::start().await;
    let options = client::Options::new(vec![etcd.endpoint()]);
    let store = EtcdStore::connect(options).await.unwrap();
    (etcd, Arc::new(store))
}

/// Profiles on a store, followed as a control plane does.
pub(crate) struct Home {
    pub(crate) store: Shared,
    pub(crate) keys: Keys,
    pub(crate) profiles: ProfileStore,
    pub(crate) views: watch::Receiver<Arc<ProfileView>>,
    follower: JoinHandle<()>,
    write_ids: AtomicU64,
}

impl Drop for Home {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Home {
    pub(crate) fn on(store: Shared) -> Self {
        let keys = Keys::new(DEFAULT_NAMESPACE).unwrap();
        let book = ProfileBook::new(keys.clone());
        let (publish, views) = watch::channel(Arc::default());
        let profiles = ProfileStore::new(store.clone(), keys.clone(), views.clone());
        let follower = tokio::spawn(follow_profiles(store.clone(), keys.clone(), book, publish));
        Self {
            store,
            keys,
            profiles,
            views,
            follower,
            write_ids: AtomicU64::new(1),
        }
    }

    /// The same profiles, written through another store.
    pub(crate) fn through(&self, store: Shared) -> ProfileStore {
        ProfileStore::new(store, self.keys.clone(), self.views.clone())
    }

    /// A request to set these, with a write id of its own.
    pub(crate) fn request(
        &self,
        scope: &str,
        expected_revision: u64,
        set: &[(&str, &str)],
    ) -> PutProfileRequest {
        let write_id = self.write_ids.fetch_add(1, Ordering::Relaxed);
        PutProfileRequest {
            scope: scope.to_owned(),
            expected_revision,
            write_id: format!("w{write_id}"),
            set: texts(set),
            ..PutProfileRequest::default()
        }
    }

    /// Sets these over a revision.
    pub(crate) async fn set(
        &self,
        scope: &str,
        expected: u64,
        set: &[(&str, &str)],
    ) -> Result<PutOutcome, PutError> {
        self.put(&self.request(scope, expected, set)).await
    }

    pub(crate) async fn put(&self, request: &PutProfileRequest) -> Result<PutOutcome, PutError> {
        self.put_with(request, NOW, &[]).await
    }

    pub(crate) async fn put_with(
        &self,
        request: &PutProfileRequest,
        now_unix_ms: u64,
        nodes: &[NodeFacts],
    ) -> Result<PutOutcome, PutError> {
        let ana = operator("ana");
        self.profiles.put(request, &ana, now_unix_ms, nodes).await
    }

    /// Waits until the view is like this.
    pub(crate) async fn view(&self, is: impl FnMut(&Arc<ProfileView>) -> bool) -> Arc<ProfileView> {
        let mut views = self.views.clone();
        let view = tokio::time::timeout(PATIENCE, views.wait_for(is)).await;
        Arc::clone(&view.expect("a view in time").unwrap())
    }

    /// The store's newest revision.
    pub(crate) async fn store_revision(&self) -> u64 {
        self.store.status().await.unwrap().revision.0
    }
}

/// What the control plane does with what the store tells.
async fn follow_profiles(
    store: Shared,
    keys: Keys,
    mut book: ProfileBook,
    publish: watch::Sender<Arc<ProfileView>>,
) {
    let mut follower = follow(store, keys.profiles(), Options::new(1));
    while let Some(item) = follower.next().await {
        match item {
            Followed::Snapshot { entries, .. } => {
                for entry in entries {
                    book.put(&entry.key, &entry.value, entry.mod_revision.0);
                }
            }
            Followed::Changed { events, .. } | Followed::Resync { events, .. } => {
                for event in events {
                    match event.kind {
                        EventKind::Put(e) => book.put(&e.key, &e.value, e.mod_revision.0),
                        EventKind::Deleted => book.delete(&event.key),
                    };
                }
            }
            Followed::Lost(_) => continue,
        }
        publish.send_replace(book.snapshot());
    }
}

/// Somebody who may write.
pub(crate) fn operator(author: &str) -> Actor {
    Actor {
        author: author.to_owned(),
        role: Role::Operator,
    }
}

pub(crate) fn texts(set: &[(&str, &str)]) -> Vec<TextSetting> {
    let text = |(path, value): &(&str, &str)| TextSetting {
        path: (*path).to_owned(),
        value: (*value).to_owned(),
    };
    set.iter().map(text).collect()
}

pub(crate) fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    labels.iter().map(owned).collect()
}

pub(crate) fn selector(of: &[(&str, &str)], priority: u32) -> Option<GroupSelector> {
    Some(GroupSelector {
        labels: labels(of),
        priority,
    })
}

pub(crate) fn node(id: &str, of: &[(&str, &str)]) -> NodeFacts {
    NodeFacts {
        id: id.to_owned(),
        labels: labels(of),
    }
}

/// The problems of a refused write.
pub(crate) fn problems(result: Result<PutOutcome, PutError>) -> Vec<Problem> {
    match result {
        Err(PutError::Problems(problems)) => problems,
        other => panic!("{other:?} is no refusal"),
    }
}

/// Each problem's path, in order.
pub(crate) fn paths(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| &*problem.path).collect()
}
