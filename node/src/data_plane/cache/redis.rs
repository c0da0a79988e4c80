//! The tier in Redis on the way of a fetch: asked before the origin, told after it.

use std::sync::Arc;
use std::time::Duration;

use weir_cache::redis::Fetched;
use weir_cache::value::{self, Value};
use weir_cache::{Entry, Resource, Store};
use weir_core::cache::UnixMs;
use weir_core::purge::Verdict;

use super::super::answer::Reason;
use super::super::core::Core;
use super::wish::Wish;

/// What Redis has for a request, and what purges say of it: never [`Verdict::Gone`].
pub(super) async fn find(
    core: &Core,
    wish: &Wish,
    resource: &Resource,
) -> Option<(Arc<Entry>, Verdict)> {
    let store = &core.parts.cache;
    let first = value::key_of(resource, None);
    let entry = match get(core, wish, resource, &first, false).await? {
        Value::Entry(entry) => entry,
        Value::DependsOn(by) => {
            let variant = by.secondary_key(&wish.headers)?;
            let key = value::key_of(resource, Some(&variant));
            match get(core, wish, resource, &key, true).await? {
                Value::Entry(entry) => entry,
                _ => return None,
            }
        }
        Value::Unusable(_) => return None,
    };
    let is_trusted = entry.fetched_at.time() >= store.l2()?.trust_floor();
    match store.verdict(&entry) {
        Verdict::Gone => None,
        Verdict::Valid if !is_trusted => Some((entry, Verdict::Unsure)),
        verdict => Some((entry, verdict)),
    }
}

async fn get(
    core: &Core,
    wish: &Wish,
    resource: &Resource,
    key: &[u8],
    has_variant: bool,
) -> Option<Value> {
    let l2 = core.parts.cache.l2()?;
    let Fetched::Hit(bytes) = l2.get(key).await else {
        return None;
    };
    let value = value::decode(
        &bytes,
        key,
        has_variant,
        resource,
        &wish.headers,
        &wish.policy,
    );
    if let Value::Unusable(why) = &value {
        core.cache_metrics().redis_unusable.increment();
        tracing::debug!(
            key = resource.key.as_str(),
            why,
            "a value in Redis is of no use"
        );
    }
    Some(value)
}

/// Writes an entry some time soon, if it is not too large.
pub(super) fn keep(store: &Store<Reason>, entry: &Entry, ttl_max: Duration, now: UnixMs) {
    let Some(l2) = store.l2() else {
        return;
    };
    let ttl = entry.stored.keep_until.since(now).min(ttl_max);
    let dependence = value::encode_dependence(entry);
    for (key, bytes) in dependence.into_iter().chain(value::encode(entry)) {
        l2.put(&key, bytes, ttl);
    }
}
