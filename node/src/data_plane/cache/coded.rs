//! In which coding a stored response goes to a client.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use weir_cache::Entry;
use weir_core::content_coding::{Coding, Representation};

use super::super::compress::Offer;
use super::super::core::Core;
use super::answer::Held;
use super::wish::Wish;
use crate::telemetry::compression::Compressed;

/// The offer to the client, if what is held may be coded.
pub(super) fn offer<'a>(wish: &'a Wish, held: &Held) -> Option<&'a Offer> {
    let stored = held.stored();
    wish.offer.as_deref().filter(|offer| {
        offer.allows(&Representation {
            status: stored.status,
            headers: &stored.headers,
            bytes: held.body_bytes(),
        })
    })
}

/// The form that the client wants most of those that were made. The one that it wants most of all is begun if nobody
/// has; until that is there clients get the body as it is, which costs the threads that serve nothing.
pub(super) fn form(offer: &Offer, entry: &Arc<Entry>, core: &Rc<Core>) -> Option<(Coding, Bytes)> {
    let wanted = offer.chosen();
    if wanted == Coding::Identity {
        return None;
    }
    if entry.coded(wanted).is_none() {
        make(offer, entry, core, wanted);
    }
    offer.taken.iter().find_map(|coding| {
        let body = entry.coded(*coding)?.body.clone()?;
        Some((*coding, body))
    })
}

fn make(offer: &Offer, entry: &Arc<Entry>, core: &Rc<Core>, coding: Coding) {
    let store = &core.parts.cache;
    let Some(making) = store.begin_coding(entry, coding, offer.level()) else {
        return;
    };
    let core = Rc::clone(core);
    tokio::task::spawn_local(async move {
        if making.await.is_some() {
            let metrics = &core.metrics().compression;
            metrics.compressions(coding, Compressed::Stored).increment();
        }
    });
}
