//! What holds for whatever origins and clients send.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use weir_core::cache::range::{Part, RANGES_MAX, select};
use weir_core::cache::{
    CacheStatus, Directives, Exchange, Key, Lookup, NotStored, Policy, RequestCookie, Reuse,
    SetCookie, Source, Stored, Target, UnixMs, condition, conditional, explain, freshen,
    head_update, http_date, invalidated, reuse, store,
};
use weir_core::proxy::Scheme;

const CAME: UnixMs = UnixMs(1_790_000_000_000);

const NAMES: [&str; 22] = [
    "accept-encoding",
    "accept-language",
    "age",
    "authorization",
    "cache-control",
    "cdn-cache-control",
    "connection",
    "content-length",
    "content-location",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expires",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "last-modified",
    "location",
    "pragma",
    "range",
    "vary",
];

/// Words that mean something somewhere, and what separates them.
const WORDS: [&str; 40] = [
    "max-age=60",
    "max-age=0",
    "s-maxage=5",
    "stale-while-revalidate=10",
    "stale-if-error=20",
    "no-store",
    "private",
    "public",
    "no-cache",
    "must-revalidate",
    "proxy-revalidate",
    "immutable",
    "must-understand",
    "private=\"x-a\"",
    "no-cache=\"set-cookie\"",
    "MAX-AGE=7",
    "ext=\"a, no-store\"",
    "\"",
    "\\",
    ",",
    ";",
    "=",
    " ",
    "*",
    "bytes=0-1",
    "bytes=-3,5-",
    "\"a\"",
    "W/\"a\"",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Thu, 18 Aug 2050 02:01:18 GMT",
    "3600",
    "gzip;q=0.5",
    "br",
    "vary",
    "cookie",
    "x-a",
    "max-stale",
    "min-fresh=9",
    "only-if-cached",
    "..//./a?b#c",
];

fn value() -> impl Strategy<Value = HeaderValue> {
    let words = prop::collection::vec(prop::sample::select(&WORDS[..]), 0..6)
        .prop_map(|words| words.join(","));
    let mixed = prop::collection::vec(prop::sample::select(&WORDS[..]), 0..6)
        .prop_map(|words| words.concat());
    let bytes = prop::collection::vec(prop_oneof![Just(b'\t'), 32..=126_u8, 128..=255_u8], 0..40);
    prop_oneof![
        3 => words.prop_map(String::into_bytes),
        2 => mixed.prop_map(String::into_bytes),
        1 => bytes,
    ]
    .prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap())
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    prop::collection::vec((prop::sample::select(&NAMES[..]), value()), 0..10).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value);
        }
        headers
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let seconds = |max: u64| (0..max).prop_map(Duration::from_secs);
    let ttl = prop::option::of(seconds(100));
    (
        ttl,
        seconds(100),
        seconds(50),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(ttl, ttl_max, stale, strips, is_cookieless, despite)| Policy {
                ttl,
                ttl_max,
                stale_while_revalidate: stale,
                stale_if_error: stale,
                stale_despite_s_maxage: despite,
                set_cookie: if strips {
                    SetCookie::Strip
                } else {
                    SetCookie::Refuse
                },
                request_cookie: match is_cookieless {
                    true => RequestCookie::Ignore,
                    false => RequestCookie::StoreIfPublic,
                },
                ..Policy::default()
            },
        )
}

fn status() -> impl Strategy<Value = StatusCode> {
    let common = prop::sample::select(&[200_u16, 206, 304, 404, 410, 500, 503, 599][..]);
    prop_oneof![3 => Just(200), 1 => common, 1 => 100..1_000_u16]
        .prop_map(|status| StatusCode::from_u16(status).unwrap())
}

fn exchange<'a>(
    request: &'a HeaderMap,
    status: StatusCode,
    response: &'a HeaderMap,
) -> Exchange<'a> {
    Exchange {
        method: &Method::GET,
        path_and_query: "/a.css?b",
        request,
        status,
        response,
        requested_at: CAME,
        responded_at: CAME,
    }
}

fn all_ways(stored: &Stored, request: &HeaderMap, newer: &Exchange<'_>, policy: &Policy) {
    let mut asked = request.clone();
    condition(stored, &mut asked);
    let _ = freshen(stored, newer, policy);
    let _ = head_update(stored, 10, newer, policy);
    let _ = conditional::evaluate(&Method::GET, request, stored, CAME);
    let _ = conditional::not_modified_headers(stored);
    let _ = stored.matches(request);
}

proptest! {
    #[test]
    fn no_header_makes_anything_panic(
        request in headers(),
        response in headers(),
        newer in headers(),
        status in status(),
        policy in policy(),
        now in any::<u64>(),
        text in "\\PC{0,60}",
    ) {
        let exchange = exchange(&request, status, &response);
        explain(&exchange, &policy, UnixMs(now));
        let newer = Exchange { response: &newer, ..exchange };
        let lookup = Lookup::of(&Method::GET, &request, &policy);
        if let Ok(stored) = store(&exchange, &policy) {
            all_ways(&stored, &request, &newer, &policy);
            if let Ok(lookup) = lookup {
                reuse(&lookup, &stored, UnixMs(now));
            }
        }
        let target = Target { namespace: "n", scheme: Scheme::Http, authority: &text, path_and_query: &text };
        let _ = Key::of(&target);
        invalidated(&Method::POST, &target, StatusCode::OK, &response);
        let _ = CacheStatus::hit(&text).to_string();
        http_date(UnixMs(now));
    }

    #[test]
    fn what_says_no_store_or_private_is_never_stored(
        request in headers(),
        mut response in headers(),
        status in status(),
        policy in policy(),
        word in prop::sample::select(&["no-store", "private", "No-Store", "PRIVATE"][..]),
        is_targeted in any::<bool>(),
    ) {
        let name = if is_targeted { "cdn-cache-control" } else { "cache-control" };
        let word = if is_targeted { word.to_ascii_lowercase() } else { word.to_owned() };
        response.remove("cdn-cache-control");
        if is_targeted {
            response.insert(HeaderName::from_static(name), HeaderValue::from_str(&word).unwrap());
        } else {
            response.append(HeaderName::from_static(name), HeaderValue::from_str(&word).unwrap());
        }
        let understands = !is_targeted && Directives::of_cache_control(&response).must_understand;
        prop_assume!(!understands);
        prop_assert!(store(&exchange(&request, status, &response), &policy).is_err());
    }

    #[test]
    fn nothing_is_fresh_for_longer_than_its_directives_and_the_policy_permit(
        response in headers(),
        status in status(),
        policy in policy(),
    ) {
        let request = HeaderMap::new();
        let Ok(stored) = store(&exchange(&request, status, &response), &policy) else {
            return Ok(());
        };
        let lifetime = stored.fresh_until.since(CAME);
        prop_assert!(lifetime <= policy.ttl_max);
        let said = Directives::of_cache_control(&response);
        let given = said.s_maxage_s.or(said.max_age_s);
        if matches!(stored.source, Source::SMaxAge | Source::MaxAge) {
            prop_assert!(lifetime <= Duration::from_secs(given.unwrap().into()));
        }
        if stored.flags.no_cache {
            prop_assert!(lifetime.is_zero());
        }
        prop_assert!(stored.fresh_until <= stored.keep_until);
    }

    #[test]
    fn nothing_past_its_end_is_called_fresh_and_nothing_forbidden_served_stale(
        request in headers(),
        response in headers(),
        status in status(),
        policy in policy(),
        after_ms in 0..200_000_u64,
    ) {
        let none = HeaderMap::new();
        let lookup = Lookup::of(&Method::GET, &request, &policy);
        let (Ok(stored), Ok(lookup)) = (store(&exchange(&none, status, &response), &policy), lookup) else {
            return Ok(());
        };
        let now = UnixMs(CAME.0 + after_ms);
        match reuse(&lookup, &stored, now) {
            Reuse::Fresh => {
                prop_assert!(now < stored.fresh_until && !stored.flags.no_cache);
            }
            Reuse::Stale | Reuse::StaleWhileRevalidate => {
                prop_assert!(!stored.flags.never_stale && !stored.flags.no_cache);
                prop_assert!(now >= stored.fresh_until);
            }
            Reuse::Revalidate(fallback) if stored.flags.never_stale => {
                prop_assert_eq!(fallback.disconnected_until, UnixMs(0));
                prop_assert_eq!(fallback.on_error_until, UnixMs(0));
            }
            _ => {}
        }
    }

    #[test]
    fn a_stored_response_holds_no_cookie_of_a_client_and_nothing_of_a_connection(
        mut response in headers(),
        policy in policy(),
    ) {
        response.insert("set-cookie", HeaderValue::from_static("a=b"));
        response.insert("keep-alive", HeaderValue::from_static("timeout=5"));
        let request = HeaderMap::new();
        if let Ok(stored) = store(&exchange(&request, StatusCode::OK, &response), &policy) {
            for name in ["set-cookie", "keep-alive", "connection", "age", "transfer-encoding"] {
                prop_assert!(!stored.headers.contains_key(name), "{}", name);
            }
        }
    }

    #[test]
    fn a_stored_variant_answers_the_request_that_fetched_it(request in headers(), response in headers()) {
        let policy = Policy { request_cookie: RequestCookie::Ignore, ..Policy::default() };
        match store(&exchange(&request, StatusCode::OK, &response), &policy) {
            Ok(stored) => prop_assert!(stored.matches(&request)),
            Err(NotStored::VaryStar) => {
                prop_assert!(response.contains_key("vary"));
            }
            Err(_) => {}
        }
    }

    #[test]
    fn directives_that_are_written_read_back(
        seconds in prop::array::uniform4(prop::option::of(0..=1_u32 << 31)),
        flags in prop::array::uniform9(any::<bool>()),
        omitted in prop::collection::btree_set("[a-z][a-z0-9-]{0,10}", 0..5),
    ) {
        let directives = Directives {
            max_age_s: seconds[0],
            s_maxage_s: seconds[1],
            stale_while_revalidate_s: seconds[2],
            stale_if_error_s: seconds[3],
            no_store: flags[0],
            private: flags[1],
            no_cache: flags[2],
            must_revalidate: flags[3],
            proxy_revalidate: flags[4],
            public: flags[5],
            must_understand: flags[6],
            no_transform: flags[7],
            immutable: flags[8],
            omitted: omitted.iter().map(|name| name.parse().unwrap()).collect(),
        };
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", HeaderValue::try_from(directives.to_string()).unwrap());
        prop_assert_eq!(Directives::of_cache_control(&headers), directives.clone());
        headers.insert("cdn-cache-control", headers["cache-control"].clone());
        let target = HeaderName::from_static("cdn-cache-control");
        let read = Directives::of_target(&headers, &target);
        prop_assert_eq!(read.unwrap_or_default(), directives);
    }

    #[test]
    fn parts_lie_inside_the_body_and_are_not_longer_than_it(
        specs in prop::collection::vec(
            (prop::option::of(0..40_u64), prop::option::of(0..40_u64)).prop_map(|(first, last)| {
                let text = |bound: Option<u64>| bound.map_or(String::new(), |bound| bound.to_string());
                format!("{}-{}", text(first), text(last))
            }),
            1..12,
        ),
        body_bytes in 0..30_u64,
    ) {
        let mut response = HeaderMap::new();
        response.insert("cache-control", HeaderValue::from_static("max-age=60"));
        let mut request = HeaderMap::new();
        let stored = store(&exchange(&request, StatusCode::OK, &response), &Policy::default()).unwrap();
        let range = format!("bytes={}", specs.join(","));
        request.insert("range", HeaderValue::try_from(range).unwrap());
        let ranges = match select(&Method::GET, &request, &stored, body_bytes) {
            Part::Whole | Part::Unsatisfiable => return Ok(()),
            Part::Single(range) => vec![range],
            Part::Multiple(ranges) => {
                prop_assert!((2..=RANGES_MAX).contains(&ranges.len()));
                ranges
            }
        };
        let mut total = 0;
        for range in &ranges {
            prop_assert!(range.start < range.end && range.end <= body_bytes);
            total += range.end - range.start;
        }
        prop_assert!(total <= body_bytes);
    }
}
