//! Picks a backend for a request.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::draw::WeightedDraw;
use super::load::BackendLoad;
use super::policy::Policy;
use super::ring::Ring;
use super::spread::Spread;
use crate::ids::BackendId;

/// A backend that may be picked.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The backend.
    pub id: BackendId,
    /// Effective weight: configured weight times 1000 times the slow start share. Zero is never
    /// picked.
    pub weight: u32,
    /// Its load, shared with every other selector over the same backend.
    pub load: Arc<BackendLoad>,
}

/// The circumstances of one pick.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    /// The core that will send the request.
    pub core: usize,
    /// The time of the pick.
    pub now: Instant,
    /// What the request hashes to, see [`super::hash_key`]; only consistent hashing looks at it.
    pub hash: Option<u64>,
    /// Candidates that must not be picked again, by index.
    pub tried: &'a [usize],
}

/// An immutable set of candidates and the policy that chooses among them.
#[derive(Debug)]
pub struct Selector {
    policy: Policy,
    candidates: Vec<Candidate>,
    draw: WeightedDraw,
    ring: Option<Ring>,
    spread: Option<Spread>,
}

impl Selector {
    /// Prepares picks among `candidates`, whose loads keep their history.
    pub fn new(policy: Policy, candidates: Vec<Candidate>) -> Self {
        if let Policy::PeakEwma(config) = policy {
            for candidate in &candidates {
                candidate.load.retune(config);
            }
        }
        let ring = matches!(policy, Policy::ConsistentHash { .. }).then(|| Ring::new(&candidates));
        Self {
            policy,
            draw: WeightedDraw::new(candidates.iter().map(|candidate| candidate.weight)),
            candidates,
            ring,
            spread: None,
        }
    }

    /// Lays work as engines need it, see [`Spread`]. One that makes no difference costs nothing.
    #[must_use]
    pub fn spread(self, spread: Spread) -> Self {
        Self {
            spread: spread.has_a_say().then_some(spread),
            ..self
        }
    }

    /// The policy it picks by.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// The candidates in the order that the indices of [`Self::pick`] count.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The index of the candidate to use; `None` when all that have weight were tried.
    ///
    /// # Panics
    /// When a candidate's load has no slot for the core.
    pub fn pick(&self, at: Pick<'_>, rng: &mut fastrand::Rng) -> Option<usize> {
        let Some(spread) = &self.spread else {
            return self.pick_plain(at, rng);
        };
        let picked = self.pick_spread(spread, at, rng);
        if let Some(index) = picked {
            self.given(index, at.core, at.now);
        }
        picked
    }

    /// Work was given to a candidate that was not picked here. Counts only with a [`Spread`].
    ///
    /// # Panics
    /// When there is no such candidate, or its load has no slot for the core.
    pub fn given(&self, index: usize, core: usize, now: Instant) {
        if self.spread.is_some() {
            self.candidates[index].load.picked(core, now);
        }
    }

    fn pick_plain(&self, at: Pick<'_>, rng: &mut fastrand::Rng) -> Option<usize> {
        match (self.policy, &self.ring, at.hash) {
            (Policy::RoundRobin, ..) => self.round_robin(at, |_| true, |_| 0),
            (Policy::LeastConnections, ..) => self.least_connections(at, rng),
            (Policy::PeakEwma(_), ..) => self.better_of_two(at, rng),
            (
                Policy::ConsistentHash {
                    bounded_load_percent,
                },
                Some(ring),
                Some(hash),
            ) => self.bounded_hash(ring, hash, bounded_load_percent, at),
            (Policy::Random | Policy::ConsistentHash { .. }, ..) => self.draw.one(at.tried, rng),
        }
    }

    fn pick_spread(&self, spread: &Spread, at: Pick<'_>, rng: &mut fastrand::Rng) -> Option<usize> {
        match (self.policy, &self.ring, at.hash) {
            (Policy::RoundRobin, ..) => self.round_robin_spread(spread, at),
            (Policy::LeastConnections, ..) => self.least_connections_spread(spread, at, rng),
            (Policy::PeakEwma(_), ..) => self.better_of_two_spread(spread, at, rng),
            (Policy::ConsistentHash { .. }, Some(_), Some(_)) => self.pick_plain(at, rng),
            (Policy::Random | Policy::ConsistentHash { .. }, ..) => {
                self.random_spread(spread, at, rng)
            }
        }
    }

    pub(super) fn draw(&self) -> &WeightedDraw {
        &self.draw
    }

    pub(super) fn eligible(&self, tried: &[usize]) -> impl Iterator<Item = (usize, &Candidate)> {
        self.candidates
            .iter()
            .enumerate()
            .filter(move |(index, candidate)| candidate.weight > 0 && !tried.contains(index))
    }

    /// Whose turn it is among those that `takes` lets have one; of equals the one of the least `rank`.
    pub(super) fn round_robin(
        &self,
        at: Pick<'_>,
        takes: impl Fn(&Candidate) -> bool,
        rank: impl Fn(usize) -> u64,
    ) -> Option<usize> {
        // Current weights stay within the total; one left over from a time of larger weights would
        // otherwise starve or favour its backend for many rounds.
        let bound = i64::try_from(self.draw.total()).unwrap_or(i64::MAX / 2);
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, candidate) in self.eligible(at.tried).filter(|(_, one)| takes(one)) {
            let weight = i64::from(candidate.weight);
            let slot = &candidate.load.core(at.core).current_weight;
            let current = slot.load(Relaxed).clamp(-bound, bound) + weight;
            slot.store(current, Relaxed);
            total += weight;
            if best.is_none_or(|(chosen, highest)| {
                current > highest || (current == highest && rank(index) < rank(chosen))
            }) {
                best = Some((index, current));
            }
        }
        let (index, current) = best?;
        let slot = &self.candidates[index].load.core(at.core).current_weight;
        slot.store(current - total, Relaxed);
        Some(index)
    }

    fn least_connections(&self, at: Pick<'_>, rng: &mut fastrand::Rng) -> Option<usize> {
        let mut best: Option<(usize, u128, u128)> = None;
        let mut ties = 1;
        for (index, candidate) in self.eligible(at.tried) {
            let requests = u128::from(candidate.load.in_flight()) + 1;
            let weight = u128::from(candidate.weight);
            // Cross-multiplied, so that equal shares compare as equal.
            let order = best.map_or(std::cmp::Ordering::Less, |(_, least, of_weight)| {
                (requests * of_weight).cmp(&(least * weight))
            });
            let wins = match order {
                std::cmp::Ordering::Less => {
                    ties = 1;
                    true
                }
                std::cmp::Ordering::Equal => {
                    ties += 1;
                    rng.u32(0..ties) == 0
                }
                std::cmp::Ordering::Greater => false,
            };
            if wins {
                best = Some((index, requests, weight));
            }
        }
        best.map(|(index, ..)| index)
    }

    fn better_of_two(&self, at: Pick<'_>, rng: &mut fastrand::Rng) -> Option<usize> {
        let (first, second) = self.draw.two(at.tried, rng)?;
        Some(match second {
            Some(second) if self.ewma_load(second, at) < self.ewma_load(first, at) => second,
            _ => first,
        })
    }

    pub(super) fn ewma_load(&self, index: usize, at: Pick<'_>) -> f64 {
        let candidate = &self.candidates[index];
        candidate.load.peak_ewma_load(at.core, at.now) / f64::from(candidate.weight)
    }

    /// The first candidate on the ring that has room for one more request. With nothing tried there
    /// always is one, because the bounds of all sum up to more than what is in flight; with some
    /// tried the others may all be full, and the key's own order decides.
    fn bounded_hash(
        &self,
        ring: &Ring,
        hash: u64,
        bounded_load_percent: u32,
        at: Pick<'_>,
    ) -> Option<usize> {
        let in_flight: u64 = self.eligible(&[]).map(|(_, c)| c.load.in_flight()).sum();
        let allowed = u128::from(bounded_load_percent.max(100)) * (u128::from(in_flight) + 1);
        let total_weight = u128::from(self.draw.total());
        // in_flight + 1 <= ceil(percent / 100 * (total + 1) * weight / total weight), in integers.
        let has_room = |candidate: &Candidate| {
            u128::from(candidate.load.in_flight()) * 100 * total_weight
                < allowed * u128::from(candidate.weight)
        };
        let untried = || ring.walk(hash).filter(|index| !at.tried.contains(index));
        untried()
            .find(|&index| has_room(&self.candidates[index]))
            .or_else(|| untried().next())
    }
}
