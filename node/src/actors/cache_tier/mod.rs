//! Tells other nodes of purges, hears of theirs, and knows who is how far.
//!
//! Owns      the links to other nodes, how far each one is, and who waits for that; what the tiers may take.
//! Receives  [`Configure`] from `config_agent`; [`Linked`], [`Acked`] and [`Left`] from the streams of nodes that
//!           listen (`tell.rs`); [`Await`] from whoever purges and waits; its own tick.
//! Sends     settings to the store; publishes [`PeerLink`]s.
//! Bound     1,024 messages; when full one is refused: what a node acknowledges is told again within a second, and
//!           whoever waits is told of this node alone.
//! Restarts  knowing nobody. Streams that were open tell it again, and whoever waited hears what was known.
//!
//! A purge is in force on this node before the actor hears of it ([`weir_cache::Purges`]). This node listens to every
//! other one (`listen.rs`): it says what it has seen, is told the rest and acknowledges it. So a node that was away
//! gets what it missed by asking, and nobody keeps lists of who missed what.

mod handle;
mod listen;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext as _, Context, Handler, Message};
use tokio::sync::oneshot;
use tokio::time::Instant;
use weir_cache::redis::L2;
use weir_cache::{MemoryLimits, SharedTier, Store};
use weir_core::balance::hash_key;
use weir_core::cache::UnixMs;
use weir_core::purge::Wait;

pub use self::handle::{CacheTierHandle, Told};
use self::listen::Listening;
use crate::config::Config;
use crate::data_plane::answer::Reason;
use crate::link::{Carried, Link, Permits};
use crate::peers::Peers;
use crate::ports::clock::WallClock;
use crate::snapshot::Snapshot;

/// Messages that may wait.
pub const MESSAGES_WAITING_MAX: usize = 1_024;
/// Between two looks at which nodes there are.
const TICK: Duration = Duration::from_millis(250);
/// A node that has not listened for this long is not waited for.
const AWAY_AFTER: Duration = Duration::from_secs(10);
/// Those who wait for other nodes at a time.
const WAITING_MAX: usize = 4_096;

/// What the tiers may take.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Configure {
    /// The first tier.
    pub memory: MemoryLimits,
    /// How nodes share what they keep.
    pub shared: SharedTier,
}

impl Configure {
    /// The tiers' part of a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            memory: MemoryLimits {
                bytes_max: config.cache.l1_bytes_max,
                entry_bytes_max: config.cache.l1_entry_bytes_max,
            },
            shared: config.cache.shared.clone(),
        }
    }
}

/// A node listens.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Linked {
    pub(crate) node: String,
    /// Which of its streams.
    pub(crate) stream: u64,
}

/// A node has everything up to this number in force.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Acked {
    pub(crate) node: String,
    pub(crate) stream: u64,
    pub(crate) seq: u64,
}

/// A node listens no more.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Left {
    pub(crate) node: String,
    pub(crate) stream: u64,
}

/// Somebody waits until a purge of this node is in force elsewhere.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Await {
    pub(crate) seq: u64,
    pub(crate) wait: Wait,
    pub(crate) within: Duration,
    pub(crate) answer: oneshot::Sender<Standing>,
}

/// Where a purge is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Nodes that said so, this one included.
    pub acked: usize,
    /// Nodes, this one included.
    pub total: usize,
    /// Those that have not said so.
    pub missing: Vec<String>,
}

/// How far another node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerLink {
    /// Which.
    pub node: String,
    /// It listens to this one.
    pub is_linked: bool,
    /// Up to which number purges of this process are in force there.
    pub acked: u64,
    /// This node listens to it.
    pub is_heard: bool,
}

/// The ways to the actor.
#[derive(Clone)]
pub struct Links {
    pub(crate) configure: Link<Configure>,
    pub(crate) linked: Link<Linked>,
    pub(crate) acked: Link<Acked>,
    pub(crate) left: Link<Left>,
    pub(crate) wait: Link<Await>,
}

impl Links {
    fn new() -> Self {
        let permits = Permits::new(MESSAGES_WAITING_MAX);
        Self {
            configure: Link::new(&permits),
            linked: Link::new(&permits),
            acked: Link::new(&permits),
            left: Link::new(&permits),
            wait: Link::new(&permits),
        }
    }

    pub(crate) fn point_at(&self, life: &actix::Addr<CacheTier>) {
        self.configure.point_at(life);
        self.linked.point_at(life);
        self.acked.point_at(life);
        self.left.point_at(life);
        self.wait.point_at(life);
    }
}

/// What the actor is made of.
#[derive(Clone)]
pub struct Parts {
    /// What is kept, and what is purged of it.
    pub store: Arc<Store<Reason>>,
    /// The other nodes.
    pub peers: Peers,
    /// Wall-clock time.
    pub clock: WallClock,
    /// Where the actor publishes.
    pub table: Snapshot<Vec<PeerLink>>,
    /// Seeds the waits between tries.
    pub seed: u64,
}

impl Parts {
    fn configure(&self, part: &Configure) {
        self.store.configure(part.memory);
        let now = unix_ms(self.clock);
        self.store.share(&part.shared, now, |settings| {
            let (store, clock) = (Arc::downgrade(&self.store), self.clock);
            let stamp = move || {
                let store = store.upgrade();
                store.map_or(0, |store| store.fetch_time(unix_ms(clock)).time())
            };
            L2::start(
                settings,
                Arc::new(stamp),
                fastrand::Rng::with_seed(self.seed),
            )
        });
    }
}

/// Another node.
#[derive(Debug)]
struct Peer {
    /// Its newest stream, while it listens.
    stream: Option<u64>,
    acked: u64,
    /// Since when it does not listen.
    silent_since: Instant,
    listening: Listening,
}

struct Waiting {
    seq: u64,
    wait: Wait,
    until: Instant,
    answer: oneshot::Sender<Standing>,
}

/// The actor.
pub struct CacheTier {
    parts: Parts,
    peers: BTreeMap<String, Peer>,
    waiting: Vec<Waiting>,
}

impl CacheTier {
    /// A life that knows no other node yet.
    pub fn new(parts: Parts, configure: Configure) -> Self {
        parts.configure(&configure);
        Self {
            parts,
            peers: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.look_for_peers();
        let (store, now) = (&self.parts.store, unix_ms(self.parts.clock));
        store.purges.forget(now);
        store.values.see(&self.parts.peers.others(), now);
        store.expire_values(now);
        self.answer_waiting();
        ctx.run_later(TICK, Self::tick);
    }

    /// Listens to nodes that are new, and forgets those that left the mesh.
    fn look_for_peers(&mut self) {
        let are_named = self.parts.peers.are_named();
        let others = self.parts.peers.others();
        let purges = &self.parts.store.purges;
        self.peers.retain(|node, _| {
            let is_known = others.contains(node);
            if !is_known {
                purges.has_left(peer_id(node));
            }
            is_known
        });
        for node in others {
            if !self.peers.contains_key(&node) {
                purges.is_unknown(peer_id(&node));
                let peer = Peer {
                    stream: None,
                    acked: 0,
                    silent_since: Instant::now(),
                    listening: Listening::to(&node, &self.parts),
                };
                self.peers.insert(node, peer);
            }
        }
        if are_named {
            purges.mesh_is_known();
        }
    }

    fn standing(&self, seq: u64) -> Standing {
        let missing = self.peers.iter().filter(|(_, peer)| peer.acked < seq);
        let missing: Vec<String> = missing.map(|(node, _)| node.clone()).collect();
        let total = self.peers.len() + 1;
        Standing {
            acked: total - missing.len(),
            total,
            missing,
        }
    }

    /// Of those that a purge is not in force on, who has been away for long.
    fn away(&self, seq: u64) -> usize {
        let missing = self.peers.values().filter(|peer| peer.acked < seq);
        let is_away =
            |peer: &&Peer| peer.stream.is_none() && peer.silent_since.elapsed() >= AWAY_AFTER;
        missing.filter(is_away).count()
    }

    /// Answers those whose wait is over, and publishes.
    fn answer_waiting(&mut self) {
        let now = Instant::now();
        for waiting in std::mem::take(&mut self.waiting) {
            let standing = self.standing(waiting.seq);
            let away = self.away(waiting.seq);
            match waiting.wait.is_over(standing.acked, away, standing.total) || waiting.until <= now
            {
                true => _ = waiting.answer.send(standing),
                false => self.waiting.push(waiting),
            }
        }
        self.publish();
    }

    fn publish(&self) {
        let link = |(node, peer): (&String, &Peer)| PeerLink {
            node: node.clone(),
            is_linked: peer.stream.is_some(),
            acked: peer.acked,
            is_heard: peer.listening.is_heard(),
        };
        let links: Vec<PeerLink> = self.peers.iter().map(link).collect();
        if *self.parts.table.load() != links {
            self.parts.table.publish(links);
        }
    }
}

/// The number by which a node is known where a number is wanted.
fn peer_id(node: &str) -> u32 {
    hash_key(node.as_bytes()) as u32
}

fn unix_ms(clock: WallClock) -> UnixMs {
    UnixMs(u64::try_from(clock.unix_now().as_millis()).unwrap_or(u64::MAX))
}

impl Actor for CacheTier {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(Duration::ZERO, Self::tick);
    }
}

impl Handler<Carried<Configure>> for CacheTier {
    type Result = ();

    fn handle(&mut self, configure: Carried<Configure>, _: &mut Context<Self>) {
        configure.taken();
        self.parts.configure(&configure.message);
    }
}

impl Handler<Carried<Linked>> for CacheTier {
    type Result = ();

    fn handle(&mut self, linked: Carried<Linked>, _: &mut Context<Self>) {
        let Linked { node, stream } = linked.message;
        // It may know this node before this one knows it.
        self.look_for_peers();
        if let Some(peer) = self.peers.get_mut(&node) {
            (peer.stream, peer.acked) = (Some(stream), 0);
            peer.listening.try_now();
        }
        self.publish();
    }
}

impl Handler<Carried<Acked>> for CacheTier {
    type Result = ();

    fn handle(&mut self, acked: Carried<Acked>, _: &mut Context<Self>) {
        let Acked { node, stream, seq } = acked.message;
        if let Some(peer) = self.peers.get_mut(&node) {
            // After a restart of the actor the stream is there and not known.
            if peer.stream.is_none_or(|known| known < stream) {
                (peer.stream, peer.acked) = (Some(stream), 0);
            }
            if peer.stream == Some(stream) {
                peer.acked = peer.acked.max(seq);
            }
        }
        self.answer_waiting();
    }
}

impl Handler<Carried<Left>> for CacheTier {
    type Result = ();

    fn handle(&mut self, left: Carried<Left>, _: &mut Context<Self>) {
        let Left { node, stream } = left.message;
        if let Some(peer) = self.peers.get_mut(&node)
            && peer.stream == Some(stream)
        {
            (peer.stream, peer.silent_since) = (None, Instant::now());
        }
        self.publish();
    }
}

impl Handler<Carried<Await>> for CacheTier {
    type Result = ();

    fn handle(&mut self, awaited: Carried<Await>, ctx: &mut Context<Self>) {
        let message = awaited.message;
        if self.waiting.len() >= WAITING_MAX {
            let _ = message.answer.send(self.standing(message.seq));
            return;
        }
        self.waiting.push(Waiting {
            seq: message.seq,
            wait: message.wait,
            until: Instant::now() + message.within,
            answer: message.answer,
        });
        ctx.run_later(message.within, |actor, _| actor.answer_waiting());
        self.answer_waiting();
    }
}
