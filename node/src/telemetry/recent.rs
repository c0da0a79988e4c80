//! What was told last, kept on the node so that it can be asked for without a collector.
//!
//! Each core has a ring of its own, and what is no request has one more. A ring is locked for the moment in which a
//! batch is put in, which no other core ever does, or in which somebody who asks looks for a trace: what ends in that
//! moment is not kept, because requests do not wait for readers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::wire::EncodedSpans;

/// Spans that were finished together: a request's, or a step's.
#[derive(Debug, Default)]
pub struct Batch {
    /// At least one, the one above the others last, all of one trace.
    pub spans: EncodedSpans,
    /// What the client called the request, if it did.
    pub request_id: Option<String>,
}

impl Batch {
    /// A batch of a request.
    pub fn new(spans: EncodedSpans, request_id: Option<String>) -> Arc<Self> {
        Arc::new(Self { spans, request_id })
    }

    /// Bytes of memory, about.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of::<Entry>()
            + self.spans.bytes().len()
            + self.request_id.as_ref().map_or(0, String::len)
    }
}

#[derive(Debug)]
struct Entry {
    trace_id: u128,
    bytes: usize,
    batch: Arc<Batch>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Ring(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Kept {
    fn trim(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            match self.entries.pop_front() {
                Some(oldest) => self.bytes -= oldest.bytes,
                None => return,
            }
        }
    }
}

/// The rings of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recent {
    rings: Arc<[Ring]>,
    bytes_max: Arc<AtomicUsize>,
}

impl Recent {
    /// For a node with `cores` cores; `bytes_max` for all rings together.
    pub fn new(cores: usize, bytes_max: usize) -> Self {
        Self {
            rings: (0..=cores).map(|_| Ring::default()).collect(),
            bytes_max: Arc::new(AtomicUsize::new(bytes_max)),
        }
    }

    /// Another bound from now on; what is beyond it goes with the next batch of its ring.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Bytes that the rings hold now, about.
    pub fn bytes(&self) -> usize {
        self.rings.iter().map(|ring| ring.0.lock().bytes).sum()
    }

    /// Keeps a batch of a core; the oldest of its ring goes if there are too many. False if it is not kept: it is
    /// larger than the ring, or somebody reads the ring.
    #[must_use]
    pub fn keep(&self, core: usize, batch: &Arc<Batch>) -> bool {
        let Some(ring) = self.rings.get(core) else {
            return false;
        };
        let bytes_max = self.bytes_max.load(Ordering::Relaxed) / self.rings.len();
        let entry = Entry {
            trace_id: batch.spans.trace_id(),
            bytes: batch.bytes(),
            batch: Arc::clone(batch),
        };
        let Some(mut kept) = ring.0.try_lock() else {
            return false;
        };
        let fits = entry.bytes <= bytes_max;
        if fits {
            kept.bytes += entry.bytes;
            kept.entries.push_back(entry);
        }
        kept.trim(bytes_max);
        fits
    }

    /// Keeps a batch that belongs to no core, unless it cannot be.
    #[must_use]
    pub fn keep_other(&self, batch: &Arc<Batch>) -> bool {
        self.keep(self.rings.len() - 1, batch)
    }

    /// Everything that is kept of the trace with that id.
    pub fn of_trace(&self, trace_id: u128) -> Vec<Arc<Batch>> {
        self.find(|entry| entry.trace_id == trace_id)
    }

    /// The trace of the newest request that its client called so.
    pub fn trace_of_request(&self, request_id: &str) -> Option<u128> {
        let named = self.find(|entry| entry.batch.request_id.as_deref() == Some(request_id));
        let newest = named
            .into_iter()
            .max_by_key(|batch| batch.spans.start_unix_ns());
        newest.map(|batch| batch.spans.trace_id())
    }

    fn find(&self, fits: impl Fn(&Entry) -> bool) -> Vec<Arc<Batch>> {
        let mut found = Vec::new();
        for ring in &*self.rings {
            let kept = ring.0.lock();
            let fitting = kept.entries.iter().filter(|entry| fits(entry));
            found.extend(fitting.map(|entry| Arc::clone(&entry.batch)));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::spans::SpanKind;
    use super::super::wire::{SpanHead, SpanWriter};
    use super::*;

    fn batch(seed: u64, request_id: Option<&str>) -> Arc<Batch> {
        batch_of(seed, 1, request_id)
    }

    fn batch_of(seed: u64, spans: usize, request_id: Option<&str>) -> Arc<Batch> {
        let head = SpanHead {
            trace_id: u128::from(seed).to_be_bytes(),
            id: seed.to_be_bytes(),
            parent: None,
            name: "ingress",
            kind: SpanKind::Server,
            start_unix_ns: seed,
            end_unix_ns: seed,
            error: None,
        };
        let mut writer = SpanWriter::default();
        for _ in 0..spans {
            writer.span(&head, |attributes| attributes.text("url.path", "/a"));
        }
        Batch::new(writer.finish(), request_id.map(str::to_owned))
    }

    #[test]
    fn a_trace_is_found_by_its_id_and_by_the_clients_name_whatever_core_had_it() {
        let recent = Recent::new(2, 1 << 20);
        let (one, two) = (batch(1, Some("mine")), batch(2, None));
        assert!(recent.keep(1, &one));
        assert!(recent.keep_other(&two));
        assert_eq!(recent.of_trace(two.spans.trace_id()).len(), 1);
        assert_eq!(recent.trace_of_request("mine"), Some(one.spans.trace_id()));
        assert_eq!(recent.trace_of_request("yours"), None);
    }

    #[test]
    fn the_rings_never_hold_more_than_their_bytes_and_keep_what_is_newest() {
        let bytes_max = 40 << 10;
        let recent = Recent::new(1, bytes_max);
        let batches: Vec<_> = (0..1_000).map(|seed| batch(seed, None)).collect();
        for batch in &batches {
            assert!(recent.keep(0, batch));
            assert!(recent.bytes() <= bytes_max / 2);
        }
        assert_eq!(recent.of_trace(batches[999].spans.trace_id()).len(), 1);
        assert_eq!(recent.of_trace(batches[0].spans.trace_id()).len(), 0);
        recent.set_bytes_max(0);
        assert!(!recent.keep(0, &batches[0]));
        assert_eq!(recent.bytes(), 0);
    }

    #[test]
    fn a_batch_larger_than_its_ring_leaves_what_is_there() {
        let recent = Recent::new(0, 8 << 10);
        let small = batch(1, None);
        assert!(recent.keep_other(&small));
        assert!(!recent.keep_other(&batch_of(2, 200, None)));
        assert_eq!(recent.of_trace(small.spans.trace_id()).len(), 1);
    }

    #[test]
    fn a_reader_of_a_ring_keeps_nobody_waiting() {
        let recent = Recent::new(0, 8 << 10);
        let reading = recent.rings[0].0.lock();
        assert!(!recent.keep_other(&batch(1, None)));
        drop(reading);
        assert!(recent.keep_other(&batch(1, None)));
    }
}
