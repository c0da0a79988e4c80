//! Percentiles of what was counted by bucket.

/// The value below which a share of what was counted lies, 0 to 1; `None` of nothing.
///
/// `counts` holds one bucket for each of the rising upper `bounds`, and one for what is above all of them, which counts
/// as the last bound. What is in a bucket counts as spread evenly over it, as for `histogram_quantile` of Prometheus:
/// of a single value all that is known is its bucket.
pub fn percentile(bounds: &[u64], counts: &[u64], share: f64) -> Option<u64> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let wanted = exact(total) * share.clamp(0.0, 1.0);
    let mut below = 0;
    let mut lower = 0;
    for (at, count) in counts.iter().enumerate() {
        let Some(upper) = bounds.get(at).copied() else {
            return Some(lower);
        };
        if *count > 0 && exact(below + count) >= wanted {
            let part = (wanted - exact(below)) / exact(*count);
            return Some(between(lower, upper, part));
        }
        below += count;
        lower = upper;
    }
    Some(lower)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and bounds are below 2^53"
)]
fn exact(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of the width, which is above 0"
)]
fn between(lower: u64, upper: u64, part: f64) -> u64 {
    let wide = (exact(upper - lower) * part).round() as u64;
    (lower + wide).min(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_interpolated_within_its_bucket() {
        let bounds = [100, 200, 400];
        assert_eq!(percentile(&bounds, &[0; 4], 0.5), None);
        assert_eq!(percentile(&bounds, &[10, 0, 0, 0], 0.5), Some(50));
        assert_eq!(percentile(&bounds, &[0, 4, 0, 0], 0.5), Some(150));
        assert_eq!(percentile(&bounds, &[98, 0, 2, 0], 0.99), Some(300));
        assert_eq!(percentile(&bounds, &[0, 1, 0, 0], 0.0), Some(100));
    }

    #[test]
    fn a_single_value_is_not_taken_for_the_end_of_its_bucket() {
        let of_one = |share| percentile(&[500, 1_000], &[0, 1, 0], share);
        assert_eq!(of_one(0.5), Some(750));
        assert_eq!(of_one(0.95), Some(975));
        assert_eq!(of_one(1.0), Some(1_000));
    }

    #[test]
    fn what_is_above_all_bounds_counts_as_the_last_one() {
        assert_eq!(percentile(&[100, 200], &[0, 0, 5], 0.5), Some(200));
        assert_eq!(percentile(&[], &[7], 0.5), Some(0));
    }
}
