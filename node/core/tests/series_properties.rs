//! Properties of series: what a ring keeps, how rings merge, what percentiles say.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use weir_core::series::{Ring, percentile, slot_at};

const WIDTH: usize = 3;
const BOUNDS: [u64; 5] = [10, 100, 1_000, 10_000, 100_000];

type Additions = Vec<(u64, [u64; WIDTH])>;

fn additions() -> impl Strategy<Value = Additions> {
    vec((1_000_u64..1_060, any::<[u32; WIDTH]>()), 0..80).prop_map(|all| {
        all.into_iter()
            .map(|(slot, numbers)| (slot, numbers.map(u64::from)))
            .collect()
    })
}

/// What a ring holds, slot by slot.
fn held(ring: &Ring) -> BTreeMap<u64, Vec<u64>> {
    let slots = ring.first_slot()..ring.next_slot();
    slots
        .filter_map(|slot| Some((slot, ring.slot(slot)?.to_vec())))
        .collect()
}

fn filled(slots_max: usize, additions: &Additions) -> Ring {
    let mut ring = Ring::new(WIDTH, slots_max);
    for (slot, numbers) in additions {
        ring.add(*slot, numbers);
    }
    ring
}

fn bucketed(values: &[u64]) -> Vec<u64> {
    let mut counts = vec![0; BOUNDS.len() + 1];
    for value in values {
        counts[BOUNDS.partition_point(|bound| bound < value)] += 1;
    }
    counts
}

proptest! {
    /// Against a map that forgets what is older than the newest slots.
    #[test]
    fn a_ring_holds_the_sums_of_the_newest_slots(additions in additions(), slots_max in 1_usize..40) {
        let mut model = BTreeMap::<u64, Vec<u64>>::new();
        let mut ring = Ring::new(WIDTH, slots_max);
        for (slot, numbers) in &additions {
            let newest = model.last_key_value().map_or(*slot, |(newest, _)| *newest).max(*slot);
            let oldest = (newest + 1).saturating_sub(slots_max as u64);
            prop_assert_eq!(ring.add(*slot, numbers), *slot >= oldest);
            if *slot >= oldest {
                let sums = model.entry(*slot).or_insert_with(|| vec![0; WIDTH]);
                sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
            }
            model.retain(|slot, _| *slot >= oldest);
            prop_assert_eq!(held(&ring), model.clone());
            prop_assert_eq!(ring.slots_max(), slots_max);
        }
    }

    /// In whatever order they come, as long as all is kept.
    #[test]
    fn rings_of_nodes_merge_to_the_same_in_any_order(nodes in vec(additions(), 1..5)) {
        let merged = |nodes: &mut dyn Iterator<Item = &Additions>| {
            let mut merged = Ring::new(WIDTH, 60);
            for node in nodes {
                let ring = filled(60, node);
                for (slot, numbers) in held(&ring) {
                    merged.add(slot, &numbers);
                }
            }
            held(&merged)
        };
        let forth = merged(&mut nodes.iter());
        prop_assert_eq!(&forth, &merged(&mut nodes.iter().rev()));
        let all: Additions = nodes.concat();
        prop_assert_eq!(&forth, &held(&filled(60, &all)));
    }

    /// The newest of what there was.
    #[test]
    fn a_resized_ring_holds_what_fits(additions in additions(), before in 1_usize..40, after in 1_usize..40) {
        let ring = filled(before, &additions);
        let resized = ring.resized(after);
        let newest = held(&ring).keys().last().copied().unwrap_or(0);
        let mut expected = held(&ring);
        expected.retain(|slot, _| newest - slot < after as u64);
        prop_assert_eq!(held(&resized), expected);
        prop_assert_eq!(resized.slots_max(), after);
    }

    /// A percentile lies in the bucket that holds the exact one.
    #[test]
    fn a_percentile_is_as_exact_as_its_bucket(mut values in vec(1_u64..200_000, 1..200), share in 0.0..=1.0) {
        let told = percentile(&BOUNDS, &bucketed(&values), share).unwrap();
        values.sort_unstable();
        let rank = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len());
        let exact = values[rank - 1];
        let at = BOUNDS.partition_point(|bound| *bound < exact);
        let lower = at.checked_sub(1).map_or(0, |below| BOUNDS[below]);
        let upper = BOUNDS.get(at).copied().unwrap_or(lower);
        prop_assert!((lower..=upper).contains(&told), "{} of {}, exactly {}", told, share, exact);
    }

    /// Were what is in a bucket spread evenly over it, just this share would be below.
    #[test]
    fn a_percentile_has_its_share_below_it(values in vec(1_u64..100_000, 1..200), share in 0.0..=1.0) {
        let counts = bucketed(&values);
        let told = percentile(&BOUNDS, &counts, share).unwrap();
        let mut below = 0.0;
        let mut rounded = 0.0_f64;
        let mut lower = 0;
        for (upper, count) in BOUNDS.into_iter().zip(counts) {
            let part = (told.clamp(lower, upper) - lower) as f64 / (upper - lower) as f64;
            below += part * count as f64;
            rounded = rounded.max(count as f64 / (upper - lower) as f64);
            lower = upper;
        }
        let wanted = share * values.len() as f64;
        prop_assert!((below - wanted).abs() <= rounded / 2.0 + 1e-9, "{below} of {wanted} are below {told}");
    }

    /// More of them are not faster.
    #[test]
    fn percentiles_rise_with_their_share(values in vec(1_u64..200_000, 1..200), one in 0.0..=1.0, other in 0.0..=1.0) {
        let counts = bucketed(&values);
        let (low, high) = if one < other { (one, other) } else { (other, one) };
        prop_assert!(percentile(&BOUNDS, &counts, low) <= percentile(&BOUNDS, &counts, high));
    }

    /// Whoever asks knows from a slot when it was.
    #[test]
    fn a_slot_holds_its_time(unix_ms in any::<u32>(), interval_ms in 1_u64..10_000) {
        let unix_ms = u64::from(unix_ms);
        let slot = slot_at(unix_ms, interval_ms);
        prop_assert!((slot * interval_ms..(slot + 1) * interval_ms).contains(&unix_ms));
    }
}
