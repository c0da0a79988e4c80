//! Which keys of other owners a node keeps.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};

use super::{Rate, WINDOW_MIN_MS};

/// Keys among which one is forgotten when another one is to be watched.
const SWEPT: usize = 8;

/// Bounds of a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorLimits {
    /// Bytes: an eighth of the first tier.
    pub bytes_max: u64,
    /// Keys that are mirrored.
    pub mirrored_max: usize,
    /// Keys that are watched and not mirrored.
    pub watched_max: usize,
    /// Requests a second that make a key hot whatever else there is.
    pub hot_per_second: u64,
}

impl MirrorLimits {
    /// Of a node with this first tier, in bytes.
    pub fn of_l1(l1_bytes: u64) -> Self {
        Self {
            bytes_max: l1_bytes / 8,
            mirrored_max: 4_096,
            watched_max: 4_096,
            hot_per_second: 20,
        }
    }
}

/// What to do with a response that another node gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promotion<K> {
    /// Keep it, and drop these.
    Mirror {
        /// Which ones leave.
        evicted: Vec<K>,
    },
    /// Not hot enough, or too large. An older version that is mirrored is not any more.
    Pass,
}

/// Which keys are mirrored, and how hot they are.
#[derive(Clone, Debug)]
pub struct Mirror<K> {
    limits: MirrorLimits,
    bytes: u64,
    mirrored: BTreeMap<K, Mirrored>,
    watched: BTreeMap<K, Rate>,
    /// Where the search for a key to forget goes on.
    swept: Option<K>,
    /// Mirrored keys by their rate when they were sorted last, the coldest first; some may have left.
    coldest: VecDeque<(u64, K)>,
    sorted_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Mirrored {
    rate: Rate,
    bytes: u64,
}

impl<K: Ord + Clone> Mirror<K> {
    /// Nothing is mirrored.
    pub fn new(limits: MirrorLimits) -> Self {
        Self {
            limits,
            bytes: 0,
            mirrored: BTreeMap::new(),
            watched: BTreeMap::new(),
            swept: None,
            coldest: VecDeque::new(),
            sorted_ms: None,
        }
    }

    /// A key of another owner was asked for; also on hits of the mirror, since what nobody tells of cools down.
    pub fn asked(&mut self, key: &K, now_ms: u64) {
        if let Some(mirrored) = self.mirrored.get_mut(key) {
            mirrored.rate.count(now_ms);
        } else if let Some(rate) = self.watched.get_mut(key) {
            rate.count(now_ms);
        } else {
            self.watch(key, Rate::new(now_ms), now_ms);
        }
    }

    /// The owner's answer is here, `bytes` of it: whether to keep it. It is kept if it is as hot as the coldest that is
    /// mirrored or hot by any measure, and if there is room or only colder ones make room.
    pub fn offer(&mut self, key: &K, bytes: u64, now_ms: u64) -> Promotion<K> {
        // A new version of what is mirrored is offered like any other.
        let known = self.leave(key);
        let Some(rate) = known.or_else(|| self.watched.get(key).copied()) else {
            return Promotion::Pass;
        };
        self.sort(now_ms);
        let heat = rate.per_kilosecond(now_ms);
        let evicted = self.victims(heat, bytes);
        match evicted.filter(|_| known.is_some() || self.is_hot(heat)) {
            Some(evicted) => {
                for victim in &evicted {
                    self.leave(victim);
                }
                self.enter(key, Mirrored { rate, bytes }, heat);
                Promotion::Mirror { evicted }
            }
            None => {
                // It is watched as before, so that it may come back.
                self.watch(key, rate, now_ms);
                Promotion::Pass
            }
        }
    }

    /// It is mirrored no more (purged, expired).
    pub fn remove(&mut self, key: &K) {
        self.leave(key);
    }

    /// Whether it is mirrored.
    pub fn has(&self, key: &K) -> bool {
        self.mirrored.contains_key(key)
    }

    /// Bytes that are mirrored.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn is_hot(&self, heat: u64) -> bool {
        let is_as_hot_as_the_coldest = self
            .coldest
            .front()
            .is_some_and(|(coldest, _)| heat >= *coldest);
        heat > 0 && (is_as_hot_as_the_coldest || heat >= self.limits.hot_per_second * 1_000)
    }

    /// Who must leave for so many bytes; none: there would be no room, or something hotter would leave.
    fn victims(&self, heat: u64, bytes: u64) -> Option<Vec<K>> {
        let mut victims = Vec::new();
        let (mut taken, mut count) = (self.bytes.saturating_add(bytes), self.mirrored.len() + 1);
        let mut coldest = self.coldest.iter();
        while taken > self.limits.bytes_max || count > self.limits.mirrored_max {
            let (_, victim) = coldest.next().filter(|(coldest, _)| *coldest <= heat)?;
            if let Some(mirrored) = self.mirrored.get(victim) {
                taken -= mirrored.bytes;
                count -= 1;
                victims.push(victim.clone());
            }
        }
        Some(victims)
    }

    fn enter(&mut self, key: &K, mirrored: Mirrored, heat: u64) {
        self.watched.remove(key);
        self.bytes += mirrored.bytes;
        self.mirrored.insert(key.clone(), mirrored);
        let at = self.coldest.partition_point(|(other, _)| *other < heat);
        self.coldest.insert(at, (heat, key.clone()));
    }

    fn leave(&mut self, key: &K) -> Option<Rate> {
        let mirrored = self.mirrored.remove(key)?;
        self.bytes -= mirrored.bytes;
        self.coldest.retain(|(_, other)| other != key);
        Some(mirrored.rate)
    }

    /// Rates within a tenth of a second are the same, so sorting is rare.
    fn sort(&mut self, now_ms: u64) {
        let sorted_ms = self.sorted_ms;
        if sorted_ms.is_some_and(|sorted_ms| now_ms.saturating_sub(sorted_ms) < WINDOW_MIN_MS) {
            return;
        }
        let heat =
            |(key, mirrored): (&K, &Mirrored)| (mirrored.rate.per_kilosecond(now_ms), key.clone());
        let mut coldest: Vec<_> = self.mirrored.iter().map(heat).collect();
        coldest.sort_unstable();
        self.coldest = coldest.into();
        self.sorted_ms = Some(now_ms);
    }

    fn watch(&mut self, key: &K, rate: Rate, now_ms: u64) {
        if self.watched.len() >= self.limits.watched_max && !self.watched.contains_key(key) {
            self.forget_one(now_ms);
        }
        self.watched.insert(key.clone(), rate);
    }

    /// Forgets the coldest of a few that are watched, each time of the next few.
    fn forget_one(&mut self, now_ms: u64) {
        let after = self.swept.take().map_or(Unbounded, Excluded);
        let next = self.watched.range((after, Unbounded)).chain(&self.watched);
        let some: Vec<_> = next.take(SWEPT).collect();
        let coldest = some
            .iter()
            .min_by_key(|(_, rate)| rate.per_kilosecond(now_ms));
        let coldest = coldest.map(|(key, _)| (*key).clone());
        self.swept = some.last().map(|(key, _)| (*key).clone());
        if let Some(coldest) = coldest {
            self.watched.remove(&coldest);
        }
    }
}
