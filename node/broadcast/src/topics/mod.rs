//! What all threads share: each topic's numbers and history, and which shards are interested.
//!
//! A message is numbered, kept and handed to the shards under the lock of its topic, so every shard sees a topic in
//! order. Topics share 64 locks.

mod changes;
mod held;
mod inbox;
mod interest;
mod lane;
mod publish;
mod remote;
mod retention;
mod topic;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use weir_core::broadcast::{
    Limits, PageLimits, Pattern, PatternTrie, Position, Refused, Resume, TopicName, resume,
};
use weir_core::cache::UnixMs;

use self::changes::Noted;
use self::lane::Lane;
use self::topic::Topic;
use crate::account::Account;
use crate::batch::Batch;
use crate::counters::Counters;
use crate::shard::Shard;

pub use self::changes::Changes;
pub use self::held::HeldMessage;
pub(crate) use self::inbox::{Call, Inbox};
pub(crate) use self::topic::ShardIndex;

const LANES: usize = 64;

/// All topics of a node.
pub struct Topics {
    lanes: Box<[Mutex<Lane>]>,
    hasher: std::hash::RandomState,
    patterns: Mutex<PatternTrie<ShardIndex>>,
    /// Rises with each change of these.
    patterns_version: AtomicU64,
    /// The same by pattern.
    shard_patterns: Mutex<BTreeMap<Pattern, Vec<ShardIndex>>>,
    changes: Noted,
    shards: Box<[Station]>,
    limits: ArcSwap<Limits>,
    topics: AtomicUsize,
    evicting: Mutex<()>,
    account: Account,
}

/// What is shared of a shard.
#[derive(Default)]
struct Station {
    inbox: Inbox,
    counters: Arc<Counters>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where it is; offset 0 if it is not numbered.
    pub position: Position,
    /// It was published before.
    pub is_duplicate: bool,
}

/// What follows a position.
#[derive(Debug)]
pub enum Read {
    /// The next messages.
    Batch(Batch),
    /// Nothing: it is the newest.
    UpToDate,
    /// Up to here everything is gone.
    Gap {
        /// The first offset that is gone.
        from: u64,
        /// The last one.
        to: u64,
        /// Something critical is among it.
        critical: bool,
    },
    /// The position means nothing: the topic has another epoch. From this one on everything is there.
    Restarted(Position),
    /// The position is later than what may be read here, which is up to this. The rest may be on its way: to this copy
    /// of another node's topic, or to the replica, for which it waits.
    Ahead(Position),
}

/// A topic as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its name.
    pub topic: TopicName,
    /// Its life and its newest message.
    pub position: Position,
    /// The last offset that is gone.
    pub floor: u64,
    /// Messages that are kept.
    pub kept_messages: usize,
    /// Bytes of them.
    pub kept_bytes: usize,
}

impl Topics {
    /// No topics yet. `shards` threads have subscribers, `seed` is another one for each life of the node.
    ///
    /// # Errors
    ///
    /// When a limit does not do, or there are too many shards.
    pub fn new(limits: Limits, shards: usize, seed: u64) -> Result<Arc<Self>, Refused> {
        limits.check()?;
        if shards > usize::from(ShardIndex::MAX) {
            return Err(Refused::TooMany {
                field: "shards",
                value: shards,
                max: usize::from(ShardIndex::MAX),
            });
        }
        let mut random = fastrand::Rng::with_seed(seed);
        Ok(Arc::new(Self {
            lanes: (0..LANES)
                .map(|_| Mutex::new(Lane::new(random.u64(..))))
                .collect(),
            hasher: std::hash::RandomState::new(),
            patterns: Mutex::default(),
            patterns_version: AtomicU64::new(1),
            shard_patterns: Mutex::default(),
            changes: Noted::default(),
            shards: (0..shards).map(|_| Station::default()).collect(),
            limits: ArcSwap::from_pointee(limits),
            topics: AtomicUsize::new(0),
            evicting: Mutex::default(),
            account: Account::default(),
        }))
    }

    /// Other limits, for whatever comes next.
    ///
    /// # Errors
    ///
    /// When one does not do; those before stay in force.
    pub fn configure(&self, limits: Limits) -> Result<(), Refused> {
        limits.check()?;
        self.limits.store(Arc::new(limits));
        Ok(())
    }

    /// The limits in force.
    pub fn limits(&self) -> Arc<Limits> {
        self.limits.load_full()
    }

    /// What is held of all messages.
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// What happened on the thread of a shard.
    pub fn counters(&self, shard: usize) -> Option<Arc<Counters>> {
        Some(Arc::clone(&self.shards.get(shard)?.counters))
    }

    /// What follows a position: one batch of it, within the limits of batches.
    pub fn read(&self, topic: &TopicName, position: Position) -> Read {
        let limits = self.limits.load();
        let lane = self.lane(topic);
        let Some(found) = lane.topics.get(topic) else {
            // It was forgotten: nothing of it is known, and the next message begins its next life.
            return Read::UpToDate;
        };
        let window = found.history.window();
        match resume(position, window) {
            Resume::Ahead if found.may_come(position) => Read::Ahead(found.position()),
            Resume::Restarted | Resume::Ahead => Read::Restarted(Position {
                epoch: window.epoch,
                offset: window.floor,
            }),
            Resume::Gap { from, to } => Read::Gap {
                from,
                to,
                critical: found.history.critical_gone() >= from,
            },
            Resume::Complete if position.offset == window.last => Read::UpToDate,
            Resume::Complete => {
                let page = found.history.page(position.offset, page_limits(&limits));
                drop(lane);
                Read::Batch(Batch::of_page(topic, page, window.epoch, &self.account))
            }
        }
    }

    /// The position before everything that is kept, if the topic is known.
    pub fn start(&self, topic: &TopicName) -> Option<Position> {
        let lane = self.lane(topic);
        let window = lane.topics.get(topic)?.history.window();
        Some(Position {
            epoch: window.epoch,
            offset: window.floor,
        })
    }

    /// A topic as operators see it.
    pub fn stat(&self, topic: &TopicName) -> Option<Stat> {
        let lane = self.lane(topic);
        Some(stat(topic, lane.topics.get(topic)?))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.topics.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All topics, in no order.
    pub fn stats(&self) -> Vec<Stat> {
        let stats = self.lanes.iter().flat_map(|lane| {
            let lane = lane.lock();
            let stats = lane.topics.iter().map(|(name, topic)| stat(name, topic));
            stats.collect::<Vec<_>>()
        });
        stats.collect()
    }

    /// The names of a part of all topics, from part 0 on; `None` when there are no more parts.
    pub fn names_of(&self, part: usize) -> Option<Vec<TopicName>> {
        let lane = self.lanes.get(part)?.lock();
        Some(lane.topics.keys().cloned().collect())
    }

    /// Messages that were published here or came from other nodes.
    pub fn published(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.lock().published).sum()
    }

    /// Does something on the thread of a shard, when it comes to it, within its `LocalSet`; `false` if there is no
    /// such shard or too much waits.
    pub fn run_on(&self, shard: usize, call: impl FnOnce(&Rc<Shard>) + Send + 'static) -> bool {
        let shard = self.shards.get(shard);
        shard.is_some_and(|shard| shard.inbox.call(Box::new(call)))
    }

    fn lane(&self, topic: &TopicName) -> MutexGuard<'_, Lane> {
        use std::hash::BuildHasher as _;
        let hash = self.hasher.hash_one(topic);
        self.lanes[hash as usize % LANES].lock()
    }

    /// The topic of this name; a new one if there is none.
    fn topic<'a>(
        &self,
        lane: &'a mut Lane,
        name: &TopicName,
        now: UnixMs,
    ) -> Result<&'a mut Topic, Refused> {
        if !lane.topics.contains_key(name) {
            let max = self.limits.load().topics_max;
            let before = self.topics.fetch_add(1, Ordering::Relaxed);
            if before >= max {
                self.topics.fetch_sub(1, Ordering::Relaxed);
                return Err(Refused::TooMany {
                    field: "topics of the node",
                    value: before + 1,
                    max,
                });
            }
            lane.add(name, now, &self.account);
            self.changes.note(name);
        }
        Ok(lane.topics.get_mut(name).expect("it was added"))
    }
}

fn page_limits(limits: &Limits) -> PageLimits {
    PageLimits {
        messages_max: limits.batch.messages_max,
        bytes_max: limits.batch.bytes_max,
    }
}

fn stat(name: &TopicName, topic: &Topic) -> Stat {
    let window = topic.history.window();
    Stat {
        topic: name.clone(),
        position: topic.position(),
        floor: window.floor,
        kept_messages: topic.history.len(),
        kept_bytes: topic.history.bytes(),
    }
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topics")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}
