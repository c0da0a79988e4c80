//! Random draws in proportion to weight.

/// Cumulated weights of a fixed list: entry `i` owns the numbers from the end before it up to its
/// own, so that one random number and a binary search make a draw.
#[derive(Debug)]
pub(super) struct WeightedDraw {
    ends: Box<[u64]>,
}

impl WeightedDraw {
    pub(super) fn new(weights: impl Iterator<Item = u32>) -> Self {
        let ends = weights
            .scan(0, |end, weight| {
                *end += u64::from(weight);
                Some(*end)
            })
            .collect();
        Self { ends }
    }

    /// Sum of all weights.
    pub(super) fn total(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// One index outside `tried`; `None` when none has weight.
    pub(super) fn one(&self, tried: &[usize], rng: &mut fastrand::Rng) -> Option<usize> {
        if tried.is_empty() {
            let total = self.total();
            return (total > 0).then(|| self.owner(rng.u64(0..total)));
        }
        self.one_without(|index| tried.contains(&index), rng)
    }

    /// Two different indices outside `tried`, or the only one there is.
    pub(super) fn two(
        &self,
        tried: &[usize],
        rng: &mut fastrand::Rng,
    ) -> Option<(usize, Option<usize>)> {
        let first = self.one(tried, rng)?;
        let second = if tried.is_empty() {
            self.other_than(first, rng)
        } else {
            self.one_without(|index| index == first || tried.contains(&index), rng)
        };
        Some((first, second))
    }

    /// Draws from the numbers of all others by stepping over those of `first`.
    fn other_than(&self, first: usize, rng: &mut fastrand::Rng) -> Option<usize> {
        let rest = self.total() - self.weight(first);
        (rest > 0).then(|| {
            let number = rng.u64(0..rest);
            let number = if number < self.start(first) {
                number
            } else {
                number + self.weight(first)
            };
            self.owner(number)
        })
    }

    fn one_without(&self, skip: impl Fn(usize) -> bool, rng: &mut fastrand::Rng) -> Option<usize> {
        let eligible = || (0..self.ends.len()).filter(|&index| !skip(index));
        let total: u64 = eligible().map(|index| self.weight(index)).sum();
        if total == 0 {
            return None;
        }
        let mut number = rng.u64(0..total);
        eligible().find(|&index| match number.checked_sub(self.weight(index)) {
            Some(rest) => {
                number = rest;
                false
            }
            None => true,
        })
    }

    fn owner(&self, number: u64) -> usize {
        self.ends.partition_point(|&end| end <= number)
    }

    fn start(&self, index: usize) -> u64 {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    fn weight(&self, index: usize) -> u64 {
        self.ends[index] - self.start(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(mut draw: impl FnMut() -> usize) -> [u32; 4] {
        let mut counts = [0; 4];
        for _ in 0..10_000 {
            counts[draw()] += 1;
        }
        counts
    }

    fn assert_near(counts: [u32; 4], expected: [u32; 4]) {
        for (count, expected) in counts.into_iter().zip(expected) {
            assert!(count.abs_diff(expected) < 250, "{counts:?}");
        }
    }

    #[test]
    fn draws_follow_the_weights_and_skip_zero() {
        let draw = WeightedDraw::new([5, 0, 3, 2].into_iter());
        let mut rng = fastrand::Rng::with_seed(1);
        assert_near(
            shares(|| draw.one(&[], &mut rng).expect("weight")),
            [5000, 0, 3000, 2000],
        );
    }

    #[test]
    fn draws_among_the_untried_keep_their_proportions() {
        let draw = WeightedDraw::new([5, 0, 3, 2].into_iter());
        let mut rng = fastrand::Rng::with_seed(2);
        assert_near(
            shares(|| draw.one(&[0, 0, 9], &mut rng).expect("weight")),
            [0, 0, 6000, 4000],
        );
    }

    #[test]
    fn the_second_of_two_follows_the_weights_of_the_rest() {
        let draw = WeightedDraw::new([1, 0, 1, 1].into_iter());
        let mut rng = fastrand::Rng::with_seed(3);
        assert_near(
            shares(|| {
                let (first, second) = draw.two(&[], &mut rng).expect("weight");
                assert_ne!(Some(first), second);
                second.expect("three have weight")
            }),
            [3333, 0, 3333, 3333],
        );
    }

    #[test]
    fn a_single_weight_has_no_second() {
        let draw = WeightedDraw::new([0, 7, 0].into_iter());
        let mut rng = fastrand::Rng::with_seed(4);
        assert_eq!(draw.two(&[], &mut rng), Some((1, None)));
        assert_eq!(draw.two(&[1], &mut rng), None);
    }
}
