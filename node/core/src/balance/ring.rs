//! The hash ring of consistent hashing.

use super::hash::keyed_hash;
use super::selector::Candidate;

/// Points of a backend of weight one. More points even out the arcs: with 160 they differ by about
/// 8 %.
const POINTS_PER_UNIT_WEIGHT: u64 = 160;
/// Effective weights are in thousandths.
const UNIT_WEIGHT: u64 = 1_000;
/// Most points on a ring, unless there are more backends than that.
const MAX_POINTS: u64 = 65_536;

#[derive(Clone, Copy, Debug)]
struct Point {
    hash: u64,
    owner: u32,
}

/// Points of all candidates in the order of their hashes.
#[derive(Debug)]
pub(super) struct Ring {
    points: Box<[Point]>,
}

impl Ring {
    pub(super) fn new(candidates: &[Candidate]) -> Self {
        let shift = shrink_shift(candidates);
        let mut points: Vec<Point> = candidates
            .iter()
            .zip(0u32..)
            .flat_map(|(candidate, owner)| {
                let id = candidate.id.as_str().as_bytes();
                (0..point_count(candidate.weight, shift)).map(move |replica| Point {
                    hash: keyed_hash(replica, 0, id),
                    owner,
                })
            })
            .collect();
        // The id breaks ties, so that every node builds the same ring from any order of candidates.
        points.sort_unstable_by_key(|point| (point.hash, &candidates[point.owner as usize].id));
        Self {
            points: points.into_boxed_slice(),
        }
    }

    /// Candidates from the owner of `hash` onwards, once per point.
    pub(super) fn walk(&self, hash: u64) -> impl Iterator<Item = usize> {
        let start = self.points.partition_point(|point| point.hash < hash);
        let (before, after) = self.points.split_at(start);
        after.iter().chain(before).map(|point| point.owner as usize)
    }
}

/// The number of points depends on a backend's own weight alone: were it relative to the others, one
/// backend leaving would move the points, and so the keys, of all of them.
fn point_count(weight: u32, shift: u32) -> u64 {
    if weight == 0 {
        return 0;
    }
    ((u64::from(weight) * POINTS_PER_UNIT_WEIGHT / UNIT_WEIGHT) >> shift).max(1)
}

/// Halvings of all counts that keep the ring within [`MAX_POINTS`]. Halving, because a finer scale
/// would move points at each change of weight.
fn shrink_shift(candidates: &[Candidate]) -> u32 {
    let total = |shift| -> u64 {
        candidates
            .iter()
            .map(|candidate| point_count(candidate.weight, shift))
            .sum()
    };
    (0..u32::BITS)
        .find(|&shift| total(shift) <= MAX_POINTS)
        .unwrap_or(u32::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::BackendLoad;
    use crate::ids::BackendId;
    use std::sync::Arc;
    use std::time::Instant;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let epoch = Instant::now();
        weights
            .iter()
            .enumerate()
            .map(|(i, &weight)| Candidate {
                id: BackendId::from(format!("10.0.0.{i}:80").as_str()),
                weight,
                load: Arc::new(BackendLoad::new(1, epoch)),
            })
            .collect()
    }

    #[test]
    fn the_ring_stays_bounded_whatever_the_weights() {
        let ring = Ring::new(&candidates(&[u32::MAX, u32::MAX, 1, 0]));
        assert!(ring.points.len() as u64 <= MAX_POINTS);
        for owner in 0..3 {
            assert!(ring.points.iter().any(|point| point.owner == owner));
        }
        assert!(ring.points.iter().all(|point| point.owner != 3));
    }

    #[test]
    fn equal_weights_get_160_points_each() {
        assert_eq!(Ring::new(&candidates(&[1_000; 10])).points.len(), 1_600);
    }
}
