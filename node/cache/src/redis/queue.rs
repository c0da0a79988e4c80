//! What waits to be written: bounded by bytes, the oldest values go first when it is full.
//!
//! Whoever adds also makes room, so nobody waits and nothing is locked. Purges are in the same order as values, and are
//! dropped only when nothing else is left; then somebody is told, because what they purge must not be believed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_queue::SegQueue;
use tokio::sync::Notify;

use super::namespace::Generation;

/// What one more entry costs besides its bytes.
const ENTRY_BYTES: usize = 128;

/// Something to write.
#[derive(Debug)]
pub(super) enum Write {
    /// Keep a value.
    Put {
        key: Vec<u8>,
        value: Bytes,
        ttl: Duration,
        /// If it is lost nothing older may stay either: the stamp by which that is deleted.
        instead: Option<u64>,
    },
    /// Forget keys, by a purge of that stamp.
    Delete { keys: Vec<Vec<u8>>, stamp: u64 },
    /// Begin another generation of a namespace, by a purge of that stamp.
    Renew {
        generation: Arc<Generation>,
        stamp: u64,
    },
}

impl Write {
    pub(super) fn bytes(&self) -> usize {
        let bytes = match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { keys, .. } => keys.iter().map(|key| key.len() + ENTRY_BYTES).sum(),
            Self::Renew { .. } => 0,
        };
        bytes + ENTRY_BYTES
    }

    fn puts(&self) -> usize {
        usize::from(matches!(self, Self::Put { .. }))
    }
}

/// What waits to be written.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: SegQueue<Write>,
    bytes: AtomicUsize,
    bytes_max: usize,
    /// How many of them are values.
    puts: AtomicUsize,
    added: Notify,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            waiting: SegQueue::new(),
            bytes: AtomicUsize::new(0),
            bytes_max,
            puts: AtomicUsize::new(0),
            added: Notify::new(),
        }
    }

    /// Adds one and hands `lost` what has to go for it.
    pub(super) fn push(&self, write: Write, lost: impl FnMut(Write)) {
        self.add(write);
        if self.bytes() > self.bytes_max {
            self.make_room(lost);
        }
        self.wake();
    }

    /// The oldest.
    pub(super) fn pop(&self) -> Option<Write> {
        let write = self.waiting.pop()?;
        self.bytes.fetch_sub(write.bytes(), Ordering::Relaxed);
        self.puts.fetch_sub(write.puts(), Ordering::Relaxed);
        Some(write)
    }

    /// Wakes whoever waits for something to be added.
    pub(super) fn wake(&self) {
        self.added.notify_one();
    }

    /// Waits until something was added since the last time.
    pub(super) async fn added(&self) {
        self.added.notified().await;
    }

    /// Bytes that wait, with what keeping them costs.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn add(&self, write: Write) {
        self.bytes.fetch_add(write.bytes(), Ordering::Relaxed);
        self.puts.fetch_add(write.puts(), Ordering::Relaxed);
        self.waiting.push(write);
    }

    /// A purge that comes after values that it came before only deletes more than it has to.
    fn make_room(&self, mut lost: impl FnMut(Write)) {
        while self.bytes() > self.bytes_max {
            match self.pop() {
                Some(purge) if purge.puts() == 0 && self.puts.load(Ordering::Relaxed) > 0 => {
                    self.add(purge);
                }
                Some(write) => lost(write),
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE_BYTES: usize = 1000 - ENTRY_BYTES - 1;

    fn put(name: u8) -> Write {
        Write::Put {
            key: vec![name],
            value: Bytes::from(vec![0; VALUE_BYTES]),
            ttl: Duration::from_secs(1),
            instead: None,
        }
    }

    fn delete(name: u8) -> Write {
        Write::Delete {
            keys: vec![vec![name]],
            stamp: name.into(),
        }
    }

    fn name(write: &Write) -> u8 {
        match write {
            Write::Put { key, .. } => key[0],
            Write::Delete { keys, .. } => keys[0][0],
            Write::Renew { .. } => 0,
        }
    }

    fn push(queue: &Queue, write: Write) -> Vec<u8> {
        let mut lost = Vec::new();
        queue.push(write, |write| lost.push(name(&write)));
        lost
    }

    fn rest(queue: &Queue) -> Vec<u8> {
        std::iter::from_fn(|| queue.pop().map(|write| name(&write))).collect()
    }

    #[test]
    fn the_oldest_value_goes_when_it_is_full() {
        let queue = Queue::new(3_000);
        for name in 1..=3 {
            assert!(push(&queue, put(name)).is_empty());
        }
        assert_eq!(push(&queue, put(4)), [1]);
        assert_eq!(queue.bytes(), 3_000);
        assert_eq!(rest(&queue), [2, 3, 4]);
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn a_purge_outlives_every_value() {
        let queue = Queue::new(3_000);
        push(&queue, delete(1));
        push(&queue, put(2));
        push(&queue, put(3));
        assert_eq!(push(&queue, put(4)), [2]);
        assert_eq!(rest(&queue), [3, 4, 1]);
    }

    #[test]
    fn purges_alone_are_bounded_and_what_is_lost_is_told() {
        let queue = Queue::new(3_000);
        let lost: Vec<u8> = (0..20)
            .flat_map(|name| push(&queue, delete(name)))
            .collect();
        assert!(queue.bytes() <= 3_000);
        let kept = rest(&queue);
        let mut all = [lost.clone(), kept.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
        assert!(!lost.is_empty() && !kept.is_empty());
    }

    #[test]
    fn order_is_kept_while_there_is_room() {
        let queue = Queue::new(10_000);
        push(&queue, put(1));
        push(&queue, delete(2));
        push(&queue, put(3));
        assert_eq!(rest(&queue), [1, 2, 3]);
    }

    #[test]
    fn nothing_vanishes_when_many_add_and_one_takes() {
        const EACH: usize = 2_000;
        const ADDERS: usize = 3;
        let queue = Queue::new(20_000);
        let [adding, lost, lost_purges] = [ADDERS, 0, 0].map(AtomicUsize::new);
        let (mut taken, mut purges) = (0, 0);
        std::thread::scope(|scope| {
            for _ in 0..ADDERS {
                scope.spawn(|| {
                    for number in 0..EACH {
                        let is_purge = number % 100 == 0;
                        queue.push(if is_purge { delete(1) } else { put(2) }, |write| {
                            lost.fetch_add(1, Ordering::Relaxed);
                            lost_purges.fetch_add(1 - write.puts(), Ordering::Relaxed);
                        });
                    }
                    adding.fetch_sub(1, Ordering::Release);
                });
            }
            loop {
                let is_last = adding.load(Ordering::Acquire) == 0;
                while let Some(write) = queue.pop() {
                    taken += 1;
                    purges += 1 - write.puts();
                }
                if is_last {
                    break;
                }
                std::thread::yield_now();
            }
        });
        assert_eq!(lost.into_inner() + taken, ADDERS * EACH);
        assert_eq!(lost_purges.into_inner() + purges, ADDERS * EACH / 100);
        assert_eq!((queue.bytes(), queue.puts.into_inner()), (0, 0));
    }
}
