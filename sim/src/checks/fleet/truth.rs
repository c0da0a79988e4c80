//! What the store held at a moment, and what follows from it for a node.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use weir_control_plane::keys::Key;
use weir_control_plane::profiles::ProfileBook;
use weir_control_plane::records::decode;
use weir_control_plane::store::{Entry, EventKind};
use weir_proto::control::records::v1 as records;
use weir_proto::convert::decode_profile;

use crate::fleet::history::{History, Stored};
use crate::fleet::{LAYERS, WALL_CLOCK_START, is_grouped, keys};

/// What was put, with its key read.
pub(super) fn put(stored: &Stored) -> Option<(Key<'_>, &Entry)> {
    let EventKind::Put(entry) = &stored.event.kind else {
        return None;
    };
    Some((keys().parse(&stored.event.key)?, entry))
}

/// The record of an entry.
pub(super) fn read<M: Message + Default>(entry: &Entry) -> M {
    decode(&entry.key, &entry.value).expect("the control plane reads what it wrote")
}

/// Every revision that was written of one scope, and when.
pub(super) fn revisions(history: &History, scope: &str) -> Vec<(Duration, records::Profile)> {
    let all = history.stored.iter().filter_map(|stored| {
        let (Key::ProfileRevision { scope: of, .. }, entry) = put(stored)? else {
            return None;
        };
        (of.to_string() == scope).then(|| (stored.at, read::<records::Profile>(entry)))
    });
    all.collect()
}

/// Milliseconds since 1970, on every clock of the simulation.
pub(super) fn unix_ms(at: Duration) -> u64 {
    u64::try_from((WALL_CLOCK_START + at).as_millis()).unwrap_or(u64::MAX)
}

/// Knobs and values as people write them.
pub(super) fn settings(profile: &records::Profile) -> BTreeMap<String, String> {
    let wire = profile.profile.clone().unwrap_or_default();
    let decoded = decode_profile(&wire).profile;
    let text = |(path, value): (&'static str, &weir_core::tuning::Value)| {
        (path.to_owned(), value.to_string())
    };
    decoded.iter().map(text).collect()
}

/// What the layers gave a node at a moment.
pub(super) fn layered(history: &History, node: &str, at: Duration) -> BTreeMap<String, String> {
    let mut given = BTreeMap::new();
    for layer in LAYERS {
        let Some(scope) = layer.scope_for(node) else {
            continue;
        };
        let then = revisions(history, &scope);
        let newest = then.iter().rfind(|(written, _)| *written <= at);
        let Some((_, profile)) = newest else { continue };
        if !layer.ends || profile.until_unix_ms > unix_ms(at) {
            given.extend(settings(profile));
        }
    }
    given
}

/// The hash of what the control plane would offer a node that reads the store at this moment.
pub(super) fn offered_hash(history: &History, node: &str, at: Duration) -> Vec<u8> {
    let mut book = ProfileBook::new(keys());
    for stored in history.stored.iter().filter(|stored| stored.at <= at) {
        if let EventKind::Put(entry) = &stored.event.kind {
            book.put(&entry.key, &entry.value, entry.mod_revision.0);
        }
    }
    book.expire(unix_ms(at));
    let labels = match is_grouped(node) {
        true => [("region".to_owned(), "eu".to_owned())].into(),
        false => BTreeMap::new(),
    };
    book.snapshot().offer_for(node, &labels).hash.to_vec()
}

/// The weights of the service at a moment.
pub(super) fn weights(history: &History, at: Duration) -> BTreeMap<String, u32> {
    let then = history.stored.iter().filter(|stored| stored.at <= at);
    let newest = then.filter_map(put).filter_map(|(key, entry)| match key {
        Key::Weights { .. } => Some(read::<records::Weights>(entry).weights),
        _ => None,
    });
    newest.last().unwrap_or_default().into_iter().collect()
}
