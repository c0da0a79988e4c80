//! What the origin is asked about stored responses, what becomes of its answers, and how it is told to people.

use super::*;
use crate::cache::{NotSelected, Renewed, condition, explain, freshen, strip_unkeyed, uncondition};

fn renew(stored: &Stored, lines: &[(&'static str, &str)]) -> Result<Renewed, NotSelected> {
    let case = Case {
        status: 304,
        response: headers(lines),
        came: seconds(100),
        ..Case::default()
    };
    freshen(stored, &case.exchange(), &Policy::default())
}

#[test]
fn the_origin_is_asked_with_the_validators_of_the_stored_response_alone() {
    let modified = date(-100);
    let stored = stored_of(&[
        ("cache-control", "max-age=60"),
        ("etag", "W/\"a\""),
        ("last-modified", &modified),
    ])
    .unwrap();
    let mut request = headers(&[
        ("if-none-match", "\"other\""),
        ("if-match", "\"x\""),
        ("if-range", "\"x\""),
        ("if-unmodified-since", &modified),
        ("range", "bytes=0-1"),
        ("accept", "a"),
    ]);
    condition(&stored, &mut request);
    let expected = [
        ("if-none-match", "W/\"a\""),
        ("if-modified-since", &*modified),
        ("accept", "a"),
    ];
    assert_eq!(request, headers(&expected));
    uncondition(&mut request);
    assert_eq!(request, headers(&[("accept", "a")]));
    let unreadable = stored_of(&[
        ("cache-control", "max-age=60"),
        ("etag", "a"),
        ("last-modified", "b"),
    ]);
    condition(&unreadable.unwrap(), &mut request);
    assert_eq!(request, headers(&[("accept", "a")]));
}

#[test]
fn a_304_renews_the_fields_except_those_about_the_body() {
    let stored = stored_of(&[
        ("cache-control", "max-age=2"),
        ("etag", "\"a\""),
        ("x-kept", "1"),
        ("x-new", "1"),
        ("x-new", "2"),
        ("content-length", "36"),
        ("content-encoding", "gzip"),
        ("content-type", "text/plain"),
        ("content-range", "x"),
    ])
    .unwrap();
    let renewed = renew(
        &stored,
        &[
            ("etag", "\"a\""),
            ("x-new", "3"),
            ("content-length", "10"),
            ("content-encoding", "br"),
            ("content-range", "y"),
            ("content-type", "text/html"),
            ("transfer-encoding", "chunked"),
            ("connection", "x-hop, x-kept"),
            ("x-hop", "1"),
            ("set-cookie", "a=b"),
            ("cache-control", "max-age=60"),
            ("age", "5"),
        ],
    )
    .unwrap();
    let date = date(100);
    let expected = [
        ("cache-control", "max-age=60"),
        ("etag", "\"a\""),
        ("x-kept", "1"),
        ("x-new", "3"),
        ("content-length", "36"),
        ("content-encoding", "gzip"),
        ("content-type", "text/html"),
        ("content-range", "x"),
        ("date", &*date),
    ];
    assert_eq!(renewed.stored.headers, headers(&expected));
    assert_eq!(renewed.may_keep, Ok(()));
    assert_eq!(renewed.stored.fresh_until, seconds(155));
    assert_eq!(renewed.stored.requested_at, seconds(100));
}

#[test]
fn a_304_without_dates_counts_from_when_it_came() {
    let (then, end) = (date(0), date(60));
    let stored = stored_of(&[
        ("etag", "\"a\""),
        ("date", &then),
        ("cache-control", "max-age=60"),
    ])
    .unwrap();
    let renewed = renew(&stored, &[]).unwrap().stored;
    assert_eq!(renewed.fresh_until, seconds(160));
    assert_eq!(renewed.age_s(seconds(101)), 1);
    let stored = stored_of(&[("etag", "\"a\""), ("date", &then), ("expires", &end)]).unwrap();
    assert_eq!(
        renew(&stored, &[]).unwrap().stored.fresh_until,
        seconds(100)
    );
}

#[test]
fn a_304_about_another_response_renews_nothing() {
    let [modified, other] = [-100, -50].map(date);
    let both = [
        ("cache-control", "max-age=2"),
        ("etag", "\"a\""),
        ("last-modified", &*modified),
    ];
    let stored = stored_of(&both).unwrap();
    for lines in [
        &[("etag", "\"a\"")][..],
        &[("etag", "W/\"a\"")],
        &[("etag", "\"a\""), ("last-modified", &other)],
        &[("last-modified", &modified)],
        &[],
    ] {
        assert!(renew(&stored, lines).is_ok(), "{lines:?}");
    }
    for lines in [
        &[("etag", "\"b\"")][..],
        &[("etag", "\"b\""), ("last-modified", &other)],
        &[("last-modified", &other)],
    ] {
        assert_eq!(renew(&stored, lines).err(), Some(NotSelected), "{lines:?}");
    }
    let dated = stored_of(&[("cache-control", "max-age=2"), ("last-modified", &modified)]).unwrap();
    assert_eq!(renew(&dated, &[("etag", "\"b\"")]).err(), Some(NotSelected));
    assert!(renew(&dated, &[("etag", "\"b\""), ("last-modified", &modified)]).is_ok());
}

#[test]
fn a_304_may_end_that_a_response_is_kept() {
    let stored = with_cache_control("max-age=2");
    let renewed = renew(&stored, &[("cache-control", "no-store"), ("x-a", "1")]).unwrap();
    assert_eq!(renewed.may_keep, Err(NotStored::NoStore));
    assert!(renewed.drops_older());
    assert_eq!(renewed.stored.headers["x-a"], "1");
    let request = headers(&[("authorization", "Bearer x")]);
    let case = Case {
        status: 304,
        request,
        ..Case::default()
    };
    let renewed = freshen(&stored, &case.exchange(), &Policy::default()).unwrap();
    assert_eq!(renewed.may_keep, Err(NotStored::Authorization));
    assert!(!renewed.drops_older());
}

#[test]
fn a_client_with_cookies_renews_what_was_stored_without() {
    let request = headers(&[("cookie", "a=b")]);
    let case = Case {
        status: 304,
        request,
        came: seconds(100),
        ..Case::default()
    };
    let stored = with_cache_control("max-age=2");
    let renewed = freshen(&stored, &case.exchange(), &Policy::default()).unwrap();
    assert_eq!(renewed.may_keep, Ok(()));
    assert_eq!(renewed.stored.fresh_until, seconds(102));
}

#[test]
fn what_changes_answers_but_not_keys_is_not_sent_on() {
    let kept = [("accept", "a"), ("x-forwarded-for", "192.0.2.1")];
    let mut request = headers(&kept);
    for name in [
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "x-host",
        "x-forwarded-prefix",
    ] {
        request.insert(name, HeaderValue::from_static("x"));
    }
    strip_unkeyed(&mut request);
    assert_eq!(request, headers(&kept));
}

#[test]
fn people_are_told_what_decided_and_what_was_passed_over() {
    let modified = date(-100);
    let response = headers(&[
        ("cdn-cache-control", "max-age=60"),
        ("cache-control", "no-store"),
        ("last-modified", &modified),
        ("vary", "x"),
    ]);
    let mut case = Case {
        request: headers(&[("x", "1")]),
        response,
        ..Case::default()
    };
    let told = |case: &Case| {
        let steps = explain(&case.exchange(), &Policy::default(), seconds(10));
        let lines = steps
            .iter()
            .map(|step| format!("{} | {} | {}", step.what, step.found, step.effect));
        lines.collect::<Vec<_>>().join("\n")
    };
    let text = told(&case);
    for line in [
        "cdn-cache-control | max-age=60 | decides: max-age=60",
        "cache-control | no-store | not looked at: cdn-cache-control decides",
        "variant | x:1;  | requests with these values take it",
        "lifetime | the targeted field | fresh for 60 s from when it came",
        "verdict | stored | fresh for another 50 s",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    case.response.insert(
        "cdn-cache-control",
        HeaderValue::from_bytes(b"max-age=\xff").unwrap(),
    );
    let text = told(&case);
    assert!(text.contains("ignored: empty or no dictionary"), "{text}");
    assert!(text.ends_with("verdict | not stored | no-store"), "{text}");
}

#[test]
fn what_is_stale_is_told_so_from_its_first_moment_on() {
    let case = Case {
        response: headers(&[("cache-control", "max-age=60")]),
        ..Case::default()
    };
    let stored = store(&case.exchange(), &Policy::default()).unwrap();
    for (age_ms, left, verdict) in [
        (59_999, 0, "fresh for another 0 s"),
        (60_000, -1, "stale for 1 s"),
        (60_999, -1, "stale for 1 s"),
        (61_000, -2, "stale for 2 s"),
    ] {
        let now = UnixMs(CAME.0 + age_ms);
        assert_eq!(stored.fresh_s(now), left, "{age_ms}");
        let steps = explain(&case.exchange(), &Policy::default(), now);
        assert_eq!(steps.last().unwrap().effect, verdict, "{age_ms}");
    }
}
