//! What is stored, and what not.

use super::*;
use crate::cache::{RequestCookie, SetCookie};

fn refusal(
    request: &[(&'static str, &str)],
    response: &[(&'static str, &str)],
) -> Option<NotStored> {
    let (request, response) = (headers(request), headers(response));
    Case {
        request,
        response,
        ..Case::default()
    }
    .store()
    .err()
}

#[test]
fn only_whole_answers_to_get_are_stored() {
    let of = |method: &str, status| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let response = headers(&[("cache-control", "max-age=60")]);
        Case {
            method,
            status,
            response,
            ..Case::default()
        }
        .store()
        .err()
    };
    assert_eq!(of("GET", 200), None);
    assert_eq!(of("HEAD", 200), Some(NotStored::Head));
    assert_eq!(of("POST", 200), Some(NotStored::Method));
    assert_eq!(of("GET", 206), Some(NotStored::Partial));
    for status in [100, 103, 304, 416] {
        assert_eq!(of("GET", status), Some(NotStored::Status), "{status}");
    }
}

#[test]
fn no_store_and_private_are_obeyed_however_written() {
    for (value, reason) in [
        ("No-Store", NotStored::NoStore),
        ("max-age=60, NO-STORE, public", NotStored::NoStore),
        ("Private, max-age=60", NotStored::Private),
        ("s-maxage=60, public, private", NotStored::Private),
    ] {
        assert_eq!(
            refusal(&[], &[("cache-control", value)]),
            Some(reason),
            "{value}"
        );
    }
    let said = [
        ("cdn-cache-control", "private"),
        ("cache-control", "max-age=60"),
    ];
    assert_eq!(refusal(&[], &said), Some(NotStored::Private));
}

#[test]
fn a_rule_of_the_route_makes_nothing_storable_that_forbids_it() {
    let policy = Policy {
        ttl: Some(std::time::Duration::from_secs(60)),
        ..Policy::default()
    };
    for value in ["no-store", "private", "max-age=60, private"] {
        let response = headers(&[("cache-control", value)]);
        let case = Case {
            response,
            ..Case::default()
        };
        assert!(store(&case.exchange(), &policy).is_err(), "{value}");
    }
    assert!(store(&Case::default().exchange(), &policy).is_ok());
}

#[test]
fn must_understand_lifts_no_store_for_known_statuses_only() {
    let of = |status| {
        let response = headers(&[("cache-control", "max-age=60, no-store, must-understand")]);
        Case {
            status,
            response,
            ..Case::default()
        }
        .store()
        .err()
    };
    assert_eq!(of(200), None);
    assert_eq!(of(599), Some(NotStored::NoStore));
}

#[test]
fn answers_to_authorization_are_shared_only_with_leave() {
    let request = [("authorization", "Bearer x")];
    let of = |value| refusal(&request, &[("cache-control", value)]);
    for value in [
        "max-age=60",
        "max-age=60, proxy-revalidate",
        "max-age=60, immutable",
    ] {
        assert_eq!(of(value), Some(NotStored::Authorization), "{value}");
    }
    for value in [
        "max-age=60, public",
        "s-maxage=60",
        "max-age=60, must-revalidate",
    ] {
        assert_eq!(of(value), None, "{value}");
    }
}

#[test]
fn cookies_of_responses_are_never_stored() {
    let response = [
        ("cache-control", "max-age=60"),
        ("set-cookie", "a=b"),
        ("set-cookie", "c=d"),
    ];
    assert_eq!(refusal(&[], &response), Some(NotStored::SetCookie));
    let policy = Policy {
        set_cookie: SetCookie::Strip,
        ..Policy::default()
    };
    let case = Case {
        response: headers(&response),
        ..Case::default()
    };
    let stored = store(&case.exchange(), &policy).unwrap();
    assert!(!stored.headers.contains_key("set-cookie"));
    let named = [
        ("cache-control", "max-age=60, no-cache=\"Set-Cookie\""),
        ("set-cookie", "a=b"),
    ];
    assert!(
        !stored_of(&named)
            .unwrap()
            .headers
            .contains_key("set-cookie")
    );
}

#[test]
fn answers_to_cookies_are_stored_only_if_they_are_for_everybody() {
    let of = |request_cookie, value| {
        let policy = Policy {
            request_cookie,
            ..Policy::default()
        };
        let (request, response) = (
            headers(&[("cookie", "a=b")]),
            headers(&[("cache-control", value)]),
        );
        let case = Case {
            request,
            response,
            ..Case::default()
        };
        store(&case.exchange(), &policy).err()
    };
    assert_eq!(
        of(RequestCookie::StoreIfPublic, "max-age=60"),
        Some(NotStored::Cookie)
    );
    assert_eq!(of(RequestCookie::StoreIfPublic, "max-age=60, public"), None);
    assert_eq!(of(RequestCookie::StoreIfPublic, "s-maxage=60"), None);
    assert_eq!(of(RequestCookie::Ignore, "max-age=60"), None);
    assert_eq!(
        of(RequestCookie::Pass, "s-maxage=60"),
        Some(NotStored::Cookie)
    );
    let targeted = [("cdn-cache-control", "max-age=60")];
    assert_eq!(refusal(&[("cookie", "a=b")], &targeted), None);
}

#[test]
fn a_request_may_forbid_that_its_answer_is_stored() {
    let request = [("cache-control", "No-Store")];
    let response = [("cache-control", "max-age=60")];
    assert_eq!(
        refusal(&request, &response),
        Some(NotStored::RequestNoStore)
    );
}

#[test]
fn what_could_answer_nobody_is_not_stored() {
    assert_eq!(refusal(&[], &[]), Some(NotStored::NoLifetime));
    assert_eq!(
        refusal(&[], &[("etag", "\"a\"")]),
        Some(NotStored::NoLifetime)
    );
    for value in ["max-age=0", "no-cache", "max-age=60, no-cache"] {
        assert_eq!(
            refusal(&[], &[("cache-control", value)]),
            Some(NotStored::NeverUsable),
            "{value}"
        );
        assert!(
            stored_of(&[("cache-control", value), ("etag", "\"a\"")]).is_ok(),
            "{value}"
        );
    }
    assert!(stored_of(&[("cache-control", "max-age=0, stale-if-error=60")]).is_ok());
    let etag_of_nothing = [("cache-control", "no-cache"), ("etag", "unquoted")];
    assert_eq!(refusal(&[], &etag_of_nothing), Some(NotStored::NeverUsable));
}

#[test]
fn errors_are_stored_only_if_the_origin_says_so_and_never_for_long() {
    let of = |status, response: &[(&'static str, &str)]| {
        Case {
            status,
            response: headers(response),
            ..Case::default()
        }
        .store()
    };
    let modified = date(-86_400);
    for status in [403, 429, 500, 501, 502, 503, 504] {
        let implied = of(status, &[("last-modified", &modified)]);
        assert_eq!(implied.err(), Some(NotStored::NoLifetime), "{status}");
        let explicit = of(status, &[("cache-control", "max-age=100000")]).unwrap();
        assert_eq!(explicit.fresh_until, seconds(10), "{status}");
        assert_eq!(
            explicit.disconnected_until, explicit.fresh_until,
            "{status}"
        );
    }
    let policy = Policy {
        error_ttl_max: std::time::Duration::ZERO,
        ..Policy::default()
    };
    let response = headers(&[("cache-control", "max-age=100000")]);
    let case = Case {
        status: 403,
        response,
        ..Case::default()
    };
    assert_eq!(
        store(&case.exchange(), &policy).err(),
        Some(NotStored::NeverUsable)
    );
}

#[test]
fn what_one_request_is_refused_for_is_kept_from_nobody_else() {
    let of = |status, policy: &Policy| {
        let response = headers(&[("cache-control", "max-age=100000"), ("etag", "\"a\"")]);
        let case = Case {
            status,
            response,
            ..Case::default()
        };
        store(&case.exchange(), policy).map(|stored| stored.fresh_until)
    };
    let minute = Policy {
        bad_request_ttl_max: std::time::Duration::from_secs(60),
        ..Policy::default()
    };
    for status in [400, 413, 414, 431] {
        let kept = of(status, &Policy::default());
        assert!(
            kept.is_err() || kept == Ok(CAME),
            "{status} is fresh until {kept:?}"
        );
        assert_eq!(of(status, &minute), Ok(seconds(60)), "{status}");
    }
    assert_eq!(of(404, &Policy::default()), Ok(seconds(100_000)));
}

#[test]
fn a_body_that_is_too_long_is_known_by_its_length() {
    let of = |length: u64| {
        refusal(
            &[],
            &[
                ("cache-control", "max-age=60"),
                ("content-length", &length.to_string()),
            ],
        )
    };
    let bytes_max = Policy::default().body_bytes_max;
    assert_eq!(of(bytes_max), None);
    assert_eq!(of(bytes_max + 1), Some(NotStored::TooLarge));
}
