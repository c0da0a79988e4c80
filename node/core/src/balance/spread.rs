//! Least connections for engines: each gets time to settle after new work, and the work is spread over what fails
//! together.
//!
//! Starting a stream is the dearest thing that an engine does, so one that has work and got some a moment ago is
//! passed over while another is free. Of engines with equal load the one in the least loaded group is taken: what
//! fails together then takes the least with it.

use std::time::{Duration, Instant};

use super::selector::{Candidate, Pick};

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
    is_settling: bool,
    requests: u128,
    weight: u128,
    of_group: u64,
}

impl Against {
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        let load = |one: &Self, by: &Self| one.requests * by.weight;
        self.is_settling
            .cmp(&other.is_settling)
            .then_with(|| load(self, other).cmp(&load(other, self)))
            .then_with(|| self.of_group.cmp(&other.of_group))
    }
}

impl Spread {
    /// The candidate to use among `eligible`; remembers when it was picked.
    pub(super) fn pick<'c>(
        &self,
        candidates: &'c [Candidate],
        eligible: impl Iterator<Item = (usize, &'c Candidate)>,
        at: &Pick<'_>,
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        let of_groups = self.of_groups(candidates);
        let mut best: Option<(usize, Against)> = None;
        let mut ties = 1;
        for (index, candidate) in eligible {
            let against = self.against(index, candidate, &of_groups, at.now);
            let order = best.map_or(std::cmp::Ordering::Less, |(_, least)| against.order(&least));
            ties = match order {
                std::cmp::Ordering::Less => 1,
                std::cmp::Ordering::Equal => ties + 1,
                std::cmp::Ordering::Greater => continue,
            };
            if ties == 1 || rng.u32(0..ties) == 0 {
                best = Some((index, against));
            }
        }
        let (index, _) = best?;
        candidates[index].load.picked(at.core, at.now);
        Some(index)
    }

    fn of_groups(&self, candidates: &[Candidate]) -> [u64; GROUPS_MAX] {
        let mut of_groups = [0; GROUPS_MAX];
        for (candidate, group) in candidates.iter().zip(&self.groups) {
            if let Some(sum) = group.and_then(|group| of_groups.get_mut(usize::from(group))) {
                *sum += candidate.load.in_flight();
            }
        }
        of_groups
    }

    fn against(
        &self,
        index: usize,
        candidate: &Candidate,
        of_groups: &[u64; GROUPS_MAX],
        now: Instant,
    ) -> Against {
        let in_flight = candidate.load.in_flight();
        let group = self.groups.get(index).copied().flatten();
        let picked_ago = candidate.load.picked_ago(now);
        Against {
            is_settling: in_flight > 0 && picked_ago.is_some_and(|ago| ago < self.settle),
            requests: u128::from(in_flight) + 1,
            weight: u128::from(candidate.weight),
            of_group: group.map_or(0, |group| {
                of_groups.get(usize::from(group)).copied().unwrap_or(0)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::balance::{BackendLoad, Policy, Selector};

    fn selector(settle: Duration, groups: &[Option<u8>], epoch: Instant) -> Selector {
        let candidate = |at: usize| Candidate {
            id: format!("e{at}").as_str().into(),
            weight: 1_000,
            load: Arc::new(BackendLoad::new(2, epoch)),
        };
        let spread = Spread {
            settle,
            groups: groups.to_vec(),
        };
        let candidates = (0..groups.len()).map(candidate).collect();
        Selector::new(Policy::LeastConnections, candidates).spread(spread)
    }

    fn pick(selector: &Selector, core: usize, now: Instant) -> usize {
        let mut rng = fastrand::Rng::with_seed(1);
        let picked = selector
            .pick(
                Pick {
                    core,
                    now,
                    hash: None,
                    tried: &[],
                },
                &mut rng,
            )
            .unwrap();
        selector.candidates()[picked].load.started(core);
        picked
    }

    #[test]
    fn an_engine_that_just_got_work_is_passed_over_whoever_gave_it() {
        let epoch = Instant::now();
        let selector = selector(Duration::from_secs(5), &[None, None], epoch);
        let first = pick(&selector, 0, epoch + Duration::from_secs(1));
        // The other one has two streams, and has settled.
        let other = 1 - first;
        selector.candidates()[other].load.started(1);
        selector.candidates()[other].load.started(1);
        assert_eq!(pick(&selector, 1, epoch + Duration::from_secs(2)), other);
        // Both are settling: the one with less work is taken.
        assert_eq!(pick(&selector, 1, epoch + Duration::from_secs(3)), first);
        let later = epoch + Duration::from_secs(60);
        assert_eq!(pick(&selector, 0, later), first, "everybody has settled");
    }

    #[test]
    fn an_idle_engine_needs_no_time_to_settle() {
        let epoch = Instant::now();
        let selector = selector(Duration::from_secs(5), &[None], epoch);
        for second in 0..5 {
            assert_eq!(pick(&selector, 0, epoch + Duration::from_secs(second)), 0);
            selector.candidates()[0].load.finished(0, true);
        }
    }

    #[test]
    fn of_equal_engines_the_one_in_the_emptier_group_is_taken() {
        let epoch = Instant::now();
        let groups = [Some(0), Some(0), Some(1), Some(1)];
        let selector = selector(Duration::ZERO, &groups, epoch);
        let picks: Vec<u8> = (0..4)
            .map(|_| groups[pick(&selector, 0, epoch)].unwrap())
            .collect();
        assert_ne!(picks[0], picks[1], "the second goes to the other group");
        assert_ne!(picks[2], picks[3]);
    }
}
