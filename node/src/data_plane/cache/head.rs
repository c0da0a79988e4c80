//! What an answer to HEAD says of what is kept for GET (RFC 9111 section 4.3.5).
//!
//! HEAD seldom gets past what is kept: stale answers with validators are validated, whatever the method. What cannot be
//! validated is ended by a HEAD that finds another length or validator, at most once a second, and renewed by one that
//! finds the same validator. A length that is the same says nothing.

use std::sync::Arc;

use http::Response;
use weir_core::cache::{HeadUpdate, UnixMs, head_update, may_end_by_head};
use weir_core::purge::{Hardness, Hlc};

use super::super::body::ResponseBody;
use super::answered::tags;
use super::redis;
use super::serve::Serving;

impl Serving<'_> {
    /// Renews what is kept, or makes it stale on every node. What somebody is told who says who they are is nothing
    /// for others.
    pub(super) fn heed_head(
        &self,
        response: &Response<ResponseBody>,
        requested_at: UnixMs,
        fetched_at: Hlc,
    ) {
        let (store, wish) = (&self.core.parts.cache, &self.wish);
        let Some(kept) = store.peek(wish.key.as_str(), &wish.headers) else {
            return;
        };
        if wish.is_personal() || kept.fetched_at > fetched_at {
            return;
        }
        let (seen, now) = (self.seen(response, requested_at), self.core.unix_ms());
        let kept_since = UnixMs(kept.fetched_at.unix_ms());
        match head_update(&kept.stored, kept.body_bytes, &seen, &wish.policy) {
            HeadUpdate::Renewed(renewed) if renewed.may_keep.is_ok() => {
                if let Ok(tags) = tags(wish, &renewed.stored.headers) {
                    // The body is as old as it was: a purge that came after its fetch still finds it.
                    let entry = Arc::new(kept.renewed(renewed.stored, kept.fetched_at, tags));
                    if store.insert(&entry, now) {
                        redis::keep(store, &entry, store.l2_ttl(), now);
                    }
                }
            }
            HeadUpdate::Renewed(renewed) if renewed.drops_older() => {
                store.remove(wish.key.as_str());
            }
            HeadUpdate::Invalid if may_end_by_head(&kept.stored, kept_since, now) => {
                store.purge_key(&kept.resource, Hardness::Soft, now);
                self.core.cache_metrics().invalidated.increment();
            }
            HeadUpdate::Renewed(_) | HeadUpdate::Invalid | HeadUpdate::Nothing => {}
        }
    }
}
