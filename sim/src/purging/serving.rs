//! The way of a request on a node: memory, the key's owner, Redis, the origin.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use turmoil::net::TcpStream;
use weir_cache::value;
use weir_cache::{Entry, Found, Joined, Landed, Leader};
use weir_core::cache::{Policy, UnixMs};
use weir_core::purge::{Hlc, Verdict};
use weir_node::actors::cache_tier::CacheTierHandle;
use weir_node::data_plane::answer::Reason;
use weir_node::ports::clock::WallClock;

use super::history::{Answer, InForce, Recorder};
use super::planted::Planted;
use super::world::World;
use super::{Store, owner, resource};
use crate::history::now;

/// Where every node answers the others.
pub(crate) const PORT: u16 = 8443;
/// Carries the number of the fetch that made an answer or found it good.
pub(super) static FETCH: HeaderName = HeaderName::from_static("x-fetch");
/// How often somebody waits for another fetch before giving up.
const TRIES: usize = 3;

/// What answers a request.
#[derive(Clone)]
pub(super) struct Answered {
    pub(super) entry: Arc<Entry>,
    pub(super) is_stale: bool,
}

impl Answered {
    pub(super) fn fresh(entry: Arc<Entry>) -> Self {
        let is_stale = false;
        Self { entry, is_stale }
    }

    pub(super) fn stale(entry: Arc<Entry>) -> Self {
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
    pub(super) store: Store,
    asks_owners: bool,
    pub(super) planted: Planted,
    pub(super) policy: Policy,
    /// What Redis has from before may be purged without this process knowing.
    pub(super) trusts_redis_from: Hlc,
    pub(super) random: RefCell<fastrand::Rng>,
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

    pub(super) fn now(&self) -> UnixMs {
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
                Joined::Follower(follower) => {
                    if let Landed::Kept(entry) = follower.landed(is_hop).await {
                        return Some(Answered::fresh(entry));
                    }
                }
                Joined::Full(_) => return None,
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
                leader.land(Landed::Kept(Arc::clone(&answered.entry))).await;
            }
            _ => leader.land(Landed::Unshared).await,
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
}
