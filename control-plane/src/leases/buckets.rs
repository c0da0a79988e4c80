//! A few leases for many keys.
//!
//! Owns      the leases of this instance.
//! Asked     which buckets are wanted, and which leases are in doubt: two sets of bits, so nothing queues.
//! Publishes [`Leases`]; a lease that was granted anew has another generation, and its keys must be put again.
//! Fails     never for good: a renewal or grant that fails is tried again, with a wait, until it works.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use weir_core::backoff::Backoff;

use crate::store::{Error, LeaseId, Store};
use crate::wait::sleep_until;

/// Most leases of an instance; as many as bits that ask for them.
pub const BUCKETS_MAX: usize = 64;
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(3);

/// How leases are held.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many there are, 1 to [`BUCKETS_MAX`]. Default 64.
    pub count: usize,
    /// How long keys outlive this instance. Default 30 s.
    pub ttl: Duration,
    /// How often each is renewed, or up to a fifth sooner. Default 10 s.
    pub renew_every: Duration,
    /// For the jitter; draw it at random.
    pub seed: u64,
}

impl Options {
    /// The defaults.
    pub fn new(seed: u64) -> Self {
        Self {
            count: BUCKETS_MAX,
            ttl: Duration::from_secs(30),
            renew_every: Duration::from_secs(10),
            seed,
        }
    }

    /// One lease that tells soon that this instance is gone.
    pub fn single(seed: u64) -> Self {
        Self {
            count: 1,
            ttl: Duration::from_secs(10),
            renew_every: Duration::from_secs(3),
            seed,
        }
    }
}

/// The lease of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its name in the store.
    pub lease: LeaseId,
    /// Rises each time the bucket's lease is granted anew; from 1.
    pub generation: u64,
}

/// All buckets; `None` for those without a lease yet.
pub type Leases = Arc<[Option<Held>]>;

/// What others want of the owner.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    wanted: u64,
    doubted: u64,
}

/// The handle. Renewals end when it is dropped, and the leases some time later.
#[derive(Debug)]
pub struct Buckets {
    asked: Arc<watch::Sender<Asked>>,
    leases: watch::Receiver<Leases>,
    count: usize,
    task: JoinHandle<()>,
}

impl Buckets {
    /// Begins with no lease at all.
    pub fn start(store: Arc<dyn Store>, options: Options) -> Self {
        let count = options.count.clamp(1, BUCKETS_MAX);
        let asked = Arc::new(watch::Sender::new(Asked::default()));
        let (publish, leases) = watch::channel(vec![None; count].into());
        let mut random = fastrand::Rng::with_seed(options.seed);
        let owner = Owner {
            store,
            backoff: Backoff::new(RETRY_MIN..=RETRY_MAX, random.fork()),
            random,
            options,
            slots: vec![Slot::default(); count],
            asked: Arc::clone(&asked),
            publish,
        };
        Self {
            task: tokio::spawn(owner.run(asked.subscribe())),
            asked,
            leases,
            count,
        }
    }

    /// The bucket of a name.
    pub fn bucket_of(&self, name: &[u8]) -> usize {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        usize::try_from(hasher.finish() % self.count as u64).expect("below the count of buckets")
    }

    /// Wants a lease for this bucket, from now on.
    pub fn want(&self, bucket: usize) {
        self.ask(|asked| &mut asked.wanted, 1 << bucket);
    }

    /// The store said that a lease among these buckets is gone: looks at once. One bit for each bucket.
    pub fn doubt(&self, buckets: u64) {
        self.ask(|asked| &mut asked.doubted, buckets);
    }

    /// The leases as they change.
    pub fn leases(&self) -> watch::Receiver<Leases> {
        self.leases.clone()
    }

    fn ask(&self, set: impl Fn(&mut Asked) -> &mut u64, bits: u64) {
        self.asked.send_if_modified(|asked| {
            let set = set(asked);
            let is_new = *set & bits != bits;
            *set |= bits;
            is_new
        });
    }
}

impl Drop for Buckets {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A bucket as its owner sees it.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    held: Option<Held>,
    /// When the last renewal that worked was sent.
    sent: Option<Instant>,
    /// When something is to be done; `None` while nobody wants it.
    due: Option<Instant>,
}

struct Owner {
    store: Arc<dyn Store>,
    backoff: Backoff,
    random: fastrand::Rng,
    options: Options,
    slots: Vec<Slot>,
    asked: Arc<watch::Sender<Asked>>,
    publish: watch::Sender<Leases>,
}

impl Owner {
    async fn run(mut self, mut changes: watch::Receiver<Asked>) {
        loop {
            changes.mark_unchanged();
            self.take_asked();
            let now = Instant::now();
            let due: Vec<usize> = (0..self.slots.len())
                .filter(|bucket| self.slots[*bucket].due.is_some_and(|due| due <= now))
                .collect();
            if !due.is_empty() {
                self.round(due).await;
                continue;
            }
            let next = self.slots.iter().filter_map(|slot| slot.due).min();
            tokio::select! {
                biased;
                // Cannot fail: this owner holds a sender itself.
                _ = changes.changed() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    fn take_asked(&mut self) {
        let mut taken = Asked::default();
        self.asked.send_if_modified(|asked| {
            taken = *asked;
            asked.doubted = 0;
            false
        });
        let now = Instant::now();
        for (bucket, slot) in self.slots.iter_mut().enumerate() {
            let is_in = |set: u64| set >> bucket & 1 == 1;
            let is_doubted = is_in(taken.doubted) && slot.held.is_some();
            if is_doubted || (is_in(taken.wanted) && slot.due.is_none()) {
                slot.due = Some(now);
            }
        }
    }

    /// Renews or grants what is due, all at once, and says what changed.
    async fn round(&mut self, due: Vec<usize>) {
        let tries = due.iter().map(|bucket| self.renew(self.slots[*bucket]));
        let outcomes = join_all(tries).await;
        let mut failed = None;
        for (bucket, outcome) in due.into_iter().zip(outcomes) {
            let wait = match outcome {
                Ok(slot) => {
                    self.slots[bucket] = slot;
                    let share = 0.8 + 0.2 * self.random.f64();
                    self.options.renew_every.mul_f64(share)
                }
                Err(error) => *failed.get_or_insert_with(|| {
                    // That a store is away is told by the store, once.
                    match error.is_ambiguous() {
                        true => tracing::debug!(%error, "a lease could not be renewed"),
                        false => tracing::warn!(%error, "a lease could not be renewed"),
                    }
                    self.backoff.next_wait()
                }),
            };
            self.slots[bucket].due = Some(Instant::now() + wait);
        }
        if failed.is_none() {
            self.backoff.reset();
        }
        let leases: Leases = self.slots.iter().map(|slot| slot.held).collect();
        self.publish.send_if_modified(|published| {
            let is_other = *published != leases;
            *published = leases;
            is_other
        });
    }

    /// Keeps the slot's lease, or grants another if it is gone or must be taken for gone.
    async fn renew(&self, slot: Slot) -> Result<Slot, Error> {
        let sent = Some(Instant::now());
        let is_young = |at: Instant| at.elapsed() < self.options.ttl;
        if let Some(held) = slot.held.filter(|_| slot.sent.is_some_and(is_young)) {
            match self.store.keep_alive(held.lease).await {
                Ok(()) => return Ok(Slot { sent, ..slot }),
                Err(Error::LeaseNotFound) => {
                    tracing::warn!(generation = held.generation, "a lease was lost");
                }
                Err(error) => return Err(error),
            }
        }
        let granted = self.store.grant(self.options.ttl).await?;
        let held = Held {
            lease: granted.id,
            generation: slot.held.map_or(1, |held| held.generation + 1),
        };
        Ok(Slot {
            held: Some(held),
            sent,
            due: slot.due,
        })
    }
}
