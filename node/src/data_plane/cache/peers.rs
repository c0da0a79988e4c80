//! The tier of the other nodes: for each key one node of the mesh asks Redis and the origin for all.
//!
//! The others ask its ingress, as any client would, with a field that keeps it from asking further. So a fetch goes at
//! most one hop, whatever the nodes think of who owns what.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use weir_core::balance::{BackendLoad, Candidate, Selector};
use weir_core::cache::{CACHE_HOP, Key, UnixMs};
use weir_core::purge::{Hlc, key_id};
use weir_core::route::{Route, RouteTable, Target};
use weir_core::vpn;

use super::super::answer::Reason;
use super::super::routing::{Backend, Routing, Service};
use super::breaks::Breaks;
use super::standing::Standing;
use crate::config::{Config, Environment, Given, RouteSettings, ServiceSettings};
use crate::telemetry::http_client::HttpClient;
use crate::telemetry::metrics::ServiceMetrics;

/// Says that a node of the mesh asks, and that whoever is asked answers by itself: `1`, or `fresh=SECONDS` if what is
/// kept answers only when it stays fresh for so long.
pub(super) static HOP: HeaderName = HeaderName::from_static(CACHE_HOP);
/// When the fetch of an answer to such a node began, as purges compare it.
pub(super) static FETCHED_AT: HeaderName = HeaderName::from_static("x-weir-cache-fetched-at");
/// Says to such a node that an answer is stale whatever its fields say: it was purged softly.
pub(super) static STALE: HeaderName = HeaderName::from_static("x-weir-cache-stale");

/// Says to such a node which key an answer is for, as purges name it. Who answers without it, or for another key, is no
/// node of this mesh, or one whose routes differ.
pub(super) static KEY: HeaderName = HeaderName::from_static("x-weir-cache-key");

/// Serials of backends that are nodes; those of services count from 1.
static NEXT_SERIAL: AtomicU64 = AtomicU64::new(1 << 63);
/// Fetches of keys whose owners are there and left them without an answer, on one node.
const FALLBACKS_MAX: usize = 32;
/// For so long they wait for their turn.
const FALLBACK_WAIT: Duration = Duration::from_secs(5);

/// Why nobody answered a fetch.
pub(super) enum NoAnswer {
    /// The one that was asked did not.
    Failed(Reason),
    /// The node that was asked has no answer of the origin's and says why, or one for another key.
    OfPeer,
}

impl NoAnswer {
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Failed(reason) => *reason,
            Self::OfPeer => Reason::BackendInvalid,
        }
    }
}

/// The nodes of the mesh among which keys are shared out.
#[derive(Debug)]
pub struct CachePeers {
    own: Arc<str>,
    /// This node's name first, then those of [`Self::routing`]'s services.
    names: Vec<String>,
    /// Each other node as a service.
    routing: Arc<Routing>,
    addresses: Vec<IpAddr>,
    standings: Vec<Standing>,
    fallbacks: Arc<Semaphore>,
    /// Keys for which their owners break off.
    pub(super) breaks: Breaks,
}

impl CachePeers {
    /// `own` and the others, each with the address of its ingress, for a node of `cores` cores.
    pub fn new(own: &str, others: &[(String, SocketAddr)], cores: usize) -> Self {
        let addresses = others
            .iter()
            .map(|(_, address)| address.ip().to_canonical());
        let addresses = addresses.collect();
        let others = others
            .iter()
            .filter_map(|(name, address)| Some((name.clone(), service(*address, cores)?)));
        let (others, services): (Vec<_>, Vec<_>) = others.unzip();
        let target = Target::single("node".into());
        let table = RouteTable::new(vec![Route::catch_all("node", target)]).unwrap_or_default();
        let names = std::iter::once(own.to_owned()).chain(others);
        Self {
            own: own.into(),
            names: names.collect(),
            addresses,
            standings: services.iter().map(|_| Standing::default()).collect(),
            fallbacks: Arc::new(Semaphore::new(FALLBACKS_MAX)),
            breaks: Breaks::default(),
            routing: Arc::new(Routing {
                table: Arc::new(table),
                routes: Arc::new([RouteSettings::default()]),
                services,
                ..Routing::empty()
            }),
        }
    }

    /// Each other node as a service.
    pub(in super::super) fn routing(&self) -> &Arc<Routing> {
        &self.routing
    }

    /// Whether a request comes from another node that asks for a key which this one owns.
    pub(in super::super) fn is_hop(&self, from: IpAddr, headers: &HeaderMap) -> bool {
        self.addresses.contains(&from.to_canonical()) && headers.contains_key(&HOP)
    }

    /// Which of the services to ask for a key; `None` if this node owns it, or its owner is let alone.
    pub(super) fn owner_to_ask(&self, key: &str, now: UnixMs) -> Option<usize> {
        let owner = vpn::owner(key, &self.names)?;
        if **owner == *self.own {
            return None;
        }
        let at = self
            .names
            .iter()
            .position(|name| name == owner)?
            .checked_sub(1)?;
        self.standings.get(at)?.begin_question(now).then_some(at)
    }

    /// That node answered.
    pub(super) fn answered(&self, at: usize, now: UnixMs) {
        if let Some(standing) = self.standings.get(at) {
            standing.answered(now);
        }
    }

    /// That node did not answer what it was asked at that time; whether it is let alone from now on.
    pub(super) fn failed(&self, at: usize, why: Reason, asked_at: UnixMs, now: UnixMs) -> bool {
        self.standings
            .get(at)
            .is_none_or(|standing| standing.failed(why, asked_at, now))
    }

    /// The turn of a fetch whose owner is there and did not answer: what is slow there is slow here as well, and not
    /// everything that one node leaves lying may fall on another. `None` if it does not come in time.
    pub(super) async fn turn_to_fall_back(&self) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.fallbacks).acquire_owned();
        timeout(FALLBACK_WAIT, turn).await.ok()?.ok()
    }
}

fn service(address: SocketAddr, cores: usize) -> Option<Arc<Service>> {
    let load = Arc::new(BackendLoad::new(
        cores,
        tokio::time::Instant::now().into_std(),
    ));
    let settings = settings(address)?;
    let backend = settings.backends.first()?;
    let (id, endpoint) = (backend.id.clone(), backend.endpoint.clone());
    let candidate = Candidate {
        id: id.clone(),
        weight: 1,
        load: Arc::clone(&load),
    };
    Some(Arc::new(Service {
        selector: Selector::new(settings.policy, vec![candidate]),
        candidates: vec![Arc::new(Backend {
            id,
            serial: NEXT_SERIAL.fetch_add(1, Ordering::Relaxed),
            endpoint,
            load,
            client: HttpClient::new(cores),
        })],
        backends: Vec::new(),
        stickiness: None,
        panic: false,
        removed: false,
        metrics: Arc::new(ServiceMetrics::new(cores)),
        settings,
    }))
}

/// What an operator would write for a service that is that node.
fn settings(address: SocketAddr) -> Option<Arc<ServiceSettings>> {
    let text = format!(
        "[services.node]\nbackends = [\"{address}\"]\nprotocol = \"http2\"\n\
         [services.node.timeouts]\nconnect = \"100ms\"\nread = \"5s\"\n"
    );
    let config = Config::parse(&text, &Environment::new(), &Given::default()).ok()?;
    config.services.first().cloned()
}

/// As [`HOP`] says it.
pub(super) fn hop_value(min_fresh_s: u32) -> HeaderValue {
    match min_fresh_s {
        0 => HeaderValue::from_static("1"),
        seconds => HeaderValue::from_str(&format!("fresh={seconds}"))
            .unwrap_or(const { HeaderValue::from_static("1") }),
    }
}

/// For how many seconds an answer to another node shall stay fresh.
pub(super) fn min_fresh_s(headers: &HeaderMap) -> u32 {
    let told = headers.get(&HOP).and_then(|value| value.to_str().ok());
    let seconds = told.and_then(|told| told.strip_prefix("fresh=")?.parse().ok());
    seconds.unwrap_or(0)
}

/// Removes what only nodes say to each other: an origin could otherwise date its answers, or end them, at other nodes.
pub(super) fn strip_told(headers: &mut HeaderMap) {
    headers.remove(&FETCHED_AT);
    headers.remove(&STALE);
    headers.remove(&KEY);
}

/// An answer of an origin past any cache, without what [`strip_told`] removes: whoever asks may be a node whose route
/// has a cache.
pub(in super::super) fn without_told<B>(mut response: Response<B>) -> Response<B> {
    strip_told(response.headers_mut());
    response
}

/// As [`KEY`] says it.
pub(super) fn key_value(key: &Key) -> Option<HeaderValue> {
    let id = key_id(key.namespace(), key.as_str());
    HeaderValue::from_str(&format!("{id:016x}")).ok()
}

/// Whether an answer says that it is for this key.
pub(super) fn is_for(key: &Key, headers: &HeaderMap) -> bool {
    headers
        .get(&KEY)
        .is_some_and(|told| Some(told) == key_value(key).as_ref())
}

/// What [`FETCHED_AT`] says; a time after `latest` is `latest`, so that what is purged from now on ends it.
pub(super) fn fetched_at(headers: &HeaderMap, latest: Hlc) -> Option<Hlc> {
    let text = headers.get(&FETCHED_AT)?.to_str().ok()?;
    let (time, node) = text.split_once('-')?;
    let time = u64::from_str_radix(time, 16).ok()?;
    let told = Hlc::from_time(time, u32::from_str_radix(node, 16).ok()?);
    Some(told.min(latest))
}

/// As [`FETCHED_AT`] says it.
pub(super) fn fetched_at_value(at: Hlc) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("{:x}-{:x}", at.time(), at.node())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> CachePeers {
        let others = ["b", "c"].map(|name| (name.to_owned(), "127.0.0.1:9".parse().unwrap()));
        CachePeers::new("a", &others, 1)
    }

    #[tokio::test]
    async fn every_key_has_one_owner_and_each_node_owns_some() {
        let peers = peers();
        let mut owned = [0; 3];
        for number in 0..300 {
            let owner = peers.owner_to_ask(&format!("key {number}"), UnixMs(0));
            owned[owner.map_or(0, |at| at + 1)] += 1;
        }
        assert!(owned.iter().all(|count| *count > 50), "{owned:?}");
    }

    #[tokio::test]
    async fn an_owner_that_cannot_be_reached_is_let_alone_for_10_seconds() {
        let peers = peers();
        let mut keys = (0..).map(|number| format!("key {number}"));
        let key = keys
            .find(|key| peers.owner_to_ask(key, UnixMs(0)).is_some())
            .unwrap();
        let at = peers.owner_to_ask(&key, UnixMs(5)).unwrap();
        assert!(!peers.failed(at, Reason::BackendReset, UnixMs(5), UnixMs(5)));
        assert_eq!(peers.owner_to_ask(&key, UnixMs(5)), Some(at));
        assert!(peers.failed(at, Reason::ConnectFailed, UnixMs(5), UnixMs(5)));
        assert_eq!(peers.owner_to_ask(&key, UnixMs(10_004)), None);
        assert_eq!(peers.owner_to_ask(&key, UnixMs(10_005)), Some(at));
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_their_owners_leave_without_an_answer_are_fetched_32_at_once() {
        let peers = peers();
        let mut turns = Vec::new();
        for _ in 0..FALLBACKS_MAX {
            turns.push(peers.turn_to_fall_back().await.unwrap());
        }
        assert!(peers.turn_to_fall_back().await.is_none());
        turns.pop();
        assert!(peers.turn_to_fall_back().await.is_some());
    }

    #[test]
    fn a_time_comes_back_as_it_was_sent() {
        let at = Hlc::new(1_800_000_000_000, 7, 9);
        let headers = HeaderMap::from_iter([(FETCHED_AT.clone(), fetched_at_value(at).unwrap())]);
        assert_eq!(fetched_at(&headers, at), Some(at));
    }

    #[test]
    fn a_time_to_come_counts_as_now() {
        let now = Hlc::new(1_800_000_000_000, 7, 9);
        for text in ["ffffffffffffffff-1", "ffffffffffffffff-ffffffff"] {
            let told = HeaderValue::from_static(text);
            let headers = HeaderMap::from_iter([(FETCHED_AT.clone(), told)]);
            assert_eq!(fetched_at(&headers, now), Some(now), "{text}");
        }
    }

    #[test]
    fn an_origin_says_nothing_of_what_nodes_tell_each_other() {
        let one = HeaderValue::from_static("1");
        let names = [&FETCHED_AT, &STALE, &KEY, &HeaderName::from_static("x-a")];
        let mut headers = names
            .map(|name| (name.clone(), one.clone()))
            .into_iter()
            .collect();
        strip_told(&mut headers);
        assert_eq!(headers, HeaderMap::from_iter([(names[3].clone(), one)]));
    }
}
