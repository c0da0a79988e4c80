//! The way of a request on a node: memory, the key's owner, Redis, the origin.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};
use turmoil::net::TcpStream;
use weir_cache::value::{self, Value};
use weir_cache::{Entry, Found, Joined, Landed, Leader};
use weir_core::cache::{self, Exchange, Policy, UnixMs};
use weir_core::purge::{Hlc, Verdict};
use weir_node::actors::cache_tier::CacheTierHandle;
use weir_node::data_plane::answer::Reason;
use weir_node::ports::clock::WallClock;

use super::history::{Answer, InForce, Recorder};
use super::planted::Planted;
use super::world::{Upstream, World, latency};
use super::{Store, owner, path, resource, tag_of};
use crate::history::now;

/// Where every node answers the others.
pub(crate) const PORT: u16 = 8443;
/// Carries the number of the fetch that made an answer or found it good.
static FETCH: HeaderName = HeaderName::from_static("x-fetch");
/// For an owner to answer.
const OWNER_TIMEOUT: Duration = Duration::from_millis(700);
const ORIGIN_TIMEOUT: Duration = Duration::from_millis(500);
/// To the origin; and the longest that its answer takes.
const ORIGIN_MS: u64 = 60;
const BODY_MS: u64 = 600;
const REDIS_MS: u64 = 20;
const REDIS_WRITE_MS: u64 = 300;
/// How often somebody waits for another fetch before giving up.
const TRIES: usize = 3;

/// What answers a request.
#[derive(Clone)]
pub(super) struct Answered {
    entry: Arc<Entry>,
    is_stale: bool,
}

impl Answered {
    fn fresh(entry: Arc<Entry>) -> Self {
        let is_stale = false;
        Self { entry, is_stale }
    }

    fn stale(entry: Arc<Entry>) -> Self {
        let is_stale = true;
        Self { entry, is_stale }
    }
}

/// A node as those see it who ask it.
pub(crate) struct Serving {
    pub(super) node: &'static str,
    pub(super) tier: CacheTierHandle,
    pub(super) recorder: Recorder,
    pub(super) world: World,
    clock: WallClock,
    store: Store,
    asks_owners: bool,
    planted: Planted,
    policy: Policy,
    /// What Redis has from before may be purged without this process knowing.
    trusts_redis_from: Hlc,
    random: RefCell<fastrand::Rng>,
}

/// What a node is made of beside its store.
pub(super) struct Parts {
    pub(super) node: &'static str,
    pub(super) tier: CacheTierHandle,
    pub(super) recorder: Recorder,
    pub(super) world: World,
    pub(super) clock: WallClock,
    pub(super) asks_owners: bool,
    pub(super) planted: Planted,
    pub(super) seed: u64,
}

impl Serving {
    pub(super) fn new(parts: Parts) -> Self {
        let acked = parts.tier.store();
        let store = parts.planted.serves_from(acked, parts.clock);
        let now = UnixMs(parts.clock.unix_ms_now());
        let trusts_redis_from = store.purges.latest(now);
        // As a node does that begins to use Redis.
        store.purges.distrust_before(Hlc::new(now.0, 0, 0));
        Self {
            node: parts.node,
            recorder: parts.recorder,
            world: parts.world,
            clock: parts.clock,
            asks_owners: parts.asks_owners,
            planted: parts.planted,
            policy: Policy::default(),
            trusts_redis_from,
            random: RefCell::new(fastrand::Rng::with_seed(parts.seed)),
            tier: parts.tier,
            store,
        }
    }

    fn now(&self) -> UnixMs {
        UnixMs(self.clock.unix_ms_now())
    }

    /// Of every process up to which number its purges are in force here, as this node tells others.
    pub(super) fn in_force(&self) -> InForce {
        let purges = &self.tier.store().purges;
        self.recorder
            .in_force(|origin| match origin == purges.origin() {
                true => *purges.last().borrow(),
                false => purges.seen(origin),
            })
    }

    /// A client asks.
    pub(super) async fn asked(self: Rc<Self>, key: usize) {
        let (asked, in_force) = (self.recorder.order(), self.in_force());
        let Some(Answered { entry, is_stale }) = self.answer(key, false).await else {
            return;
        };
        let fetch = entry.stored.headers.get(&FETCH);
        let fetch = fetch.and_then(|value| value.to_str().ok()?.parse().ok());
        let version = entry.body.first().map(|body| body.to_vec());
        let version = version.and_then(|text| String::from_utf8(text).ok()?.parse().ok());
        self.recorder.answered(Answer {
            at: now(),
            node: self.node,
            key,
            asked,
            in_force,
            fetch: fetch.expect("every answer has the number of its fetch"),
            version: version.expect("every body is a version"),
            is_stale,
        });
    }

    /// Forgets what memory has, as if it had been crowded out.
    pub(super) fn evict(&self, key: usize) {
        self.store.remove(resource(key).key.as_str());
    }

    /// What a purge frees at once.
    pub(super) fn drop_gone(&self, key: usize) {
        self.store.drop_gone(resource(key).key.as_str(), self.now());
    }

    async fn answer(self: &Rc<Self>, key: usize, is_hop: bool) -> Option<Answered> {
        for _ in 0..TRIES {
            let mut need = None;
            match self.look(key) {
                Some((entry, Verdict::Valid)) => return Some(Answered::fresh(entry)),
                Some((entry, Verdict::Stale)) if self.random.borrow_mut().bool() => {
                    return Some(Answered::stale(entry));
                }
                found => need = found.or(need),
            }
            let id = self.store.since_purges(&[key as u8]);
            match self.store.flights.join(&id) {
                Joined::Leader(leader) => {
                    let fetch = Rc::clone(self).lead(leader, key, need, is_hop);
                    return tokio::task::spawn_local(fetch).await.ok().flatten();
                }
                Joined::Follower(mut follower) => {
                    if let Landed::Kept(entry) = follower.landed().await {
                        return Some(Answered::fresh(entry));
                    }
                }
                Joined::Full => return None,
            }
        }
        None
    }

    fn look(&self, key: usize) -> Option<(Arc<Entry>, Verdict)> {
        if let Some(entry) = self.planted.found(key) {
            return Some((entry, Verdict::Valid));
        }
        let resource = resource(key);
        match self
            .store
            .find(resource.key.as_str(), &HeaderMap::new(), self.now())
        {
            Found::Entry(entry, verdict) => Some((entry, verdict)),
            Found::OtherVariants | Found::Nothing => None,
        }
    }

    async fn lead(
        self: Rc<Self>,
        leader: Leader<Reason>,
        key: usize,
        need: Option<(Arc<Entry>, Verdict)>,
        is_hop: bool,
    ) -> Option<Answered> {
        let answered = self.fetch(key, need, is_hop).await;
        match &answered {
            Some(answered) if !answered.is_stale => {
                leader.land(Landed::Kept(Arc::clone(&answered.entry)));
            }
            _ => leader.land(Landed::Unshared),
        }
        answered
    }

    async fn fetch(
        self: &Rc<Self>,
        key: usize,
        mut need: Option<(Arc<Entry>, Verdict)>,
        is_hop: bool,
    ) -> Option<Answered> {
        if self.asks_owners && !is_hop && owner(key) != self.node {
            // What was purged here may not have been there yet.
            let copy = self.ask_owner(key).await.ok().flatten();
            let verdict = copy.as_ref().map(|copy| self.store.verdict(&copy.entry));
            if let Some(copy) = copy
                && let Some(verdict @ (Verdict::Valid | Verdict::Stale)) = verdict
            {
                self.store.insert_mirrored(&copy.entry, self.now());
                let is_stale = copy.is_stale || verdict == Verdict::Stale;
                return Some(Answered { is_stale, ..copy });
            }
        }
        if need.is_none() {
            need = self.ask_redis(key).await;
            if let Some((entry, Verdict::Valid)) = &need {
                self.store.insert(entry, self.now());
                return Some(Answered::fresh(Arc::clone(entry)));
            }
        }
        self.ask_origin(key, need).await
    }

    async fn ask_owner(&self, key: usize) -> io::Result<Option<Answered>> {
        let asked = async {
            let mut stream = TcpStream::connect((owner(key), PORT)).await?;
            stream.write_u8(key as u8).await?;
            let is_stale = stream.read_u8().await? == 1;
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await?;
            let entry = self.decoded(key, &Bytes::from(bytes));
            Ok(entry.map(|entry| Answered { entry, is_stale }))
        };
        timeout(OWNER_TIMEOUT, asked).await?
    }

    /// Answers another node, on a connection of its own.
    pub(super) async fn hop(self: Rc<Self>, mut stream: TcpStream) -> io::Result<()> {
        let key = usize::from(stream.read_u8().await?);
        let answered = self.answer(key, true).await;
        if let Some(answered) = answered
            && let Some((_, bytes)) = value::encode(&answered.entry)
        {
            stream.write_u8(u8::from(answered.is_stale)).await?;
            stream.write_all(&bytes).await?;
        }
        stream.shutdown().await
    }

    fn decoded(&self, key: usize, bytes: &Bytes) -> Option<Arc<Entry>> {
        let resource = resource(key);
        let place = value::key_of(&resource, None);
        let nobody = HeaderMap::new();
        match value::decode(bytes, &place, false, &resource, &nobody, &self.policy) {
            Value::Entry(entry) => Some(self.planted.copied(entry, &self.store, self.now())),
            Value::DependsOn(_) | Value::Unusable(_) => None,
        }
    }

    async fn ask_redis(&self, key: usize) -> Option<(Arc<Entry>, Verdict)> {
        let wait = latency(&mut self.random.borrow_mut(), REDIS_MS);
        sleep(wait).await;
        if !self.world.has(self.node, Upstream::Redis) {
            return None;
        }
        let bytes = self.world.get(&value::key_of(&resource(key), None))?;
        let entry = self.decoded(key, &bytes)?;
        let is_trusted = entry.fetched_at >= self.trusts_redis_from;
        match self.store.verdict(&entry) {
            Verdict::Gone => None,
            Verdict::Valid if !is_trusted => Some((entry, Verdict::Unsure)),
            verdict => Some((entry, verdict)),
        }
    }

    fn write_redis(self: &Rc<Self>, entry: &Entry) {
        let Some((place, bytes)) = value::encode(entry) else {
            return;
        };
        let (serving, wait) = (
            Rc::clone(self),
            latency(&mut self.random.borrow_mut(), REDIS_WRITE_MS),
        );
        tokio::task::spawn_local(async move {
            sleep(wait).await;
            if serving.world.has(serving.node, Upstream::Redis) {
                serving.world.put(place, bytes);
            }
        });
    }

    async fn ask_origin(
        self: &Rc<Self>,
        key: usize,
        need: Option<(Arc<Entry>, Verdict)>,
    ) -> Option<Answered> {
        let (requested_at, number) = (self.now(), self.recorder.fetches(self.node, key));
        let fetched_at = self.store.fetch_time(requested_at);
        let mut request = HeaderMap::new();
        if let Some((entry, _)) = &need {
            cache::condition(&entry.stored, &mut request);
        }
        let Some((status, response, body)) = self.origin(key, number, &request).await else {
            // Whoever cannot ask may serve what says of itself that it is stale.
            let (entry, _) = need?;
            let is_stale = self.store.verdict(&entry) < Verdict::Unsure;
            return is_stale.then(|| Answered::stale(entry));
        };
        let path = path(key);
        let seen = Exchange {
            method: &Method::GET,
            path_and_query: &path,
            request: &request,
            status,
            response: &response,
            requested_at,
            responded_at: self.now(),
        };
        let tags: Box<[u64]> = [tag_of(key)].into();
        let entry = match need.filter(|_| status == StatusCode::NOT_MODIFIED) {
            Some((entry, _)) => {
                let renewed = cache::freshen(&entry.stored, &seen, &self.policy).ok()?;
                entry.renewed(renewed.stored, fetched_at, tags)
            }
            None => {
                let stored = cache::store(&seen, &self.policy).ok()?;
                Entry::new(resource(key), stored, fetched_at, tags, [body].into())
            }
        };
        let entry = Arc::new(entry);
        if self.store.insert(&entry, self.now()) {
            self.write_redis(&entry);
        }
        self.planted.inserts(key, &entry);
        Some(Answered::fresh(entry))
    }

    /// The origin's answer; nothing if it cannot be reached.
    async fn origin(
        &self,
        key: usize,
        number: usize,
        request: &HeaderMap,
    ) -> Option<(StatusCode, HeaderMap, Bytes)> {
        let (there, back) = {
            let mut random = self.random.borrow_mut();
            let back = if random.bool() { ORIGIN_MS } else { BODY_MS };
            (latency(&mut random, ORIGIN_MS), latency(&mut random, back))
        };
        if !self.world.has(self.node, Upstream::Origin) {
            sleep(ORIGIN_TIMEOUT).await;
            return None;
        }
        sleep(there).await;
        let version = self.world.versions()[key].to_string();
        let etag = HeaderValue::from_str(&format!("\"{version}\"")).ok()?;
        let is_same = request.get(IF_NONE_MATCH) == Some(&etag);
        let response = HeaderMap::from_iter([
            (CACHE_CONTROL, HeaderValue::from_static("max-age=3600")),
            (ETAG, etag),
            (FETCH.clone(), HeaderValue::from(number)),
        ]);
        sleep(back).await;
        Some(match is_same {
            true => (StatusCode::NOT_MODIFIED, response, Bytes::new()),
            false => (StatusCode::OK, response, Bytes::from(version)),
        })
    }
}
