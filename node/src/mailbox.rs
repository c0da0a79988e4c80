//! What waits for an actor, and for how long messages waited: counted where they are sent and let go of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Buckets of each power of two, as a power of two.
const FINE_BITS: u32 = 2;
/// Everything longer (over a minute) counts as this long.
const LONGEST_BITS: u32 = 26;
const BUCKETS: usize = ((LONGEST_BITS - FINE_BITS + 1) as usize) << FINE_BITS;

/// The messages of one actor, all kinds together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mailbox(Arc<State>);

#[derive(Debug)]
struct State {
    permits: Arc<Semaphore>,
    bound: usize,
    refused: AtomicU64,
    waits: [AtomicU64; BUCKETS],
}

impl Mailbox {
    /// One that takes at most `bound` messages at a time.
    pub fn new(bound: usize) -> Self {
        Self(Arc::new(State {
            permits: Arc::new(Semaphore::new(bound)),
            bound,
            refused: AtomicU64::new(0),
            waits: std::array::from_fn(|_| AtomicU64::new(0)),
        }))
    }

    /// A place for one message; `None` when there is none.
    pub fn place(&self) -> Option<Place> {
        match Arc::clone(&self.0.permits).try_acquire_owned() {
            Ok(permit) => Some(Place {
                taken_at: Instant::now(),
                mailbox: self.clone(),
                _permit: permit,
            }),
            Err(_) => {
                self.0.refused.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// Messages that wait or are being handled.
    pub fn depth(&self) -> usize {
        self.0
            .bound
            .saturating_sub(self.0.permits.available_permits())
    }

    /// Messages that may wait.
    pub fn bound(&self) -> usize {
        self.0.bound
    }

    /// Messages that found no place.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// How long messages had a place.
    pub fn waits(&self) -> Waits {
        Waits(
            self.0
                .waits
                .each_ref()
                .map(|bucket| bucket.load(Ordering::Relaxed)),
        )
    }
}

/// The place of a message, from when it is sent until it was handled, or was dropped with its actor.
#[derive(Debug)]
pub struct Place {
    taken_at: Instant,
    mailbox: Mailbox,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// When it was taken.
    pub fn taken_at(&self) -> Instant {
        self.taken_at
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let bucket = bucket_of(self.taken_at.elapsed());
        self.mailbox.0.waits[bucket].fetch_add(1, Ordering::Relaxed);
    }
}

fn bucket_of(wait: Duration) -> usize {
    let us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
    let us = us.min((1 << LONGEST_BITS) - 1);
    match us
        .checked_ilog2()
        .and_then(|log| log.checked_sub(FINE_BITS))
    {
        None => us as usize,
        Some(coarse) => {
            let fine = (us >> coarse) as usize - (1 << FINE_BITS);
            ((coarse as usize + 1) << FINE_BITS) + fine
        }
    }
}

/// The longest wait of a bucket, in microseconds.
fn last_of(bucket: usize) -> u64 {
    let (power, fine) = (
        bucket >> FINE_BITS,
        (bucket & ((1 << FINE_BITS) - 1)) as u64,
    );
    match power.checked_sub(1) {
        None => fine,
        Some(coarse) => ((fine + (1 << FINE_BITS) + 1) << coarse) - 1,
    }
}

/// How long messages waited, by buckets that are a quarter as wide as what they begin with.
#[derive(Clone, Debug)]
pub struct Waits([u64; BUCKETS]);

impl Waits {
    /// How many messages.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// What this share (0 to 1) did not exceed, in microseconds; up to a quarter too much, and 0 without any.
    pub fn percentile_us(&self, share: f64) -> u64 {
        let count = self.count();
        let rank = ((share * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        let bucket = self.0.iter().position(|of_bucket| {
            seen += of_bucket;
            seen >= rank
        });
        bucket.map_or(0, last_of)
    }
}

/// An actor that is watched by the way to it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The actor.
    pub name: &'static str,
    /// Its messages.
    pub mailbox: Mailbox,
    lives: Arc<AtomicU64>,
}

impl Watched {
    pub(crate) fn new(name: &'static str, mailbox: &Mailbox, lives: &Arc<AtomicU64>) -> Self {
        Self {
            name,
            mailbox: mailbox.clone(),
            lives: Arc::clone(lives),
        }
    }

    /// One that nobody sends messages to.
    pub(crate) fn alone(name: &'static str, bound: usize) -> Self {
        Self::new(name, &Mailbox::new(bound), &Arc::default())
    }

    /// Another life begins.
    pub(crate) fn begins(&self) {
        self.lives.fetch_add(1, Ordering::Relaxed);
    }

    /// Lives after the first one.
    pub fn restarts(&self) -> u64 {
        self.lives.load(Ordering::Relaxed).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_mailbox_tells_what_waits_and_for_how_long_messages_waited() {
        let mailbox = Mailbox::new(2);
        let (first, second) = (mailbox.place().unwrap(), mailbox.place().unwrap());
        assert!(mailbox.place().is_none());
        assert_eq!(
            (mailbox.depth(), mailbox.bound(), mailbox.refused()),
            (2, 2, 1)
        );
        tokio::time::advance(Duration::from_micros(3)).await;
        drop(first);
        tokio::time::advance(Duration::from_millis(100)).await;
        drop(second);
        let waits = mailbox.waits();
        assert_eq!((waits.count(), mailbox.depth()), (2, 0));
        assert_eq!(waits.percentile_us(0.5), 3);
        let longest = waits.percentile_us(0.99);
        assert!((100_003..=125_004).contains(&longest), "{longest}");
    }

    #[test]
    fn a_wait_falls_into_a_bucket_that_holds_it() {
        for us in (0..100_000).chain([1 << 25, u64::MAX / 2]) {
            let bucket = bucket_of(Duration::from_micros(us));
            let us = us.min((1 << LONGEST_BITS) - 1);
            assert!(us <= last_of(bucket), "{us}");
            assert!(bucket == 0 || us > last_of(bucket - 1), "{us}");
        }
        assert_eq!(Mailbox::new(1).waits().percentile_us(0.99), 0);
    }
}
