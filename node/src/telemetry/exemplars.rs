//! For each bucket of a histogram the newest request in it that was traced.

use parking_lot::Mutex;

use super::counters::{LATENCY_BUCKETS_US, bucket_of};

/// A request that stands for its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: u128,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// When it ended, in milliseconds since 1970.
    pub at_unix_ms: u64,
}

/// By bucket.
pub type Newest = [Option<Exemplar>; LATENCY_BUCKETS_US.len() + 1];

/// Those of one core. Locked by that core for a request that is told, which most are not, and by a scrape.
#[derive(Debug, Default)]
pub struct Exemplars(Mutex<Newest>);

impl Exemplars {
    /// A request that is told. False if a scrape reads them right now: then it stands for nothing.
    #[must_use]
    pub fn note(&self, exemplar: Exemplar) -> bool {
        let newest = self.0.try_lock();
        newest
            .map(|mut newest| newest[bucket_of(exemplar.took_us)] = Some(exemplar))
            .is_some()
    }

    /// Puts those of this core in where they are newer.
    pub fn add_to(&self, newest: &mut Newest) {
        for (known, own) in newest.iter_mut().zip(*self.0.lock()) {
            let at = |exemplar: &Option<Exemplar>| exemplar.map(|exemplar| exemplar.at_unix_ms);
            if at(&own) > at(known) {
                *known = own;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_request_of_a_bucket_stands_for_it_whatever_core_had_it() {
        let (one, two) = (Exemplars::default(), Exemplars::default());
        let exemplar = |trace_id, took_us, at_unix_ms| Exemplar {
            trace_id,
            took_us,
            at_unix_ms,
        };
        assert!(one.note(exemplar(1, 100, 5)));
        assert!(one.note(exemplar(2, 200, 6)));
        assert!(two.note(exemplar(3, 250, 4)));
        assert!(two.note(exemplar(4, 251, 4)));
        let reading = one.0.lock();
        assert!(!one.note(exemplar(5, 100, 9)));
        drop(reading);
        let mut newest = Newest::default();
        two.add_to(&mut newest);
        one.add_to(&mut newest);
        let ids = newest.map(|exemplar| exemplar.map_or(0, |exemplar| exemplar.trace_id));
        assert_eq!(ids[..3], [2, 4, 0]);
    }
}
