//! Whether two profiles really differ.
//!
//! Steps come in rounds `A B B A`, so that what drifts meanwhile (warmth, neighbours) hits both alike. Each half of a
//! round is a pair. If the profiles did not differ, the sign of each pair's difference would be chance: the exact
//! test counts, of all ways to choose the signs, those that would show as much as was seen (Fisher's permutation
//! test for pairs). It assumes nothing of how latencies are distributed.

/// Whose turn a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first profile.
    A,
    /// The second one.
    B,
}

/// The order of steps in one round.
pub const ROUND: [Side; 4] = [Side::A, Side::B, Side::B, Side::A];

/// Most pairs: the exact test looks at two to the power of this.
pub const PAIRS_MAX: usize = 20;

/// What is compared of two profiles; each is a test of its own.
pub const MEASURES: u32 = 3;

/// The same measure of the two steps of each pair (`A`, `B`), in the order of the steps of whole rounds.
pub fn pairs(measured: &[f64]) -> Vec<(f64, f64)> {
    let rounds = measured.chunks_exact(ROUND.len());
    rounds.flat_map(|m| [(m[0], m[1]), (m[3], m[2])]).collect()
}

/// Whether a measure differs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The median of what B is above A, over all pairs.
    pub median: f64,
    /// How likely as much would be seen, in either direction, if there were no difference.
    pub p_value: f64,
    /// Whether that is less likely than the confidence allows.
    pub is_real: bool,
}

/// Compares pairs by the logarithm of B over A; the median is told as that ratio less one (0.1: B is 10 % above A).
/// What is not positive counts as the smallest positive measure of all.
pub fn by_ratio(pairs: &[(f64, f64)], confidence: f64) -> Difference {
    let all = pairs.iter().flat_map(|(a, b)| [*a, *b]);
    let least = all.filter(|m| *m > 0.0).fold(f64::INFINITY, f64::min);
    let least = if least.is_finite() { least } else { 1.0 };
    let logs: Vec<f64> = pairs
        .iter()
        .map(|(a, b)| (b.max(least) / a.max(least)).ln())
        .collect();
    let found = test(&logs, confidence);
    Difference {
        median: found.median.exp_m1(),
        ..found
    }
}

/// Compares pairs by B less A.
pub fn by_difference(pairs: &[(f64, f64)], confidence: f64) -> Difference {
    let differences: Vec<f64> = pairs.iter().map(|(a, b)| b - a).collect();
    test(&differences, confidence)
}

/// With confidence `c` for all measures together each one gets its share of what may go wrong (Bonferroni).
fn test(differences: &[f64], confidence: f64) -> Difference {
    let differences = &differences[..differences.len().min(PAIRS_MAX)];
    let p_value = sign_flips(differences);
    let allowed = (1.0 - confidence) / f64::from(MEASURES);
    Difference {
        median: median(differences),
        p_value,
        is_real: p_value <= allowed,
    }
}

/// The share of all choices of signs whose sum is as far from zero as the one seen.
fn sign_flips(differences: &[f64]) -> f64 {
    let seen: f64 = differences.iter().sum::<f64>().abs();
    let size: f64 = differences.iter().map(|d| d.abs()).sum();
    // Sums of the same numbers in another order may differ in their last digits.
    let least = seen - size * 1e-12;
    // The sign of the first one is kept: turning all signs changes nothing but the sum's sign.
    let choices = 1_u32 << differences.len().saturating_sub(1);
    let as_far = (0..choices)
        .filter(|signs| {
            let signed = differences.iter().enumerate().map(|(at, d)| {
                let is_turned = at > 0 && signs >> (at - 1) & 1 == 1;
                if is_turned { -d } else { *d }
            });
            signed.sum::<f64>().abs() >= least
        })
        .count();
    as_far as f64 / f64::from(choices)
}

fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::limits::{ROUNDS_MAX, ROUNDS_MIN};
    use proptest::prelude::*;

    fn differs(pairs: &[(f64, f64)]) -> bool {
        by_ratio(pairs, 0.95).is_real
    }

    #[test]
    fn the_allowed_rounds_can_show_a_difference_and_are_cheap_to_test() {
        let fewest = vec![(1.0, 2.0); ROUNDS_MIN as usize * 2];
        assert!(differs(&fewest));
        assert!(!differs(&fewest[..6]), "six pairs may be chance");
        assert!(ROUNDS_MAX as usize * 2 <= PAIRS_MAX);
    }

    #[test]
    fn steps_of_a_round_are_paired_by_half() {
        let measured = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        let expected = [(1.0, 2.0), (4.0, 3.0), (5.0, 6.0), (8.0, 7.0)];
        assert_eq!(pairs(&measured), expected);
    }

    #[test]
    fn the_exact_share_of_signs_is_told() {
        // Of the eight choices only all alike are as far from zero.
        assert!((sign_flips(&[1.0, 2.0, 4.0]) - 0.25).abs() < 1e-12);
        assert!((sign_flips(&[1.0, -2.0, 4.0]) - 0.75).abs() < 1e-12);
        assert!((sign_flips(&[0.0, 0.0]) - 1.0).abs() < 1e-12);
        assert!((sign_flips(&[]) - 1.0).abs() < 1e-12);
    }

    /// Of comparisons without a difference no more are called real than the confidence allows.
    #[test]
    fn chance_is_rarely_called_a_difference() {
        let mut rng = fastrand::Rng::with_seed(7);
        let runs = 2_000;
        let wrong = (0..runs)
            .filter(|_| {
                let noise: Vec<(f64, f64)> = (0..8)
                    .map(|_| (1.0 + rng.f64().powi(4), 1.0 + rng.f64().powi(4)))
                    .collect();
                differs(&noise)
            })
            .count();
        assert!(wrong * 100 <= runs * 3, "{wrong} of {runs}");
    }

    proptest! {
        #[test]
        fn who_is_called_a_does_not_matter(
            pairs in prop::collection::vec((1.0_f64..1e6, 1.0_f64..1e6), 1..10),
        ) {
            let turned: Vec<(f64, f64)> = pairs.iter().map(|(a, b)| (*b, *a)).collect();
            let (one, other) = (by_ratio(&pairs, 0.95), by_ratio(&turned, 0.95));
            prop_assert!((one.p_value - other.p_value).abs() < 1e-9);
            prop_assert_eq!(one.is_real, other.is_real);
            prop_assert!(one.p_value > 0.0 && one.p_value <= 1.0);
        }

        #[test]
        fn a_difference_beyond_the_noise_is_seen(
            noise in prop::collection::vec((0.95_f64..1.05, 0.95_f64..1.05), 8..=11),
        ) {
            let pairs: Vec<(f64, f64)> = noise.iter().map(|(a, b)| (*a, b * 1.2)).collect();
            let found = by_ratio(&pairs, 0.95);
            prop_assert!(found.is_real && found.median > 0.05, "{found:?}");
        }

        #[test]
        fn equal_steps_never_differ(all in prop::collection::vec(0.0_f64..1e6, 1..=11)) {
            let pairs: Vec<(f64, f64)> = all.iter().map(|m| (*m, *m)).collect();
            prop_assert!(!by_ratio(&pairs, 0.5).is_real);
            prop_assert!(!by_difference(&pairs, 0.5).is_real);
        }
    }
}
