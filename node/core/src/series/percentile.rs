//! Percentiles of what was counted by bucket.

/// The value below which a share of what was counted lies, 0 to 1, interpolated within its bucket; `None` of nothing.
///
/// `counts` holds one bucket for each of the rising upper `bounds`, and one for what is above all of them, which counts
/// as the last bound.
pub fn percentile(bounds: &[u64], counts: &[u64], share: f64) -> Option<u64> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let wanted = rank(total, share);
    let mut below = 0;
    let mut lower = 0;
    for (at, count) in counts.iter().enumerate() {
        let Some(upper) = bounds.get(at).copied() else {
            return Some(lower);
        };
        if below + count >= wanted {
            return Some(between(lower, upper, wanted - below, *count));
        }
        below += count;
        lower = upper;
    }
    Some(lower)
}

/// Which one of `total` has this share of them up to itself: 1 to `total`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank among fewer than 2^53"
)]
fn rank(total: u64, share: f64) -> u64 {
    let rank = (total as f64 * share.clamp(0.0, 1.0)).ceil() as u64;
    rank.clamp(1, total)
}

fn between(lower: u64, upper: u64, part: u64, of: u64) -> u64 {
    let wide = u128::from(upper - lower) * u128::from(part) / u128::from(of.max(1));
    lower + u64::try_from(wide).unwrap_or(upper - lower)
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
        assert_eq!(percentile(&bounds, &[1, 0, 0, 0], 0.0), Some(100));
    }

    #[test]
    fn what_is_above_all_bounds_counts_as_the_last_one() {
        assert_eq!(percentile(&[100, 200], &[0, 0, 5], 0.5), Some(200));
        assert_eq!(percentile(&[], &[7], 0.5), Some(0));
    }
}
