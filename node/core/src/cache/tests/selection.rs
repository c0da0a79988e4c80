//! Which variant answers, and whether the client has it already.

use super::*;
use crate::cache::conditional::{Condition, evaluate, not_modified_headers};
use crate::cache::{VARIANT_BYTES_MAX, goes_beside};

type Lines<'a> = &'a [(&'static str, &'a str)];

fn variant(vary: &[&str], request: Lines<'_>) -> Result<Stored, NotStored> {
    let mut response = headers(&[("cache-control", "max-age=60")]);
    for line in vary {
        response.append("vary", HeaderValue::from_str(line).unwrap());
    }
    Case {
        request: headers(request),
        response,
        ..Case::default()
    }
    .store()
}

#[test]
fn a_star_anywhere_in_vary_keeps_a_response_from_being_stored() {
    for vary in [
        &["*"][..],
        &["*, *"],
        &["*", "*"],
        &[", *"],
        &["", "*"],
        &["*, foo"],
        &["foo, *"],
        &["a b"],
    ] {
        assert_eq!(
            variant(vary, &[]).err(),
            Some(NotStored::VaryStar),
            "{vary:?}"
        );
    }
}

#[test]
fn a_variant_answers_requests_with_the_same_fields_only() {
    let stored = variant(&["Foo", "bar, FOO"], &[("foo", "1, 2"), ("other", "x")]).unwrap();
    let names = stored.variant.as_ref().unwrap().by().names();
    assert_eq!(names, ["bar", "foo"]);
    let matches = |lines: Lines<'_>| stored.matches(&headers(lines));
    for same in [
        &[("foo", "1, 2")][..],
        &[("foo", "1"), ("foo", "2")],
        &[("foo", " 1,2 "), ("other", "y")],
    ] {
        assert!(matches(same), "{same:?}");
    }
    for other in [
        &[][..],
        &[("foo", "2, 1")],
        &[("foo", "1, 2"), ("bar", "")],
        &[("foo", "\"1, 2\"")],
    ] {
        assert!(!matches(other), "{other:?}");
    }
    assert!(
        stored_of(&[("cache-control", "max-age=1")])
            .unwrap()
            .matches(&headers(&[("foo", "1")]))
    );
}

#[test]
fn fields_do_not_run_into_each_other() {
    let of = |lines: Lines<'_>| variant(&["a, b"], lines).unwrap().variant.unwrap();
    let keys = [
        of(&[("a", "1"), ("b", "2")]),
        of(&[("a", "1b:2")]),
        of(&[("a", "1")]),
        of(&[("a", "1"), ("b", "")]),
        of(&[("b", "1")]),
        of(&[]),
    ];
    for (at, key) in keys.iter().enumerate() {
        assert!(
            keys[..at].iter().all(|other| other.key() != key.key()),
            "{at}"
        );
    }
}

#[test]
fn languages_and_codings_are_compared_by_meaning() {
    let language = variant(&["accept-language"], &[("accept-language", "en, de")]).unwrap();
    assert!(language.matches(&headers(&[("accept-language", " eN ,   De")])));
    assert!(language.matches(&headers(&[("accept-language", "de, en")])));
    assert!(!language.matches(&headers(&[("accept-language", "de, en;q=0.5")])));
    let coding = variant(&["accept-encoding"], &[("accept-encoding", "gzip, br")]).unwrap();
    assert!(coding.matches(&headers(&[("accept-encoding", "br,GZIP;q=1.0")])));
    assert!(!coding.matches(&headers(&[("accept-encoding", "gzip")])));
    assert!(!coding.matches(&HeaderMap::new()));
}

#[test]
fn the_same_text_needs_no_key_to_be_the_same_variant() {
    let stored = variant(&["a, b"], &[("a", "1, 2")]).unwrap();
    let variant = stored.variant.unwrap();
    assert!(variant.is_as_written(&headers(&[("a", "1, 2"), ("c", "3")])));
    for other in [
        &[("a", "1,2")][..],
        &[("a", "1"), ("a", "2")],
        &[("a", "1, 2"), ("b", "")],
        &[],
    ] {
        assert!(!variant.is_as_written(&headers(other)), "{other:?}");
    }
}

#[test]
fn two_lines_are_not_the_first_of_them() {
    let stored = variant(&["a"], &[("a", "1"), ("a", "2")]).unwrap();
    assert!(!stored.matches(&headers(&[("a", "1")])));
    assert!(stored.matches(&headers(&[("a", "1, 2")])));
    let stored = variant(&["a"], &[("a", "1")]).unwrap();
    assert!(!stored.matches(&headers(&[("a", "1"), ("a", "2")])));
}

#[test]
fn variants_are_bounded() {
    let names: Vec<String> = (0..9).map(|at| format!("x-{at}")).collect();
    assert!(variant(&[&names[..8].join(",")], &[]).is_ok());
    assert_eq!(
        variant(&[&names.join(",")], &[]).err(),
        Some(NotStored::VaryLimit)
    );
    let value = "v".repeat(VARIANT_BYTES_MAX);
    assert_eq!(
        variant(&["a"], &[("a", &value)]).err(),
        Some(NotStored::VaryLimit)
    );
    let stored = variant(&["a"], &[("a", &value[1..])]).unwrap();
    assert!(!stored.matches(&headers(&[("a", &value)])));
}

#[test]
fn what_heeds_less_than_a_newer_answer_depends_on_stays_not_beside_it() {
    let by = |vary: &[&str]| variant(vary, &[]).unwrap().variant;
    for (older, newer, stays) in [
        ("a", "a, b", false),
        ("a", "b", false),
        ("a, b", "a", true),
        ("a, b", "b, a", true),
    ] {
        let (older, newer) = (by(&[older]), by(&[newer]));
        assert_eq!(
            goes_beside(older.as_ref(), newer.as_ref()),
            stays,
            "{older:?} {newer:?}"
        );
    }
    let some = by(&["a"]);
    assert!(!goes_beside(None, some.as_ref()));
    assert!(goes_beside(some.as_ref(), None) && goes_beside(None, None));
}

fn condition(stored: Lines<'_>, request: Lines<'_>) -> Condition {
    let stored = stored_of(&[stored, &[("cache-control", "max-age=60")]].concat()).unwrap();
    evaluate(&Method::GET, &headers(request), &stored, CAME)
}

#[test]
fn if_none_match_is_answered_by_weak_comparison() {
    for tag in ["\"a\"", "W/\"a\""] {
        for asked in [
            "\"a\"",
            "W/\"a\"",
            "\"x\", \"a\"",
            "\"x,\", W/\"a\" , \"y\"",
            "*",
            "junk, \"a\"",
        ] {
            let found = condition(&[("etag", tag)], &[("if-none-match", asked)]);
            assert_eq!(found, Condition::NotModified, "{tag} {asked}");
        }
        for asked in ["\"b\"", "a", "\"a", "", "\"A\""] {
            let found = condition(&[("etag", tag)], &[("if-none-match", asked)]);
            assert_eq!(found, Condition::Full, "{tag} {asked}");
        }
    }
    let lines = [("if-none-match", "\"x\""), ("if-none-match", "\"a\"")];
    assert_eq!(
        condition(&[("etag", "\"a\"")], &lines),
        Condition::NotModified
    );
}

#[test]
fn if_none_match_goes_before_if_modified_since() {
    let (old, new) = (date(-5_000), date(-10_000));
    let stored = [("etag", "\"a\""), ("last-modified", &*old)];
    let differs = [("if-none-match", "\"b\""), ("if-modified-since", &*old)];
    assert_eq!(condition(&stored, &differs), Condition::Full);
    let is_same = [("if-none-match", "\"a\""), ("if-modified-since", &*new)];
    assert_eq!(condition(&stored, &is_same), Condition::NotModified);
}

#[test]
fn if_modified_since_compares_with_last_modified_or_date() {
    let [before, at, after] = [-3_001, -3_000, -2_999].map(date);
    let stored = [("last-modified", &*at)];
    for (since, expected) in [
        (&*at, Condition::NotModified),
        (&*after, Condition::NotModified),
        (&*before, Condition::Full),
        ("yesterday", Condition::Full),
    ] {
        assert_eq!(
            condition(&stored, &[("if-modified-since", since)]),
            expected,
            "{since}"
        );
    }
    let now = date(0);
    assert_eq!(
        condition(&[], &[("if-modified-since", &now)]),
        Condition::NotModified
    );
    assert_eq!(
        condition(&[], &[("if-modified-since", &at)]),
        Condition::Full
    );
    let twice = [
        ("if-modified-since", &*after),
        ("if-modified-since", &*after),
    ];
    assert_eq!(condition(&stored, &twice), Condition::Full);
}

#[test]
fn conditions_mean_nothing_where_the_answer_is_no_success() {
    let response = headers(&[("etag", "\"a\"")]);
    let stored = Case {
        status: 404,
        response,
        ..Case::default()
    }
    .store()
    .unwrap();
    let request = headers(&[("if-none-match", "*")]);
    assert_eq!(
        evaluate(&Method::GET, &request, &stored, CAME),
        Condition::Full
    );
}

#[test]
fn a_304_brings_what_renews_the_clients_copy() {
    let stored = stored_of(&[
        ("cache-control", "max-age=60"),
        ("etag", "\"a\""),
        ("vary", "x"),
        ("content-location", "/a"),
        ("content-length", "5"),
        ("content-type", "text/plain"),
        ("content-encoding", "gzip"),
    ])
    .unwrap();
    let headers = not_modified_headers(&stored);
    let mut names: Vec<&str> = headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["cache-control", "content-location", "date", "etag", "vary"]
    );
}
