//! Which allocations a heap profile samples, and how many of all each of them stands for.
//!
//! Bytes that are allocated lie on a line, and samples on it as raindrops do: at random, independent of each other, one
//! in each interval on average. An allocation is sampled if a drop falls on it, so a large one surely is and a
//! small one by its size; whoever knows how likely that was knows how many there were.

/// The mean distance of two samples, in units of the countdown to the next.
pub const MEAN_DISTANCE: u64 = 1 << 40;
/// The shortest interval between samples, in bytes: each sample may take some KiB more than was asked for, and its
/// stack some time.
pub const INTERVAL_MIN: u64 = 64 << 10;
/// The longest, in bytes.
pub const INTERVAL_MAX: u64 = 1 << 30;

/// How much of the countdown one byte takes if one sample is to be taken of so many bytes, which are brought into
/// bounds; never 0.
pub const fn rate(interval: u64) -> u64 {
    let interval = if interval < INTERVAL_MIN {
        INTERVAL_MIN
    } else if interval > INTERVAL_MAX {
        INTERVAL_MAX
    } else {
        interval
    };
    MEAN_DISTANCE / interval
}

/// From one sample to the next, in units of the countdown, of a number that is any with the same likelihood.
pub fn distance(uniform: u64) -> u64 {
    /// As many as a float tells apart.
    const PLACES: f64 = (1_u64 << 53) as f64;
    let above_0_to_1 = ((uniform >> 11) as f64 + 1.0) / PLACES;
    (-above_0_to_1.ln() * MEAN_DISTANCE as f64) as u64
}

/// How many allocations of this size there were for each one that was sampled at this rate; 1 at least.
pub fn stands_for(size: u64, rate: u64) -> f64 {
    let drops = size.max(1) as f64 * rate.max(1) as f64 / MEAN_DISTANCE as f64;
    -1.0 / (-drops).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What samples of these allocations say of all: how many, and their bytes.
    fn told(sizes: &[u64], rate: u64, random: &mut fastrand::Rng) -> (f64, f64) {
        let mut left = distance(random.u64(..));
        let mut told = (0.0, 0.0);
        for size in sizes {
            match left.checked_sub(size * rate) {
                Some(rest) => left = rest,
                None => {
                    left = distance(random.u64(..));
                    let times = stands_for(*size, rate);
                    told = (told.0 + times, told.1 + times * *size as f64);
                }
            }
        }
        told
    }

    /// The spread of what samples say of the bytes.
    fn spread(sizes: &[u64], rate: u64) -> f64 {
        let one = |size: &u64| {
            let missed = 1.0 - 1.0 / stands_for(*size, rate);
            (*size as f64).powi(2) * missed * stands_for(*size, rate)
        };
        sizes.iter().map(one).sum::<f64>().sqrt()
    }

    proptest! {
        #[test]
        fn samples_say_how_much_there_was_in_all(
            seed: u64,
            interval in INTERVAL_MIN..128 << 10,
            kinds in prop::collection::vec(64_u64..40_000, 1..6),
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let sizes: Vec<u64> = (0..20_000).map(|_| kinds[random.usize(..kinds.len())]).collect();
            let (rate, real) = (rate(interval), sizes.iter().sum::<u64>() as f64);
            let (_, bytes) = told(&sizes, rate, &mut random);
            // Beyond six times the spread one of a thousand million runs lies.
            prop_assert!((bytes - real).abs() <= 6.0 * spread(&sizes, rate) + 1.0, "{bytes} of {real}");
        }

        #[test]
        fn a_sample_stands_for_fewer_the_larger_it_is_and_for_itself_at_least(
            size in 1_u64..1 << 40, more in 0_u64..1 << 40, interval: u64,
        ) {
            let rate = rate(interval);
            let (small, large) = (stands_for(size, rate), stands_for(size + more, rate));
            prop_assert!(small >= large && large >= 1.0 && small.is_finite(), "{small} {large}");
            // Small ones stand for an interval's bytes.
            let bytes = small * size as f64;
            prop_assert!(bytes >= MEAN_DISTANCE as f64 / rate as f64 * 0.999, "{bytes}");
        }

        #[test]
        fn no_number_gives_a_distance_that_a_countdown_cannot_hold(uniform: u64) {
            prop_assert!(distance(uniform) <= 40 * MEAN_DISTANCE);
        }
    }

    #[test]
    fn the_ends_of_what_is_drawn_are_no_distance_and_a_long_one() {
        assert_eq!(distance(u64::MAX), 0);
        assert!(distance(0) > 36 * MEAN_DISTANCE);
        assert_eq!(rate(0), rate(INTERVAL_MIN));
        assert_eq!(rate(u64::MAX), rate(INTERVAL_MAX));
    }
}
