//! One fetch for everybody who wants the same.
//!
//! The first to join a flight leads it: it fetches, the others wait for what comes of that. A leader that vanishes,
//! like one whose client left, lets the next one lead.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use parking_lot::Mutex;
use quick_cache::DefaultHashBuilder;
use std::hash::BuildHasher as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use weir_core::cache::{Key, RequestDirectives};

use crate::entry::Entry;
use crate::fill::Fill;
use crate::interest::{Interest, Interested, Place, Places, REFRESHES_MAX, UNWANTED_MAX};

const SHARDS: usize = 64;

/// Whether a request says who it is from.
pub fn is_personal(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || headers.contains_key(COOKIE)
}

/// Who shares a fetch.
#[derive(Clone, Copy, Debug)]
pub struct FlightOf<'a> {
    /// What is fetched.
    pub key: &'a Key,
    /// Requests that say who they are from seldom get what is for everybody, so nobody else waits for theirs.
    pub is_personal: bool,
    /// What else keeps them apart; see [`RequestDirectives::apart`].
    pub directives: Option<&'a RequestDirectives>,
    /// The variant, where that is known.
    pub variant: Option<&'a [u8]>,
}

impl FlightOf<'_> {
    /// What the flight is joined by.
    pub fn id(&self) -> Vec<u8> {
        let key = self.key.as_str().as_bytes();
        let apart = self.directives.and_then(RequestDirectives::apart);
        let apart = apart.as_ref().map_or(&[][..], |apart| apart);
        let kind = u8::from(self.is_personal) | u8::from(!apart.is_empty()) << 1;
        [&[kind], apart, key, &[0], self.variant.unwrap_or_default()].concat()
    }
}

/// Of those who waited for one flight so many fetch for themselves at once when it brought nothing for them.
pub const TURNS_MAX: usize = 64;

/// What came of a flight.
#[derive(Debug)]
pub enum Landed<F> {
    /// A response whose body is coming.
    Filling(Arc<Fill>),
    /// A response that is kept.
    Kept(Arc<Entry>),
    /// A response for the leader alone: everybody fetches for themselves, in [`Turns`].
    Unshared,
    /// No response.
    Failed(F),
    /// The leader vanished: somebody else may lead.
    Abandoned,
}

impl<F: Clone> Clone for Landed<F> {
    fn clone(&self) -> Self {
        match self {
            Self::Filling(fill) => Self::Filling(Arc::clone(fill)),
            Self::Kept(entry) => Self::Kept(Arc::clone(entry)),
            Self::Unshared => Self::Unshared,
            Self::Failed(failure) => Self::Failed(failure.clone()),
            Self::Abandoned => Self::Abandoned,
        }
    }
}

#[derive(Debug)]
struct Flight<F> {
    landed: Mutex<Option<Landed<F>>>,
    /// Wakes other nodes that wait: clients of theirs wait too, and what they are told goes through a connection that
    /// would be looked after only when everybody else here is.
    nodes: Notify,
    /// Wakes clients in the order in which they came.
    clients: Notify,
    followers: AtomicUsize,
    interest: Arc<Interest>,
    turns: Turns,
}

impl<F: Clone> Flight<F> {
    fn landed(&self) -> Option<Landed<F>> {
        self.landed.lock().clone()
    }

    /// Tells other nodes, lets them go on, and tells everybody else. Dropped in the midst of that, the leader tells
    /// them.
    async fn tell(&self, landed: Landed<F>) {
        *self.landed.lock() = Some(landed);
        self.nodes.notify_waiters();
        tokio::task::yield_now().await;
        self.clients.notify_waiters();
    }
}

/// Who of one flight fetches for themselves when it brought nothing for them: a crowd that waited does not fall on the
/// origin all at once.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

/// The turn of one of them, until dropped.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held, never read")] OwnedSemaphorePermit);

impl Turns {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(TURNS_MAX)))
    }

    /// Waits for a turn.
    pub async fn mine(self) -> Option<Turn> {
        self.0.acquire_owned().await.ok().map(Turn)
    }
}

type Shard<F> = Mutex<HashMap<Box<[u8]>, Arc<Flight<F>>>>;

/// All flights of a node; `F` is why one fails.
#[derive(Debug)]
pub struct Flights<F> {
    shards: Box<[Shard<F>]>,
    hasher: DefaultHashBuilder,
    followers_max: usize,
    unwanted: Arc<Places>,
    refreshes: Arc<Places>,
}

/// What joining made of somebody.
#[derive(Debug)]
pub enum Joined<F: Clone + Send + Sync> {
    /// The one who fetches.
    Leader(Leader<F>),
    /// One of those who wait.
    Follower(Follower<F>),
    /// Too many wait already: everybody else fetches for themselves, in turns.
    Full(Turns),
}

impl<F: Clone + Send + Sync> Flights<F> {
    /// No flights; at most `followers_max` wait for one.
    pub fn new(followers_max: usize) -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: DefaultHashBuilder::default(),
            followers_max,
            unwanted: Places::new(UNWANTED_MAX),
            refreshes: Places::new(REFRESHES_MAX),
        })
    }

    fn shard(&self, id: &[u8]) -> &Shard<F> {
        let at = usize::try_from(self.hasher.hash_one(id)).unwrap_or(0) % SHARDS;
        &self.shards[at]
    }

    /// Joins the flight for `id`, or begins it.
    pub fn join(self: &Arc<Self>, id: &[u8]) -> Joined<F> {
        let mut shard = self.shard(id).lock();
        match shard.entry(id.into()) {
            Slot::Occupied(slot) => {
                let flight = Arc::clone(slot.get());
                if flight.followers.fetch_add(1, Ordering::Relaxed) >= self.followers_max {
                    flight.followers.fetch_sub(1, Ordering::Relaxed);
                    return Joined::Full(flight.turns.clone());
                }
                let interested = Some(flight.interest.one());
                Joined::Follower(Follower { flight, interested })
            }
            Slot::Vacant(slot) => {
                let flight = Arc::new(Flight {
                    landed: Mutex::new(None),
                    nodes: Notify::new(),
                    clients: Notify::new(),
                    followers: AtomicUsize::new(0),
                    interest: Arc::default(),
                    turns: Turns::new(),
                });
                slot.insert(Arc::clone(&flight));
                Joined::Leader(Leader {
                    flights: Arc::clone(self),
                    id: id.into(),
                    flight,
                })
            }
        }
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// How many go on though nobody wants what they fetch.
    pub fn unwanted(&self) -> usize {
        self.unwanted.taken()
    }

    fn remove(&self, id: &[u8], flight: &Arc<Flight<F>>) {
        let mut shard = self.shard(id).lock();
        if shard
            .get(id)
            .is_some_and(|current| Arc::ptr_eq(current, flight))
        {
            shard.remove(id);
        }
    }
}

/// The one who fetches. Dropped without a word, it lets another one lead.
#[derive(Debug)]
pub struct Leader<F: Clone + Send + Sync> {
    flights: Arc<Flights<F>>,
    id: Box<[u8]>,
    flight: Arc<Flight<F>>,
}

impl<F: Clone + Send + Sync> Leader<F> {
    /// Whoever waits for the fetch, until dropped.
    pub fn interested(&self) -> Interested {
        self.flight.interest.one()
    }

    /// A place for a fetch that the node makes for itself, held until it ends; `None`: [`REFRESHES_MAX`] are under way.
    pub fn refreshing(&self) -> Option<Place> {
        self.flights.refreshes.take()
    }

    /// How long the fetch is wanted.
    pub fn want(&self) -> Want {
        Want {
            interest: Arc::clone(&self.flight.interest),
            places: Arc::clone(&self.flights.unwanted),
        }
    }

    /// Whether somebody waits who has not gone on with what they were told.
    pub fn is_followed(&self) -> bool {
        self.flight.followers.load(Ordering::Relaxed) > 0
    }

    /// A response begins. Whoever joins until the leader is dropped reads along.
    pub async fn filling(&self, fill: &Arc<Fill>) {
        self.flight.tell(Landed::Filling(Arc::clone(fill))).await;
    }

    /// The last word; whoever comes now begins another flight.
    pub async fn land(self, landed: Landed<F>) {
        self.flights.remove(&self.id, &self.flight);
        self.flight.tell(landed).await;
    }
}

impl<F: Clone + Send + Sync> Drop for Leader<F> {
    fn drop(&mut self) {
        self.flights.remove(&self.id, &self.flight);
        let flight = &self.flight;
        flight.landed.lock().get_or_insert(Landed::Abandoned);
        flight.nodes.notify_waiters();
        flight.clients.notify_waiters();
    }
}

/// How long a fetch is wanted.
#[derive(Debug)]
pub struct Want {
    interest: Arc<Interest>,
    places: Arc<Places>,
}

impl Want {
    /// Waits until nobody wants the fetch. The place with which it may go on; `None`: there is none, it is to end.
    pub async fn lost(&self) -> Option<Place> {
        loop {
            self.interest.lost().await;
            match self.places.take() {
                Some(place) => return Some(place),
                None if self.interest.is_lost() => return None,
                // Somebody joined at the last moment.
                None => {}
            }
        }
    }
}

/// One who waits.
#[derive(Debug)]
pub struct Follower<F> {
    flight: Arc<Flight<F>>,
    interested: Option<Interested>,
}

impl<F: Clone + Send + Sync> Follower<F> {
    /// What comes of the flight; other nodes are told first.
    pub async fn landed(&self, is_node: bool) -> Landed<F> {
        let told = match is_node {
            true => &self.flight.nodes,
            false => &self.flight.clients,
        };
        // Whatever is told from here on wakes it.
        let told = told.notified();
        if let Some(landed) = self.flight.landed() {
            return landed;
        }
        told.await;
        self.flight.landed().unwrap_or(Landed::Abandoned)
    }
}

impl<F> Follower<F> {
    /// For who fetches alone after all.
    pub fn turns(&self) -> Turns {
        self.flight.turns.clone()
    }

    /// Who wants what is fetched: for the reader of what the flight landed with.
    pub fn into_interested(mut self) -> Option<Interested> {
        self.interested.take()
    }
}

impl<F> Drop for Follower<F> {
    fn drop(&mut self) {
        self.flight.followers.fetch_sub(1, Ordering::Relaxed);
    }
}
