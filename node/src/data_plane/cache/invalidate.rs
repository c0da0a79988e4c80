//! What an unsafe request makes invalid (RFC 9111 section 4.4).

use std::rc::Rc;

use http::{Method, Response, Uri};
use weir_cache::Resource;
use weir_core::cache::{Key, Target, invalidated};
use weir_core::purge::Hardness;

use super::super::body::ResponseBody;
use super::super::core::Core;
use super::super::request::Routed;

/// Purges what the request changed: on this node at once, on others as they hear of it. What was being fetched
/// meanwhile does not come back.
pub(super) fn after(
    core: &Rc<Core>,
    routed: &Routed,
    method: &Method,
    uri: &Uri,
    response: &Response<ResponseBody>,
) {
    let Some(cache) = &routed.settings().cache else {
        return;
    };
    let own = uri.path_and_query().map_or("/", |target| target.as_str());
    let target = Target {
        namespace: &cache.namespace,
        scheme: routed.facing.scheme,
        authority: &routed.facing.authority,
        path_and_query: own,
    };
    for path_and_query in &invalidated(method, &target, response.status(), response.headers()) {
        let target = Target {
            path_and_query,
            ..target
        };
        if let Ok(key) = Key::of(&target) {
            let (namespace, authority) = (&cache.namespace, &routed.facing.authority);
            let resource = Resource::new(key, namespace, authority, path_and_query);
            let store = &core.parts.cache;
            store.purge_key(&resource, Hardness::Hard, core.unix_ms());
            core.cache_metrics().invalidated.increment();
        }
    }
}
