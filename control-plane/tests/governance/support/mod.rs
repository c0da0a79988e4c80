//! Stores, clocks, servers and certificates for the tests.

pub(crate) mod certs;
pub(crate) mod server;
pub(crate) mod unsteady;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use weir_control_plane::clock::NowUnixMs;
use weir_control_plane::governance::audit::Actor;
use weir_control_plane::governance::identity::Role;
use weir_control_plane::governance::secret::Secret;
use weir_control_plane::governance::tokens::{NewToken, TokenTable, Tokens};
use weir_control_plane::keys::{DEFAULT_NAMESPACE, Keys};
use weir_control_plane::store::embedded::{EmbeddedStore, Options};
use weir_control_plane::store::follow::{self, follow};
use weir_control_plane::store::{List, Store};

/// No step of any test takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// When the tests begin: 2026-11-25.
pub(crate) const BEGIN_MS: u64 = 1_795_564_800_000;

/// A wall clock that is moved by hand.
#[derive(Clone)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(BEGIN_MS)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        let by_ms = u64::try_from(by.as_millis()).unwrap();
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> NowUnixMs {
        let clock = Arc::clone(&self.0);
        Arc::new(move || clock.load(Ordering::SeqCst))
    }
}

/// A store, the tokens in it, and the table that follows them.
pub(crate) struct Home {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) tokens: Tokens,
    pub(crate) table: Arc<TokenTable>,
    pub(crate) folder: TempDir,
    keeper: tokio::task::JoinHandle<()>,
}

impl Drop for Home {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

pub(crate) async fn home() -> Home {
    let folder = tempfile::tempdir().unwrap();
    let store = embedded(&folder).await;
    let table = Arc::new(TokenTable::new(keys()));
    let follower = follow(Arc::clone(&store), keys().tokens(), follow::Options::new(7));
    let kept = Arc::clone(&table);
    let keeper = tokio::spawn(async move { kept.keep(follower).await });
    let home = Home {
        tokens: Tokens::new(Arc::clone(&store), keys()).with_table(Arc::clone(&table)),
        store,
        table,
        folder,
        keeper,
    };
    let mut generation = home.table.generation();
    let begun = generation.wait_for(|generation| *generation > 0);
    tokio::time::timeout(PATIENCE, begun)
        .await
        .unwrap()
        .unwrap();
    home
}

pub(crate) async fn embedded(folder: &TempDir) -> Arc<dyn Store> {
    let options = Options::new(folder.path(), 7);
    Arc::new(EmbeddedStore::open(options).await.unwrap())
}

/// Those of all tests.
pub(crate) fn keys() -> Keys {
    Keys::new(DEFAULT_NAMESPACE).unwrap()
}

pub(crate) fn alice() -> Actor {
    Actor {
        author: "alice".to_owned(),
        role: Role::Admin,
    }
}

pub(crate) fn token(name: &str, role: Role) -> NewToken {
    NewToken {
        name: name.to_owned(),
        role,
        subject: String::new(),
        ttl_ms: 0,
    }
}

impl Home {
    pub(crate) async fn create(&self, token: &NewToken) -> Secret {
        let created = self.tokens.create(&alice(), token, BEGIN_MS).await;
        created.unwrap()
    }

    /// How many keys there are below a prefix.
    pub(crate) async fn count(&self, prefix: Bytes) -> usize {
        let list = List {
            prefix,
            entries_max: 200,
            ..List::default()
        };
        let page = self.store.list(list).await.unwrap();
        assert!(!page.more);
        page.entries.len()
    }
}
