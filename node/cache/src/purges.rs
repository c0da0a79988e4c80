//! Purges of this node and of others.
//!
//! A purge is in force on this node before anybody hears of it. The lock is held for a few instructions and taken by
//! purges alone: hits read what was published. What other nodes lack is in the log, bounded by number and age; a node
//! that was away longer gets a floor, and looks everything older over once with its origin. What others purged is kept
//! likewise, for nodes that cannot hear it from them any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::sync::watch;
use weir_core::cache::UnixMs;
use weir_core::purge::{
    Hardness, Hlc, HlcClock, LogLimits, Purge, PurgeLog, Received, Receiver, Scope, Skew,
    StampLimits, StampWriter, Stamps, TooFarAhead,
};

/// Processes whose purges are known by number.
const ORIGINS_MAX: usize = 1_024;

/// Other processes whose purges can be given on, and how much of each is kept for that.
const RELAYS_MAX: usize = 64;
const RELAYED_MAX: usize = 10_000;

/// Kinds of scopes, as metrics name them, in the order of [`Counts::made`].
pub const SCOPES: [&str; 5] = ["key", "tag", "prefix", "host", "all"];

/// How much of purges is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgeLimits {
    /// Of which purges entries are compared with.
    pub stamps: StampLimits,
    /// Of which other nodes can be told.
    pub log: LogLimits,
}

/// What happened to purges since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Made by this node, by kind of scope: [`SCOPES`].
    pub made: [u64; SCOPES.len()],
    /// Of other nodes, taken for the first time.
    pub received: u64,
    /// How often the floor was raised because another node could not tell what was missed.
    pub floors: u64,
}

/// What another node lacks of one process' purges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Whose purges they are.
    pub origin: u64,
    /// Some that it lacks are not kept any more; none of them is later than this.
    pub floor: Option<Hlc>,
    /// After which number `purges` go on.
    pub after: u64,
    /// In order, as far as was asked for.
    pub purges: Vec<Purge>,
}

/// All purges that this node knows, its clock, and what it tells others.
#[derive(Debug)]
pub struct Purges {
    origin: u64,
    clock: HlcClock,
    stamps: ArcSwap<Stamps>,
    state: Mutex<State>,
    /// The number of the last purge of this process.
    last: watch::Sender<u64>,
    made: [AtomicU64; SCOPES.len()],
    received: AtomicU64,
    floors: AtomicU64,
}

#[derive(Debug)]
struct State {
    writer: StampWriter,
    log: PurgeLog,
    receiver: Receiver,
    skew: Skew,
    relays: BTreeMap<u64, Relay>,
}

/// What another process purged.
#[derive(Debug)]
struct Relay {
    log: PurgeLog,
    heard: UnixMs,
}

impl Purges {
    /// Nothing is purged. `origin` is of this process alone.
    pub fn new(origin: u64, clock: HlcClock, limits: PurgeLimits) -> Self {
        let writer = StampWriter::new(limits.stamps);
        Self {
            origin,
            stamps: ArcSwap::new(writer.stamps()),
            state: Mutex::new(State {
                writer,
                log: PurgeLog::new(origin, limits.log),
                receiver: Receiver::new(ORIGINS_MAX),
                skew: Skew::new(clock.drift_max_ms()),
                relays: BTreeMap::new(),
            }),
            clock,
            last: watch::Sender::new(0),
            made: Default::default(),
            received: AtomicU64::new(0),
            floors: AtomicU64::new(0),
        }
    }

    /// Whose purges this process makes.
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// The time of a fetch that begins now.
    pub fn fetch_time(&self, now: UnixMs) -> Hlc {
        self.clock.now(now.0)
    }

    /// The newest of everything that is purged. To be taken anew for each entry.
    pub fn stamps(&self) -> Guard<Arc<Stamps>> {
        self.stamps.load()
    }

    /// Purges; in force on this node when it returns.
    pub fn purge(&self, scope: Scope, hardness: Hardness, now: UnixMs) -> Purge {
        self.made[kind(&scope)].fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock();
        let at = state.skew.purge_stamp(self.clock.now(now.0), now.0);
        let purge = state.log.append(scope, hardness, at, now.0);
        self.merge(&mut state, &purge);
        // Within the lock: numbers are told in their order.
        self.last.send_replace(purge.seq);
        purge
    }

    /// Takes what another node sent, in the order in which it was sent, and gives the number up to which nothing is
    /// missing: what it may be told that is in force here.
    pub fn receive(&self, missed: &Missed, now: UnixMs) -> u64 {
        let mut state = self.state.lock();
        if let Some(floor) = missed.floor {
            self.floors.fetch_add(1, Ordering::Relaxed);
            state.writer.raise_floor(floor.min(self.latest(now)));
        }
        state.receiver.resumed(missed.origin, missed.after);
        for purge in &missed.purges {
            if state.receiver.receive(purge.origin, purge.seq) != Received::Duplicate {
                self.received.fetch_add(1, Ordering::Relaxed);
                self.relay(&mut state, purge, now);
                let purge = purge.clone().clamped(now.0, self.clock.drift_max_ms());
                self.merge(&mut state, &purge);
            }
        }
        state.receiver.last(missed.origin)
    }

    /// Of purges up to that time nothing is known: what was fetched before is validated before it is used.
    pub fn distrust_before(&self, at: Hlc) {
        self.state.lock().writer.raise_floor(at);
    }

    /// Where to go on with the purges of another process.
    pub fn seen(&self, origin: u64) -> u64 {
        self.state.lock().receiver.last(origin)
    }

    /// What somebody lacks who has seen the purges of `origin` up to `seq`, at most `most` at a time.
    pub fn missed(&self, origin: u64, seq: u64, most: usize) -> Missed {
        let state = self.state.lock();
        let resume = state.log.since(origin, seq, most);
        Missed {
            origin: self.origin,
            floor: resume.floor,
            after: resume.after,
            purges: resume.purges.into_iter().cloned().collect(),
        }
    }

    /// Up to which number nothing is missing here, of this process and of others.
    pub fn all_seen(&self) -> Vec<(u64, u64)> {
        let state = self.state.lock();
        let others = state.relays.keys().copied();
        others
            .map(|origin| (origin, state.receiver.last(origin)))
            .chain([(self.origin, state.log.last())])
            .collect()
    }

    /// What can be given on of another process' purges after `seq`; `None`: nothing.
    pub fn relayed(&self, origin: u64, seq: u64, most: usize) -> Option<Missed> {
        let state = self.state.lock();
        let log = &state.relays.get(&origin)?.log;
        let resume = (seq < log.last()).then(|| log.since(origin, seq, most))?;
        Some(Missed {
            origin,
            floor: resume.floor,
            after: resume.after,
            purges: resume.purges.into_iter().cloned().collect(),
        })
    }

    /// The number of the last purge of this process; wakes with each.
    pub fn last(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// Another node answered with its time; see [`Skew::answered`].
    ///
    /// # Errors
    /// [`TooFarAhead`]: its clock is further ahead than any is followed.
    pub fn answered(
        &self,
        peer: u32,
        asked: UnixMs,
        their_now: Hlc,
        now: UnixMs,
    ) -> Result<(), TooFarAhead> {
        let followed = self.clock.observe(their_now, now.0);
        self.state.lock().skew.answered(peer, asked.0, their_now);
        followed
    }

    /// Another node told its time.
    ///
    /// # Errors
    /// [`TooFarAhead`], as above.
    pub fn told(&self, their_now: Hlc, now: UnixMs) -> Result<(), TooFarAhead> {
        self.clock.observe(their_now, now.0)
    }

    /// There are other nodes, and it is not known which: see [`Skew::mesh_is_unknown`].
    pub fn mesh_is_unknown(&self) {
        self.state.lock().skew.mesh_is_unknown();
    }

    /// Every other node has been named.
    pub fn mesh_is_known(&self) {
        self.state.lock().skew.mesh_is_known();
    }

    /// A node that nothing is known of.
    pub fn is_unknown(&self, peer: u32) {
        self.state.lock().skew.unknown(peer);
    }

    /// A node that left.
    pub fn has_left(&self, peer: u32) {
        self.state.lock().skew.remove(peer);
    }

    /// Lets go of purges that are too old to be told.
    pub fn forget(&self, now: UnixMs) {
        let mut state = self.state.lock();
        state.log.forget(now.0);
        let relays = state.relays.values_mut();
        relays.for_each(|relay| relay.log.forget(now.0));
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            made: self.made.each_ref().map(read),
            received: read(&self.received),
            floors: read(&self.floors),
        }
    }

    fn merge(&self, state: &mut State, purge: &Purge) {
        if state.writer.merge(purge).republish {
            self.stamps.store(state.writer.stamps());
        }
    }

    /// Keeps a purge of another process; beyond so many processes the one that was silent longest is let go.
    fn relay(&self, state: &mut State, purge: &Purge, now: UnixMs) {
        let limits = LogLimits {
            purges_max: RELAYED_MAX,
            ..LogLimits::default()
        };
        // None before the first one that is kept is known.
        let anew = || PurgeLog::relaying(purge.origin, purge.seq - 1, self.latest(now), limits);
        let relay = state.relays.entry(purge.origin);
        let relay = relay.or_insert_with(|| Relay {
            log: anew(),
            heard: now,
        });
        relay.heard = now;
        if !relay.log.relay(purge, now.0) {
            relay.log = anew();
            relay.log.relay(purge, now.0);
        }
        if state.relays.len() > RELAYS_MAX {
            let silent = state.relays.iter().min_by_key(|(_, relay)| relay.heard);
            if let Some(silent) = silent.map(|(origin, _)| *origin) {
                state.relays.remove(&silent);
            }
        }
    }

    /// The latest time that another node is believed: no fetch that any node has begun until now is later.
    pub fn latest(&self, now: UnixMs) -> Hlc {
        let latest_ms = now.0.saturating_add(self.clock.drift_max_ms());
        Hlc::new(latest_ms, u16::MAX, u32::MAX)
    }
}

fn kind(scope: &Scope) -> usize {
    match scope {
        Scope::Key(_) => 0,
        Scope::Tag(_) => 1,
        Scope::Prefix { .. } => 2,
        Scope::Host(_) => 3,
        Scope::All(_) => 4,
    }
}
