//! A hit of 1 KiB, as a node does it for each request.

use std::sync::Arc;

use bytes::Bytes;
use http::header::AGE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use weir_cache::{Entry, Found, MemoryLimits, PurgeLimits, Purges, Resource, Store};
use weir_core::cache::{
    self, CACHE_STATUS, Exchange, Key, Lookup, Phrases, Policy, Reuse, Target, UnixMs,
};
use weir_core::proxy::Scheme;
use weir_core::purge::{Hlc, HlcClock, Verdict};

const NOW: UnixMs = UnixMs(1_800_000_000_000);
const PATH: &str = "/kept/picture.png";

const REQUEST: [(&str, &str); 4] = [
    ("host", "www.example.com"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ),
    ("accept", "image/avif,image/webp,*/*;q=0.8"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
];
const RESPONSE: [(&str, &str); 8] = [
    ("server", "origin/1.0"),
    ("date", "Fri, 15 Jan 2027 08:00:00 GMT"),
    ("content-type", "image/png"),
    ("content-length", "1024"),
    ("last-modified", "Thu, 14 Jan 2027 08:00:00 GMT"),
    ("etag", "\"69673c00-400\""),
    ("cache-control", "public, max-age=3600"),
    ("accept-ranges", "bytes"),
];

/// A request, and what is kept for it.
pub(super) struct Stage {
    store: Store<()>,
    request: HeaderMap,
    policy: Policy,
    phrases: Phrases,
    /// Memory of the key before.
    spare: String,
}

impl Stage {
    pub(super) fn new() -> Self {
        let limits = MemoryLimits {
            bytes_max: 64 << 20,
            entry_bytes_max: 4 << 20,
        };
        let purges = Purges::new(1, HlcClock::new(1, 2_000), PurgeLimits::default());
        let store = Store::new(limits, 1, purges);
        let (request, policy) = (headers(&REQUEST), Policy::default());
        store.insert(&Arc::new(entry(&request, &policy)), NOW);
        Self {
            store,
            request,
            policy,
            phrases: Phrases::new("node-1"),
            spare: String::new(),
        }
    }

    /// Key, look-up, rules and fields.
    pub(super) fn hit(&mut self) -> Option<(HeaderMap, Arc<Entry>)> {
        let lookup = Lookup::of(&Method::GET, &self.request, &self.policy).ok()?;
        let key = Key::of_in(&target(), std::mem::take(&mut self.spare)).ok()?;
        let found = self.store.find(key.as_str(), &self.request, NOW);
        self.spare = key.into_text();
        let Found::Entry(entry, Verdict::Valid) = found else {
            return None;
        };
        if cache::reuse(&lookup, &entry.stored, NOW) != Reuse::Fresh
            || cache::is_due(&entry.stored, 1.0, 0.5, NOW)
        {
            return None;
        }
        let mut headers = entry.stored.answer_headers();
        headers.insert(AGE, self.phrases.age(entry.stored.age_s(NOW)));
        headers.append(&CACHE_STATUS, self.phrases.hit(entry.stored.ttl_s(NOW))?);
        Some((headers, entry))
    }
}

fn target() -> Target<'static> {
    Target {
        namespace: "pictures",
        scheme: Scheme::Http,
        authority: "www.example.com",
        path_and_query: PATH,
    }
}

fn entry(request: &HeaderMap, policy: &Policy) -> Entry {
    let response = headers(&RESPONSE);
    let exchange = Exchange {
        method: &Method::GET,
        path_and_query: PATH,
        request,
        status: StatusCode::OK,
        response: &response,
        requested_at: NOW,
        responded_at: NOW,
    };
    let stored = cache::store(&exchange, policy).expect("it may be kept");
    let key = Key::of(&target()).expect("it is short");
    let resource = Resource::new(key, "pictures", "www.example.com", PATH);
    let body = Bytes::from(vec![b'w'; 1_024]);
    Entry::new(
        resource,
        stored,
        Hlc::new(NOW.0, 0, 1),
        Box::default(),
        Box::new([body]),
    )
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &str)| {
        // As the parser makes them: values of their own.
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        (HeaderName::from_static(name), value)
    };
    fields.iter().map(field).collect()
}
