//! Which stored responses answer which requests.

use super::*;
use crate::cache::{Bypass, Failure, Fallback, Lookup, RequestCookie, Reuse, on_miss, reuse};

#[test]
fn only_parts_that_may_not_be_stored_are_asked_for_alone() {
    for (line, is_unkept_part) in [
        ("no-store", true),
        ("no-cache", false),
        ("max-age=0", false),
    ] {
        let part = lookup(&[("range", "bytes=0-1"), ("cache-control", line)]);
        assert_eq!(part.is_unkept_part(), is_unkept_part, "{line}");
        assert!(
            !lookup(&[("cache-control", line)]).is_unkept_part(),
            "{line}"
        );
    }
    assert!(!lookup(&[("range", "bytes=0-1")]).is_unkept_part());
}

fn lookup(lines: &[(&'static str, &str)]) -> Lookup {
    Lookup::of(&Method::GET, &headers(lines), &Policy::default()).unwrap()
}

fn answer(stored: &Stored, cache_control: &str, now_s: u64) -> Reuse {
    reuse(
        &lookup(&[("cache-control", cache_control)]),
        stored,
        seconds(now_s),
    )
}

fn plain(stored: &Stored, now: UnixMs) -> Reuse {
    reuse(&Lookup::default(), stored, now)
}

fn is_asked(reuse: Reuse) -> bool {
    matches!(reuse, Reuse::Revalidate(_))
}

#[test]
fn requests_that_are_none_of_the_caches_business_pass_by() {
    let of = |method: &str, lines: &[(&'static str, &str)], policy: &Policy| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Lookup::of(&method, &headers(lines), policy).err()
    };
    let policy = Policy::default();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "M-SEARCH", "get"] {
        assert_eq!(of(method, &[], &policy), Some(Bypass::Method), "{method}");
    }
    assert_eq!(of("HEAD", &[], &policy), None);
    assert_eq!(
        of("GET", &[("content-length", "1")], &policy),
        Some(Bypass::Content)
    );
    assert_eq!(of("GET", &[("content-length", "0")], &policy), None);
    assert_eq!(
        of("GET", &[("transfer-encoding", "chunked")], &policy),
        Some(Bypass::Content)
    );
    for name in ["if-match", "if-unmodified-since"] {
        assert_eq!(
            of("GET", &[(name, "\"a\"")], &policy),
            Some(Bypass::Precondition)
        );
    }
    assert_eq!(of("GET", &[("cookie", "a=b")], &policy), None);
    let policy = Policy {
        request_cookie: RequestCookie::Pass,
        ..policy
    };
    assert_eq!(
        of("GET", &[("cookie", "a=b")], &policy),
        Some(Bypass::Cookie)
    );
}

#[test]
fn pragma_counts_only_without_cache_control() {
    let no_cache = |lines: &[(&'static str, &str)]| {
        lookup(lines)
            .directives
            .is_some_and(|directives| directives.no_cache)
    };
    assert!(no_cache(&[("pragma", "No-Cache")]));
    assert!(!no_cache(&[("pragma", "no-cache"), ("cache-control", "x")]));
    assert!(!no_cache(&[("pragma", "x")]));
}

#[test]
fn requests_that_take_no_copy_or_let_none_be_kept_are_apart_from_others_and_each_other() {
    let apart = |line: &str| {
        lookup(&[("cache-control", line)])
            .directives
            .and_then(|d| d.apart())
    };
    for line in [
        "min-fresh=5",
        "max-stale",
        "stale-if-error=9",
        "only-if-cached",
    ] {
        assert_eq!(apart(line), None, "{line}");
    }
    let lines = [
        "no-cache",
        "no-store",
        "no-store, no-cache",
        "max-age=0",
        "max-age=9",
    ];
    let all: std::collections::BTreeSet<_> = lines.iter().map(|line| apart(line)).collect();
    assert_eq!(all.len(), lines.len());
    assert!(!all.contains(&None));
    assert_eq!(apart("no-cache, min-fresh=5"), apart("No-Cache"));
}

#[test]
fn a_response_is_fresh_until_its_end_and_not_at_it() {
    let stored = with_cache_control("max-age=60");
    let end = stored.fresh_until;
    assert_eq!(end, seconds(60));
    assert_eq!(plain(&stored, UnixMs(end.0 - 1)), Reuse::Fresh);
    assert!(is_asked(plain(&stored, end)));
    assert_eq!(plain(&stored, stored.keep_until), Reuse::MustFetch);
    assert_eq!(
        plain(&stored, UnixMs(0)),
        Reuse::Fresh,
        "a clock that was set back"
    );
}

#[test]
fn while_it_is_validated_a_stale_response_answers_only_within_its_window() {
    let stored = with_cache_control("max-age=60, stale-while-revalidate=10");
    assert_eq!(plain(&stored, seconds(60)), Reuse::StaleWhileRevalidate);
    assert_eq!(
        plain(&stored, UnixMs(seconds(70).0 - 1)),
        Reuse::StaleWhileRevalidate
    );
    assert!(is_asked(plain(&stored, seconds(70))));
    for wish in ["no-cache", "max-age=1000", "min-fresh=0", "max-stale=4"] {
        assert!(is_asked(answer(&stored, wish, 65)), "{wish}");
    }
    assert_eq!(answer(&stored, "x", 65), Reuse::StaleWhileRevalidate);
}

#[test]
fn what_must_be_validated_is_never_served_stale_even_within_a_window() {
    for never in [
        "must-revalidate",
        "proxy-revalidate",
        "s-maxage=60",
        "no-cache",
    ] {
        let said = format!("max-age=60, stale-while-revalidate=99, stale-if-error=99, {never}");
        let stored = with_cache_control(&said);
        for wish in ["x", "max-stale", "max-stale=1000", "stale-if-error=1000"] {
            let Reuse::Revalidate(fallback) = answer(&stored, wish, 65) else {
                panic!("{never} {wish}");
            };
            assert!(fallback.conditional);
            for failure in [
                Failure::Disconnected,
                Failure::Status(StatusCode::BAD_GATEWAY),
            ] {
                assert!(!fallback.allows(failure, seconds(65)), "{never} {wish}");
            }
        }
    }
    let policy = Policy {
        stale_despite_s_maxage: true,
        ..Policy::default()
    };
    for (said, expected) in [
        (
            "s-maxage=60, stale-while-revalidate=99",
            Reuse::StaleWhileRevalidate,
        ),
        ("s-maxage=60", Reuse::MustFetch),
        (
            "s-maxage=60, stale-while-revalidate=99, must-revalidate",
            Reuse::MustFetch,
        ),
    ] {
        let response = headers(&[("cache-control", said)]);
        let stored = store(
            &Case {
                response,
                ..Case::default()
            }
            .exchange(),
            &policy,
        )
        .unwrap();
        assert_eq!(plain(&stored, seconds(65)), expected, "{said}");
    }
}

#[test]
fn no_cache_is_validated_at_each_use() {
    let stored = with_cache_control("max-age=60, no-cache");
    for now in [UnixMs(0), CAME, seconds(1)] {
        assert!(is_asked(plain(&stored, now)));
    }
    assert_eq!(
        answer(&stored, "only-if-cached, max-stale", 1),
        Reuse::GatewayTimeout
    );
}

#[test]
fn clients_may_ask_for_fresher_responses() {
    let stored = with_cache_control("max-age=60");
    assert_eq!(answer(&stored, "max-age=30", 30), Reuse::Fresh);
    assert_eq!(answer(&stored, "min-fresh=30", 30), Reuse::Fresh);
    for wish in [
        "max-age=29",
        "min-fresh=31",
        "no-cache",
        "max-age=0",
        "No-Cache",
        "max-age=x",
    ] {
        assert!(is_asked(answer(&stored, wish, 30)), "{wish}");
    }
    let deaf = Policy {
        client_directives: false,
        ..Policy::default()
    };
    let lookup = Lookup::of(
        &Method::GET,
        &headers(&[("cache-control", "no-cache")]),
        &deaf,
    );
    assert_eq!(reuse(&lookup.unwrap(), &stored, seconds(30)), Reuse::Fresh);
}

#[test]
fn clients_may_take_stale_responses() {
    let stored = with_cache_control("max-age=60");
    for wish in ["max-stale", "max-stale=5", "max-age=100, max-stale=5"] {
        assert_eq!(answer(&stored, wish, 65), Reuse::Stale, "{wish}");
    }
    for wish in [
        "max-stale=4",
        "max-age=64, max-stale=5",
        "max-stale=5, no-cache",
        "max-stale=5, min-fresh=1",
    ] {
        assert!(is_asked(answer(&stored, wish, 65)), "{wish}");
    }
}

#[test]
fn an_immutable_response_is_not_validated_while_fresh() {
    let stored = with_cache_control("max-age=60, immutable");
    for wish in ["no-cache", "max-age=0", "min-fresh=1000"] {
        assert_eq!(answer(&stored, wish, 59), Reuse::Fresh, "{wish}");
        assert!(is_asked(answer(&stored, wish, 60)), "{wish}");
    }
}

#[test]
fn only_if_cached_never_asks_the_origin() {
    let stored = with_cache_control("max-age=60, stale-while-revalidate=10");
    assert_eq!(answer(&stored, "only-if-cached", 30), Reuse::Fresh);
    assert_eq!(
        answer(&stored, "only-if-cached", 65),
        Reuse::StaleWhileRevalidate
    );
    assert_eq!(answer(&stored, "only-if-cached", 75), Reuse::GatewayTimeout);
    assert_eq!(
        answer(&stored, "only-if-cached, no-cache", 30),
        Reuse::GatewayTimeout
    );
    assert_eq!(
        on_miss(&lookup(&[("cache-control", "only-if-cached")])),
        Reuse::GatewayTimeout
    );
    assert_eq!(on_miss(&lookup(&[])), Reuse::MustFetch);
}

#[test]
fn errors_are_hidden_only_with_leave() {
    let fallback = |said: &str, wish: &str| match answer(&with_cache_control(said), wish, 65) {
        Reuse::Revalidate(fallback) => fallback,
        other => panic!("{said} {wish} {other:?}"),
    };
    let allows = |fallback: Fallback, status, now_s| {
        let status = StatusCode::from_u16(status).unwrap();
        fallback.allows(Failure::Status(status), seconds(now_s))
    };
    let plain = fallback("max-age=60", "x");
    assert!(!allows(plain, 503, 65));
    assert!(plain.allows(Failure::Disconnected, seconds(65)));
    assert!(!plain.allows(Failure::Disconnected, seconds(120)));
    for fallback in [
        fallback("max-age=60, stale-if-error=10", "x"),
        fallback("max-age=60", "stale-if-error=10"),
    ] {
        for status in [500, 502, 503, 504] {
            assert!(allows(fallback, status, 69), "{status}");
            assert!(!allows(fallback, status, 70), "{status}");
        }
        for status in [200, 404, 501] {
            assert!(!allows(fallback, status, 69), "{status}");
        }
    }
}

#[test]
fn without_validator_the_origin_is_asked_without_condition() {
    let stored = stored_of(&[("cache-control", "max-age=60")]).unwrap();
    let Reuse::Revalidate(fallback) = plain(&stored, seconds(65)) else {
        panic!("may answer if the origin is away");
    };
    assert!(!fallback.conditional);
    assert_eq!(plain(&stored, seconds(120)), Reuse::MustFetch);
}
