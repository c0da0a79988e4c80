//! How engines want their work laid, whatever the policy: each gets time to settle after new work, and the work is
//! spread over what fails together.
//!
//! Starting a stream is the dearest thing that an engine does, so one that has work and got some a moment ago is
//! passed over while another is free. One that is new gets one stream, and the next when it has settled: no burst.
//! While nobody has settled, policies that look for the least load take the one that is nearest to it; they would all
//! take the new one. Among those that are left the policy rules, and groups decide where it is indifferent: what fails
//! together then takes the least with it. Where it hardly ever is, the load of a candidate's group counts with its own.
//!
//! Consistent hashing moves no key for either hint, only requests without one: the balancer does not know which keys
//! run, and the same stream on two engines costs more than two at once on one. Its bound of load stays.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use super::selector::{Candidate, Pick, Selector};

/// Groups that are told apart; what is beyond is no group.
pub const GROUPS_MAX: usize = 16;

/// How work is laid on engines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How long an engine with work gets no more after some was given to it.
    pub settle: Duration,
    /// The group of each candidate, in their order, below [`GROUPS_MAX`].
    pub groups: Vec<Option<u8>>,
}

/// What speaks against a candidate, the weightiest first; compared as fractions of its weight.
#[derive(Clone, Copy, Debug)]
struct Against {
    /// Time since it was given work times its weight, while it settles: more is better.
    settling: Option<u128>,
    requests: u128,
    weight: u128,
    of_group: u64,
}

impl Against {
    fn order(&self, other: &Self) -> Ordering {
        let load = |one: &Self, by: &Self| one.requests * by.weight;
        let by_load = || {
            load(self, other)
                .cmp(&load(other, self))
                .then_with(|| self.of_group.cmp(&other.of_group))
        };
        match (self.settling, other.settling) {
            (None, None) => by_load(),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(other)) => other.cmp(&one).then_with(by_load),
        }
    }
}

/// What is in flight in a group, with one more request, and the group's weight.
#[derive(Clone, Copy, Debug)]
struct Fill {
    requests: u64,
    weight: u64,
}

impl Fill {
    /// Requests by weight, for a policy that weighs loads in floating point.
    fn share(self) -> f64 {
        self.requests as f64 / self.weight.max(1) as f64
    }

    fn is_less_than(self, other: Self) -> bool {
        let load = |one: Self, by: Self| u128::from(one.requests) * u128::from(by.weight);
        load(self, other) < load(other, self)
    }
}

impl Spread {
    /// Whether it can make any difference to a pick.
    pub(super) fn has_a_say(&self) -> bool {
        let mut named = self.groups.iter();
        let first = named.next();
        !self.settle.is_zero() || named.any(|group| Some(group) != first)
    }

    /// Whether it was given work so lately that it gets no more while another is free.
    fn is_settling(&self, candidate: &Candidate, now: Instant) -> bool {
        self.settling(candidate, now).is_some()
    }

    /// How far it has settled, by weight: time since it was given work. `None` when it has, or has no work.
    fn settling(&self, candidate: &Candidate, now: Instant) -> Option<u128> {
        if self.settle.is_zero() {
            return None;
        }
        let ago = candidate.load.picked_ago(now)?;
        let is_settling = ago < self.settle && candidate.load.in_flight() > 0;
        is_settling.then(|| ago.as_nanos() * u128::from(candidate.weight))
    }

    fn group(&self, index: usize) -> Option<u8> {
        self.groups.get(index).copied().flatten()
    }

    /// The groups of two candidates when they fail apart.
    fn apart(&self, one: usize, other: usize) -> Option<(u8, u8)> {
        let groups = self.group(one).zip(self.group(other));
        groups.filter(|(one, other)| one != other)
    }

    /// How full a group would be with one more request.
    fn fill(&self, candidates: &[Candidate], group: u8) -> Fill {
        let mut fill = Fill {
            requests: 1,
            weight: 0,
        };
        for (candidate, of) in candidates.iter().zip(&self.groups) {
            if *of == Some(group) {
                fill.requests += candidate.load.in_flight();
                fill.weight += u64::from(candidate.weight);
            }
        }
        fill
    }

    /// What is in flight in each group.
    fn of_groups(&self, candidates: &[Candidate]) -> [u64; GROUPS_MAX] {
        let mut of_groups = [0; GROUPS_MAX];
        for (candidate, group) in candidates.iter().zip(&self.groups) {
            if let Some(sum) = group.and_then(|group| of_groups.get_mut(usize::from(group))) {
                *sum += candidate.load.in_flight();
            }
        }
        of_groups
    }

    /// What is in flight in the group of a candidate.
    fn of_group(&self, of_groups: &[u64; GROUPS_MAX], index: usize) -> u64 {
        let group = self.group(index);
        let sum = group.and_then(|group| of_groups.get(usize::from(group)));
        sum.copied().unwrap_or(0)
    }
}

impl Selector {
    /// Least connections among those that have settled; of equals the one in the least loaded group.
    pub(super) fn least_connections_spread(
        &self,
        spread: &Spread,
        at: Pick<'_>,
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        let of_groups = spread.of_groups(self.candidates());
        let mut best: Option<(usize, Against)> = None;
        let mut ties = 1;
        for (index, candidate) in self.eligible(at.tried) {
            let against = Against {
                settling: spread.settling(candidate, at.now),
                requests: u128::from(candidate.load.in_flight()) + 1,
                weight: u128::from(candidate.weight),
                of_group: spread.of_group(&of_groups, index),
            };
            let order = best.map_or(Ordering::Less, |(_, least)| against.order(&least));
            ties = match order {
                Ordering::Less => 1,
                Ordering::Equal => ties + 1,
                Ordering::Greater => continue,
            };
            if ties == 1 || rng.u32(0..ties) == 0 {
                best = Some((index, against));
            }
        }
        best.map(|(index, _)| index)
    }

    /// Whose turn it is among those that have settled, of equals the one in the least loaded group.
    pub(super) fn round_robin_spread(&self, spread: &Spread, at: Pick<'_>) -> Option<usize> {
        let of_groups = spread.of_groups(self.candidates());
        let rank = |index| spread.of_group(&of_groups, index);
        let has_settled = |candidate: &Candidate| !spread.is_settling(candidate, at.now);
        let settled = self.round_robin(at, has_settled, rank);
        settled.or_else(|| self.round_robin(at, |_| true, rank))
    }

    /// One by weight among those that have settled; of two that fail apart the one in the emptier group.
    pub(super) fn random_spread(
        &self,
        spread: &Spread,
        at: Pick<'_>,
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        let settled = self.two_settled(spread, at, rng);
        let (first, second) = settled.or_else(|| self.draw().two(at.tried, rng))?;
        let is_emptier = |one, other| {
            let fill = |group| spread.fill(self.candidates(), group);
            let apart = spread.apart(one, other);
            apart.is_some_and(|(one, other)| fill(one).is_less_than(fill(other)))
        };
        Some(match second {
            Some(second) if is_emptier(second, first) => second,
            _ => first,
        })
    }

    /// The better of two among those that have settled. Of two that fail apart the loads of their groups count: loads
    /// by latency are hardly ever equal, so groups would decide nothing.
    pub(super) fn better_of_two_spread(
        &self,
        spread: &Spread,
        at: Pick<'_>,
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        let Some((first, second)) = self.two_settled(spread, at, rng) else {
            return self.nearest_to_settled(spread, at);
        };
        let is_better = |one: usize, other: usize| {
            let [load, other_load] = [one, other].map(|index| self.ewma_load(index, at));
            let Some((group, other_group)) = spread.apart(one, other) else {
                return load < other_load;
            };
            let [fill, other_fill] =
                [group, other_group].map(|group| spread.fill(self.candidates(), group));
            let (load, other_load) = (load * fill.share(), other_load * other_fill.share());
            // Of idle ones nothing else is known.
            load < other_load || (load == other_load && fill.is_less_than(other_fill))
        };
        Some(match second {
            Some(second) if is_better(second, first) => second,
            _ => first,
        })
    }

    fn nearest_to_settled(&self, spread: &Spread, at: Pick<'_>) -> Option<usize> {
        let progress = |candidate| spread.settling(candidate, at.now).unwrap_or(u128::MAX);
        let nearest = self
            .eligible(at.tried)
            .max_by_key(|(_, candidate)| progress(candidate));
        nearest.map(|(index, _)| index)
    }

    /// Two different candidates by weight that have settled, or the only one there is.
    fn two_settled(
        &self,
        spread: &Spread,
        at: Pick<'_>,
        rng: &mut fastrand::Rng,
    ) -> Option<(usize, Option<usize>)> {
        if spread.settle.is_zero() {
            return self.draw().two(at.tried, rng);
        }
        let first = self.one_settled(spread, at, None, rng)?;
        Some((first, self.one_settled(spread, at, Some(first), rng)))
    }

    /// Each in turn takes the place of the one before with its share of the weight seen so far. What settles or ends
    /// meanwhile on another core cannot make the draw miss.
    fn one_settled(
        &self,
        spread: &Spread,
        at: Pick<'_>,
        except: Option<usize>,
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        let mut drawn = None;
        let mut total = 0;
        for (index, candidate) in self.eligible(at.tried) {
            if Some(index) == except || spread.is_settling(candidate, at.now) {
                continue;
            }
            let weight = u64::from(candidate.weight);
            total += weight;
            if rng.u64(0..total) < weight {
                drawn = Some(index);
            }
        }
        drawn
    }
}
