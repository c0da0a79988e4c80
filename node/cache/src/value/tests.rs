use std::time::Duration;

use http::header::{ACCEPT_LANGUAGE, CACHE_CONTROL, ETAG};
use proptest::prelude::*;
use weir_core::cache::{Key, Target};
use weir_core::proxy::Scheme;
use weir_core::purge::Hlc;

use super::*;

const NOW: UnixMs = UnixMs(1_800_000_000_000);

fn resource() -> Resource {
    let target = Target {
        namespace: "web",
        scheme: Scheme::Http,
        authority: "example.test",
        path_and_query: "/a?b",
    };
    Resource::new(Key::of(&target).unwrap(), "web", "example.test", "/a?b")
}

fn request(language: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(language))])
}

fn entry(fields: &[(HeaderName, &'static str)], language: &'static str) -> Entry {
    let response = fields
        .iter()
        .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
    let response = HeaderMap::from_iter(response);
    let exchange = Exchange {
        method: &Method::GET,
        path_and_query: "/a?b",
        request: &request(language),
        status: StatusCode::OK,
        response: &response,
        requested_at: UnixMs(NOW.0 - 30),
        responded_at: NOW,
    };
    let stored = cache::store(&exchange, &Policy::default()).unwrap();
    let body = Box::new([Bytes::from_static(b"bo"), Bytes::from_static(b"dy")]);
    Entry::new(
        resource(),
        stored,
        Hlc::new(NOW.0 - 30, 7, 3),
        Box::new([11, 12]),
        body,
    )
}

fn read(
    bytes: &Bytes,
    key: &[u8],
    has_variant: bool,
    language: &'static str,
    policy: &Policy,
) -> Value {
    decode(
        bytes,
        key,
        has_variant,
        &resource(),
        &request(language),
        policy,
    )
}

#[test]
fn an_entry_comes_back_as_old_as_it_was() {
    let entry = entry(
        &[(CACHE_CONTROL, "max-age=60"), (AGE, "5"), (ETAG, "\"e\"")],
        "de",
    );
    let (key, bytes) = encode(&entry).unwrap();
    let Value::Entry(back) = read(&bytes, &key, false, "de", &Policy::default()) else {
        panic!("no entry");
    };
    assert_eq!(back.stored.headers, entry.stored.headers);
    // `Age` is in whole seconds: it may come back older than it was, and never younger.
    let (before, after) = (entry.stored.fresh_until, back.stored.fresh_until);
    assert!(after <= before && before.since(after) < Duration::from_millis(1_100));
    assert!((5..=6).contains(&back.stored.age_s(NOW)));
    assert_eq!(
        (back.fetched_at, &back.tags),
        (entry.fetched_at, &entry.tags)
    );
    assert_eq!(back.body.concat(), b"body");
}

#[test]
fn a_variant_is_found_by_the_fields_that_it_depends_on() {
    let entry = entry(
        &[(CACHE_CONTROL, "max-age=60"), (VARY, "Accept-Language")],
        "de",
    );
    let (first, dependence) = encode_dependence(&entry).unwrap();
    assert_eq!(first, key_of(&resource(), None));
    let Value::DependsOn(by) = read(&dependence, &first, false, "fr", &Policy::default()) else {
        panic!("no dependence");
    };
    assert_eq!(by.names(), [ACCEPT_LANGUAGE]);
    let (key, bytes) = encode(&entry).unwrap();
    assert!(matches!(
        read(&bytes, &key, true, "de", &Policy::default()),
        Value::Entry(_)
    ));
    let other = key_of(&resource(), Some(b"fr"));
    assert!(matches!(
        read(&bytes, &other, true, "fr", &Policy::default()),
        Value::Unusable(_)
    ));
}

#[test]
fn todays_rules_judge_what_was_stored_under_others() {
    let entry = entry(&[(CACHE_CONTROL, "max-age=60")], "de");
    let (key, bytes) = encode(&entry).unwrap();
    let policy = Policy {
        ttl_max: Duration::from_secs(10),
        ..Policy::default()
    };
    let Value::Entry(back) = read(&bytes, &key, false, "de", &policy) else {
        panic!("no entry");
    };
    let fresh_for = back.stored.fresh_until.since(NOW);
    assert!(
        (8_900..=10_000).contains(&fresh_for.as_millis()),
        "{fresh_for:?}"
    );
}

proptest! {
    #[test]
    fn damaged_bytes_are_never_an_answer(at in 0_usize..400, flip in 1_u8.., cut in 0_usize..400) {
        let entry = entry(&[(CACHE_CONTROL, "max-age=60")], "de");
        let (key, bytes) = encode(&entry).unwrap();
        let mut damaged = bytes.to_vec();
        let at = at % damaged.len();
        damaged[at] ^= flip;
        let value = read(&Bytes::from(damaged), &key, false, "de", &Policy::default());
        prop_assert!(matches!(value, Value::Unusable(_)));
        let short = bytes.slice(..cut % bytes.len());
        prop_assert!(matches!(read(&short, &key, false, "de", &Policy::default()), Value::Unusable(_)));
    }
}
