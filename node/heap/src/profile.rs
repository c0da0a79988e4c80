//! What samples say: of a window, or of everything since sampling began.

use weir_core::heap::stands_for;

use crate::live::Entry;
use crate::sampler::Sampler;
use crate::stacks::{OBJECT, Sum};

/// How many allocations, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Allocations.
    pub objects: u64,
    /// Bytes that were asked for.
    pub bytes: u64,
}

/// One stack with what it allocated, brought from samples to all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocated {
    /// Addresses of the calls, the innermost first; none for stacks that found no place.
    pub calls: Vec<usize>,
    /// Still there at the end.
    pub in_use: Amount,
    /// In all.
    pub in_all: Amount,
}

/// A heap profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeapProfile {
    /// By stack; one may be there twice.
    pub stacks: Vec<Allocated>,
    /// Bytes between two samples, on average.
    pub interval: u64,
    /// Samples that are missing from what is in use: they found no place.
    pub dropped: u64,
}

impl HeapProfile {
    /// What was allocated since `before` and is alive if `is_asked`.
    pub(crate) fn of(
        sampler: &Sampler,
        before: &[Sum],
        is_asked: impl Fn(&Entry) -> bool,
    ) -> Vec<Allocated> {
        let sums = sampler.stacks.sums();
        let mut in_use = vec![(0.0_f64, 0.0_f64); sums.len()];
        sampler.live.for_each(|entry| {
            if is_asked(&entry)
                && let Some(sum) = in_use.get_mut(entry.stack as usize)
            {
                let times = stands_for(entry.size, entry.rate);
                *sum = (sum.0 + times, sum.1 + times * entry.size as f64);
            }
        });
        let all = sums.iter().zip(in_use).enumerate();
        let all = all.filter_map(|(place, (sum, (objects, bytes)))| {
            let before = before.get(place).copied().unwrap_or_default();
            let in_use = Amount {
                objects: objects.round() as u64,
                bytes: bytes.round() as u64,
            };
            let in_all = Amount {
                objects: (sum.objects.saturating_sub(before.objects) as f64 / OBJECT).round()
                    as u64,
                bytes: sum.bytes.saturating_sub(before.bytes),
            };
            (in_all != Amount::default() || in_use != Amount::default()).then(|| Allocated {
                calls: sampler.stacks.calls(place),
                in_use,
                in_all,
            })
        });
        all.collect()
    }
}
