//! What memory may take, what it takes, and for how long it answers.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use weir_cache::redis::L2;
use weir_cache::{Entry, Found, MemoryLimits, PurgeLimits, Purges, Resource, SharedTier, Store};
use weir_core::cache::{self, Exchange, Key, Policy, Target, UnixMs};
use weir_core::proxy::Scheme;
use weir_core::purge::{DEFAULT_DRIFT_MAX_MS, Hlc, HlcClock};

const NOW: UnixMs = UnixMs(1_800_000_000_000);
const MIB: u64 = 1 << 20;

fn store(bytes_max: u64) -> Store<()> {
    let clock = HlcClock::new(1, DEFAULT_DRIFT_MAX_MS);
    let purges = Purges::new(1, clock, PurgeLimits::default());
    Store::new(limits(bytes_max), 2, purges)
}

fn limits(bytes_max: u64) -> MemoryLimits {
    MemoryLimits {
        bytes_max,
        entry_bytes_max: bytes_max / 8,
    }
}

/// The parts of an answer that cost memory.
#[derive(Clone, Debug)]
struct Answer {
    path: String,
    fields: Vec<(u16, String)>,
    tags: Vec<u64>,
    pieces: Vec<Vec<u8>>,
    language: Option<String>,
}

impl Answer {
    fn of(path: &str, body_bytes: usize) -> Self {
        Self {
            path: path.to_owned(),
            fields: Vec::new(),
            tags: Vec::new(),
            pieces: vec![vec![7; body_bytes]],
            language: None,
        }
    }

    fn entry(&self) -> Arc<Entry> {
        let target = Target {
            namespace: "web",
            scheme: Scheme::Http,
            authority: "a.example",
            path_and_query: &self.path,
        };
        let resource = Resource::new(Key::of(&target).unwrap(), "web", "a.example", &self.path);
        let mut response = HeaderMap::new();
        response.insert("cache-control", HeaderValue::from_static("max-age=600"));
        for (number, value) in &self.fields {
            let name: HeaderName = format!("x-{number}").parse().unwrap();
            response.append(name, value.parse().unwrap());
        }
        let mut request = HeaderMap::new();
        if let Some(language) = &self.language {
            response.insert("vary", HeaderValue::from_static("accept-language"));
            request.insert("accept-language", language.parse().unwrap());
        }
        let exchange = Exchange {
            method: &Method::GET,
            path_and_query: &self.path,
            request: &request,
            status: StatusCode::OK,
            response: &response,
            requested_at: NOW,
            responded_at: NOW,
        };
        let stored = cache::store(&exchange, &Policy::default()).unwrap();
        let body = self
            .pieces
            .iter()
            .map(|piece| Bytes::copy_from_slice(piece));
        let at = Hlc::new(NOW.0, 0, 1);
        Arc::new(Entry::new(
            resource,
            stored,
            at,
            self.tags.clone().into(),
            body.collect(),
        ))
    }
}

/// Bytes that an entry certainly holds.
fn payload_bytes(entry: &Entry) -> u64 {
    let fields = entry.stored.headers.iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len());
    let variant = entry.stored.variant.as_ref();
    let body: usize = entry.body.iter().map(Bytes::len).sum();
    let bytes = entry.resource.key.as_str().len()
        + entry.resource.path().len()
        + fields.sum::<usize>()
        + variant.map_or(0, |variant| variant.key().len())
        + size_of_val(&*entry.tags)
        + size_of_val(&*entry.body)
        + body
        + size_of::<Entry>();
    bytes as u64
}

fn answers() -> impl Strategy<Value = Answer> {
    (
        "/[a-z]{0,300}",
        prop::collection::vec((0_u16..200, "[ -~]{0,60}"), 0..40),
        prop::collection::vec(any::<u64>(), 0..64),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3_000), 0..8),
        prop::option::of("[a-z, ]{1,400}"),
    )
        .prop_map(|(path, fields, tags, pieces, language)| Answer {
            path,
            fields: fields
                .into_iter()
                .map(|(number, value)| (number, value.trim().to_owned()))
                .collect(),
            tags,
            pieces,
            language,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_less_is_accounted_than_is_held(answers in prop::collection::vec(answers(), 1..20)) {
        let store = store(64 * MIB);
        let mut held = std::collections::BTreeMap::new();
        for answer in answers {
            let entry = answer.entry();
            let payload = payload_bytes(&entry);
            prop_assert!(entry.cost_bytes() >= payload, "{} < {payload}", entry.cost_bytes());
            prop_assert!(store.insert(&entry, NOW));
            let variant = entry.stored.variant.as_ref().map(|variant| variant.key().to_vec());
            held.insert((entry.resource.key.as_str().to_owned(), variant), payload);
        }
        prop_assert!(store.bytes() >= held.values().sum::<u64>());
    }

    #[test]
    fn memory_never_holds_more_than_it_may(bodies in prop::collection::vec(1_usize..40_000, 1..200)) {
        let store = store(MIB);
        for (number, body_bytes) in bodies.into_iter().enumerate() {
            store.insert(&Answer::of(&format!("/{number}"), body_bytes).entry(), NOW);
            prop_assert!(store.bytes() <= MIB, "{}", store.bytes());
        }
    }
}

#[test]
fn what_is_dropped_while_clients_read_it_is_charged_until_they_let_it_go() {
    let store = store(MIB);
    let mut read = Vec::new();
    for number in 0..100 {
        let entry = Answer::of(&format!("/{number}"), 50_000).entry();
        store.insert(&entry, NOW);
        read.push(entry);
    }
    let of_clients: u64 = read.iter().map(|entry| entry.cost_bytes()).sum();
    // All of them are held; what memory does not hold is charged beside it.
    assert!(store.bytes() + store.fills.used_bytes() >= of_clients - 50_000);
    let last = read.pop().unwrap();
    drop(read);
    let evicted = store.fills.used_bytes();
    assert!(evicted <= last.cost_bytes(), "{evicted}");
    store.remove(last.resource.key.as_str());
    assert_eq!(store.fills.used_bytes(), last.cost_bytes());
    drop(last);
    assert_eq!(store.fills.used_bytes(), 0);
}

#[test]
fn less_memory_is_given_back_at_once() {
    let store = store(64 * MIB);
    for number in 0..300 {
        store.insert(&Answer::of(&format!("/{number}"), 100_000).entry(), NOW);
    }
    assert!(store.bytes() > 28 * MIB, "{}", store.bytes());
    store.configure(limits(4 * MIB));
    assert!(store.bytes() <= 4 * MIB, "{}", store.bytes());
    assert_eq!(store.bytes_max(), 4 * MIB);
    store.configure(limits(64 * MIB));
    assert!(store.bytes() <= 4 * MIB);
}

fn shared(memory_s: u64, mesh_s: u64) -> SharedTier {
    SharedTier {
        memory_ttl: Duration::from_secs(memory_s),
        mesh_ttl: Duration::from_secs(mesh_s),
        ..SharedTier::default()
    }
}

fn no_redis(_: weir_cache::redis::L2Settings) -> L2 {
    unreachable!("there is none")
}

fn is_due(store: &Store<()>, after_s: u64) -> bool {
    let now = NOW.after(Duration::from_secs(after_s));
    match store.find("web\nhttp://a.example/p", &HeaderMap::new(), now) {
        Found::Entry(entry, _) => store.is_due_beneath(&entry, now),
        found => panic!("{found:?}"),
    }
}

#[test]
fn memory_answers_by_itself_as_long_as_it_is_told_to_from_one_moment_to_the_next() {
    let store = store(MIB);
    store.insert(&Answer::of("/p", 10).entry(), NOW);
    assert!(!is_due(&store, 1_000_000), "without bound by itself");
    store.share(&shared(300, 86_400), NOW, no_redis);
    assert!(!is_due(&store, 299) && is_due(&store, 300));
    store.share(&shared(300, 100), NOW, no_redis);
    assert!(
        !is_due(&store, 99) && is_due(&store, 100),
        "nor does the mesh"
    );
    store.share(&shared(9, 86_400), NOW, no_redis);
    assert!(is_due(&store, 10));
}

/// Until it began the node knew of no purge, and what others fetched by then may have a time to come.
#[tokio::test]
async fn nothing_that_clocks_ahead_may_have_stamped_before_the_start_is_believed_in_redis() {
    let store = store(MIB);
    let tier = SharedTier {
        url: Some("redis://127.0.0.1:1".parse().unwrap()),
        ..shared(300, 86_400)
    };
    store.share(&tier, NOW, |settings| {
        L2::start(settings, Arc::new(|| 0), fastrand::Rng::with_seed(1))
    });
    let ahead = Hlc::new(NOW.0 + DEFAULT_DRIFT_MAX_MS, 0, 2);
    assert!(store.l2().unwrap().trust_floor() >= ahead.time());
}
