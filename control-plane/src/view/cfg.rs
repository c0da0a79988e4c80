//! Follows what operators want: profiles, weights, orders, tokens.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::watch;
use weir_proto::control::records::v1 as records;
use weir_proto::control::v1 as pb;

use super::{NodeOrder, Orders, Standing, StoredEpoch};
use crate::clock::WallClock;
use crate::governance::tokens::TokenTable;
use crate::keys::{Key, Keys};
use crate::profiles::{ProfileBook, ProfileView};
use crate::records::decode;
use crate::store::follow::{Followed, Options, Reason, follow};
use crate::store::{Event, EventKind, Store};
use crate::sync::resources::ResourceSet;

/// The wait when no override is going to end.
const NO_EXPIRY: Duration = Duration::from_secs(3_600);

/// What others read.
pub(super) struct Readers {
    pub(super) profiles: watch::Receiver<Arc<ProfileView>>,
    pub(super) weights: watch::Receiver<Arc<ResourceSet>>,
    pub(super) orders: watch::Receiver<Arc<Orders>>,
    pub(super) standing: watch::Receiver<Standing>,
}

/// The task.
pub(super) struct Follower {
    keys: Keys,
    clock: WallClock,
    tokens: Arc<TokenTable>,
    book: ProfileBook,
    weights: ResourceSet,
    orders: Orders,
    changed: Changed,
    standing: Standing,
    profiles_out: watch::Sender<Arc<ProfileView>>,
    weights_out: watch::Sender<Arc<ResourceSet>>,
    orders_out: watch::Sender<Arc<Orders>>,
    standing_out: watch::Sender<Standing>,
}

/// What differs from what was published.
#[derive(Default)]
struct Changed {
    profiles: bool,
    weights: bool,
    orders: bool,
}

impl Follower {
    pub(super) fn new(keys: Keys, tokens: Arc<TokenTable>, clock: WallClock) -> (Self, Readers) {
        let mut book = ProfileBook::new(keys.clone());
        let (profiles_out, profiles) = watch::channel(book.snapshot());
        let (weights_out, weights) = watch::channel(Arc::default());
        let (orders_out, orders) = watch::channel(Arc::default());
        let (standing_out, standing) = watch::channel(Standing::default());
        let follower = Self {
            keys,
            clock,
            tokens,
            book,
            weights: ResourceSet::default(),
            orders: Orders::new(),
            changed: Changed::default(),
            standing: Standing::default(),
            profiles_out,
            weights_out,
            orders_out,
            standing_out,
        };
        let readers = Readers {
            profiles,
            weights,
            orders,
            standing,
        };
        (follower, readers)
    }

    pub(super) async fn run(mut self, store: Arc<dyn Store>, options: Options) {
        let mut followed = follow(store, self.keys.cfg(), options);
        loop {
            let expires_in = self.expires_in();
            tokio::select! {
                biased;
                item = followed.next() => match item {
                    Some(item) => {
                        self.tokens.apply(&item);
                        self.take(item);
                    }
                    None => return,
                },
                () = tokio::time::sleep(expires_in) => {}
            }
            self.publish();
        }
    }

    /// Until the next override ends.
    fn expires_in(&self) -> Duration {
        let next = self.profiles_out.borrow().next_expiry();
        next.map_or(NO_EXPIRY, |at_unix_ms| {
            let ms = at_unix_ms.saturating_sub(self.clock.unix_ms_now());
            Duration::from_millis(ms).min(NO_EXPIRY)
        })
    }

    fn take(&mut self, followed: Followed) {
        let standing = &mut self.standing;
        match followed {
            Followed::Snapshot { revision, entries } => {
                (standing.complete, standing.lost) = (true, None);
                standing.revision = revision.0;
                for entry in entries {
                    let at = entry.mod_revision.0;
                    self.put(&entry.key, &entry.value, at);
                }
                self.weights.restart(revision.0);
                self.changed = Changed {
                    profiles: true,
                    weights: true,
                    orders: true,
                };
            }
            Followed::Changed { revision, events } => {
                standing.revision = revision.0;
                self.events(events, revision.0);
            }
            Followed::Resync {
                revision,
                reason,
                events,
            } => {
                let is_other = reason == Reason::OtherStore;
                standing.lost = None;
                standing.revision = revision.0;
                standing.replaced += u64::from(is_other);
                if is_other {
                    self.weights.restart(revision.0);
                    self.changed.weights = true;
                }
                self.events(events, revision.0);
            }
            Followed::Lost(error) => standing.lost = Some(error.to_string()),
        }
    }

    fn events(&mut self, events: Vec<Event>, revision: u64) {
        for event in events {
            match event.kind {
                EventKind::Put(entry) => self.put(&event.key, &entry.value, entry.mod_revision.0),
                EventKind::Deleted => self.delete(&event.key, revision),
            }
        }
    }

    fn put(&mut self, key: &Bytes, value: &Bytes, revision: u64) {
        self.changed.profiles |= self.book.put(key, value, revision);
        let result = match self.keys.parse(key) {
            Some(Key::Weights { service }) => decode(key, value).map(|record| {
                let payload = weights_payload(record);
                self.changed.weights |= self.weights.put(service, payload, revision);
            }),
            Some(Key::Orders { node }) => decode::<records::Orders>(key, value).map(|record| {
                self.changed.orders = true;
                let orders = record.orders.unwrap_or_default();
                let order = NodeOrder { orders, revision };
                self.orders.insert(node.to_owned(), order);
            }),
            Some(Key::Epoch) => decode::<records::Meta>(key, value).map(|meta| {
                let name = meta.epoch;
                let known = self.standing.epoch.replace(StoredEpoch { name, revision });
                // Versions from before it compare with none after.
                if known.is_some() {
                    self.weights.restart(revision);
                    self.changed.weights = true;
                }
            }),
            _ => Ok(()),
        };
        if let Err(error) = result {
            tracing::error!(%error, "a record is left out");
        }
    }

    fn delete(&mut self, key: &Bytes, revision: u64) {
        self.changed.profiles |= self.book.delete(key);
        match self.keys.parse(key) {
            Some(Key::Weights { service }) => {
                self.changed.weights |= self.weights.remove(service, revision);
            }
            Some(Key::Orders { node }) => {
                self.changed.orders |= self.orders.remove(node).is_some();
            }
            Some(Key::Epoch) => self.standing.epoch = None,
            _ => {}
        }
    }

    fn publish(&mut self) {
        // Before anybody sees it: what was read may have ended while nobody looked.
        self.changed.profiles |= self.book.expire(self.clock.unix_ms_now());
        let changed = std::mem::take(&mut self.changed);
        if changed.profiles {
            self.profiles_out.send_replace(self.book.snapshot());
        }
        if changed.weights {
            self.weights_out
                .send_replace(Arc::new(self.weights.clone()));
        }
        if changed.orders {
            self.orders_out.send_replace(Arc::new(self.orders.clone()));
        }
        super::tell(&self.standing_out, &self.standing);
    }
}

/// What nodes are told of a service's weights.
fn weights_payload(record: records::Weights) -> Bytes {
    let told = pb::ServiceWeights {
        service: record.service,
        weights: record.weights,
    };
    told.encode_to_vec().into()
}
