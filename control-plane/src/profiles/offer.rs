//! What a node is offered, made once for all nodes with the same layers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use prost::Message;
use weir_core::trace::TraceContext;
use weir_core::tuning::{Merged, find};
use weir_proto::control::v1::{TimedSetting, TunedProfile};
use weir_proto::convert;
use weir_proto::sync::{ContentHash, content_hash};
use weir_proto::tuning::v1 as pb;

use super::record::{Head, Revision};
use super::settings::setting;
use super::stack::{Laid, ids};

/// Offers that a book keeps. Beyond, each is made anew for whoever asks.
pub const OFFERS_CACHED_MAX: usize = 4_096;

/// A node's merged profile. Of equal content all is equal but what tells where it comes from.
#[derive(Debug)]
pub struct Offer {
    /// Names the payload.
    pub hash: ContentHash,
    /// An encoded [`TunedProfile`].
    pub payload: Bytes,
    /// The newest of the store's revisions that put a layer of it; 0 without layers.
    pub revision: u64,
    /// The write that put that layer, as a span of a trace of its own, and when; absent if its id is none of a trace.
    pub written: Option<(TraceContext, u64)>,
    /// What it is merged from, as `SCOPE@REVISION`, the strongest last.
    pub layers: Vec<String>,
    /// What this version can read of it, and where each setting comes from.
    pub merged: Merged,
    /// When the first of its overrides ends.
    pub overrides_until: Option<u64>,
    pub(super) foreign: BTreeMap<String, (pb::Value, Arc<Head>)>,
}

impl Offer {
    fn of(layers: &[&Arc<Head>]) -> Self {
        let is_override = |head: &&&Arc<Head>| head.revision.scope.is_override();
        let base = Laid::of(layers.iter().filter(|head| !is_override(head)).copied());
        let over = Laid::of(layers.iter().filter(is_override).copied());
        let tuned = TunedProfile {
            base: Some(pb::Profile {
                settings: values(&base).map(setting).collect(),
            }),
            overrides: timed(&over, layers),
        };
        let payload = Bytes::from(tuned.encode_to_vec());
        let all = Laid::of(layers.iter().copied());
        let overrides = tuned.overrides.iter();
        let newest = layers.iter().max_by_key(|head| head.mod_revision);
        let written = newest.map(|head| &head.revision).and_then(|revision| {
            let context = TraceContext::of_write(&revision.write_id)?;
            Some((context, revision.written_at_unix_ms))
        });
        Self {
            hash: content_hash(&payload),
            payload,
            revision: newest.map_or(0, |head| head.mod_revision),
            written,
            layers: layers.iter().map(|head| named(&head.revision)).collect(),
            merged: all.merged,
            overrides_until: overrides.map(|timed| timed.until_unix_ms).min(),
            foreign: all.foreign,
        }
    }
}

/// As people and commands write it.
fn named(revision: &Revision) -> String {
    format!("{}@{}", revision.scope, revision.revision)
}

/// What is laid, in the order of paths.
fn values(laid: &Laid) -> impl Iterator<Item = (&str, pb::Value)> {
    let known = laid.merged.iter();
    let mut values: BTreeMap<&str, pb::Value> = known
        .map(|(path, given)| (path, convert::value(&given.value)))
        .collect();
    let foreign = laid.foreign.iter();
    values.extend(foreign.map(|(path, (value, _))| (path.as_str(), value.clone())));
    values.into_iter()
}

fn timed(over: &Laid, layers: &[&Arc<Head>]) -> Vec<TimedSetting> {
    let until_of = |path: &str| {
        let giver = match over.foreign.get(path) {
            Some((_, head)) => Some(&head.revision.scope),
            None => find(path)
                .and_then(|knob| over.merged.get(knob))
                .map(|given| &given.scope),
        };
        let giver = layers
            .iter()
            .find(|head| Some(&head.revision.scope) == giver);
        giver.map_or(0, |head| head.revision.until_unix_ms)
    };
    let timed = |(path, value)| TimedSetting {
        until_unix_ms: until_of(path),
        setting: Some(setting((path, value))),
    };
    values(over).map(timed).collect()
}

type Slots = BTreeMap<Arc<[u64]>, Arc<OnceLock<Arc<Offer>>>>;

/// Offers by their layers. Readers of the map do not wait; whoever asks for an offer that is being made waits for
/// that one, which takes well under a millisecond.
#[derive(Debug, Default)]
pub(super) struct OfferCache {
    slots: ArcSwap<Slots>,
    made: AtomicU64,
}

impl OfferCache {
    pub(super) fn get(&self, layers: &[&Arc<Head>]) -> Arc<Offer> {
        let key = ids(layers);
        let make = || {
            self.made.fetch_add(1, Ordering::Relaxed);
            Arc::new(Offer::of(layers))
        };
        if let Some(slot) = self.slots.load().get(&key) {
            return Arc::clone(slot.get_or_init(make));
        }
        self.slots.rcu(|slots| {
            let mut slots = Slots::clone(slots);
            if slots.len() < OFFERS_CACHED_MAX {
                slots.entry(Arc::clone(&key)).or_default();
            }
            slots
        });
        match self.slots.load().get(&key) {
            Some(slot) => Arc::clone(slot.get_or_init(make)),
            None => make(),
        }
    }

    /// How many were made.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Forgets what has another layer than these; they come in order of their ids.
    pub(super) fn keep(&self, ids: &[u64]) {
        let is_kept = |key: &Arc<[u64]>| key.iter().all(|id| ids.binary_search(id).is_ok());
        self.slots.rcu(|slots| {
            let kept = slots.iter().filter(|(key, _)| is_kept(key));
            kept.map(|(key, slot)| (Arc::clone(key), Arc::clone(slot)))
                .collect::<Slots>()
        });
    }
}
