//! A Redis, a tier on it, and short words for what the tests do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use weir_cache::redis::{Fetched, L2, L2Settings, L2State, Namespace};
use weir_fakes::redis::Redis;

/// No step of any test takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long values are kept where that does not matter.
pub(crate) const LONG: Duration = Duration::from_secs(600);
/// Where the tests' clocks begin, each at another stamp as those of nodes do.
static NEXT_CLOCK: AtomicU64 = AtomicU64::new(1_000);
const CLOCKS_APART: u64 = 1_000;
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const SEED: u64 = 7;

/// A tier and one namespace of it.
pub(crate) struct Tier {
    pub(crate) l2: L2,
    pub(crate) pages: Namespace,
    clock: Arc<AtomicU64>,
}

/// An empty Redis and a tier that has connected to it.
pub(crate) async fn stage() -> (Redis, Tier) {
    let redis = Redis::start();
    let tier = Tier::start(settings(&redis));
    tier.is_ready().await;
    (redis, tier)
}

/// How the tests reach a Redis.
pub(crate) fn settings(redis: &Redis) -> L2Settings {
    L2Settings::new(redis.url().parse().unwrap())
}

/// The same with time for a slow machine, where the test is not about deadlines.
pub(crate) fn patient(redis: &Redis) -> L2Settings {
    L2Settings {
        command_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        ..settings(redis)
    }
}

impl Tier {
    pub(crate) fn start(settings: L2Settings) -> Self {
        let clock = NEXT_CLOCK.fetch_add(CLOCKS_APART, Ordering::Relaxed);
        let clock = Arc::new(AtomicU64::new(clock));
        let stamps = Arc::clone(&clock);
        let now = Arc::new(move || stamps.fetch_add(1, Ordering::Relaxed));
        let l2 = L2::start(settings, now, fastrand::Rng::with_seed(SEED));
        let pages = l2.namespace("pages").unwrap();
        Self { l2, pages, clock }
    }

    /// The next stamp.
    pub(crate) fn stamp(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Waits until reads are answered.
    pub(crate) async fn is_ready(&self) {
        eventually(async || self.pages.get(b"nothing").await == Fetched::Miss).await;
    }

    /// Waits until nothing is asked any more, and returns why.
    pub(crate) async fn is_away(&self) -> String {
        let mut state = self.l2.state();
        let away = state.wait_for(|state| matches!(state, L2State::Away(_)));
        let away = tokio::time::timeout(PATIENCE, away).await.unwrap().unwrap();
        match &*away {
            L2State::Away(outage) => outage.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until Redis is asked.
    pub(crate) async fn is_up(&self) {
        let mut state = self.l2.state();
        let up = state.wait_for(|state| *state == L2State::Up);
        tokio::time::timeout(PATIENCE, up).await.unwrap().unwrap();
    }

    /// Keeps a value and waits until it is there.
    pub(crate) async fn keep(&self, key: &str, value: &'static str) {
        self.pages.put(key.as_bytes(), value.into(), LONG);
        self.finds(key, value).await;
    }

    /// Waits until this is found.
    pub(crate) async fn finds(&self, key: &str, value: &'static str) {
        eventually(async || self.pages.get(key.as_bytes()).await == hit(value)).await;
    }

    /// Waits until nothing is found.
    pub(crate) async fn misses(&self, key: &str) {
        eventually(async || self.pages.get(key.as_bytes()).await == Fetched::Miss).await;
    }
}

/// A value that was found.
pub(crate) fn hit(value: &'static str) -> Fetched {
    Fetched::Hit(Bytes::from_static(value.as_bytes()))
}

/// Waits until something is so.
pub(crate) async fn eventually(is_so: impl AsyncFn() -> bool) {
    let looks = async {
        while !is_so().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, looks)
        .await
        .expect("it is so in time");
}
