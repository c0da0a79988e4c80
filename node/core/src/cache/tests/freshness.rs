//! How long responses are fresh.

use std::time::Duration;

use super::*;
use crate::cache::Source;

fn life(policy: &Policy, status: u16, response: &[(&'static str, &str)]) -> (Source, u64) {
    let case = Case {
        status,
        response: headers(response),
        ..Case::default()
    };
    let stored = store(&case.exchange(), policy).unwrap();
    (stored.source, stored.fresh_until.since(CAME).as_secs())
}

#[test]
fn the_strongest_source_decides() {
    let policy = Policy::default();
    let (expires, modified, now) = (date(40), date(-1_000), date(0));
    let lines = [
        ("cdn-cache-control", "max-age=10"),
        ("cache-control", "s-maxage=20"),
        ("cache-control", "max-age=30"),
        ("expires", &expires),
        ("last-modified", &modified),
        ("date", &now),
    ];
    for (skipped, expected) in [
        (0, (Source::Targeted, 10)),
        (1, (Source::SMaxAge, 20)),
        (2, (Source::MaxAge, 30)),
        (3, (Source::Expires, 40)),
        (4, (Source::Heuristic, 100)),
    ] {
        assert_eq!(life(&policy, 200, &lines[skipped..]), expected);
    }
    let by_rule = Policy {
        ttl: Some(Duration::from_secs(5)),
        ..Policy::default()
    };
    assert_eq!(life(&by_rule, 200, &lines), (Source::Rule, 5));
    assert_eq!(life(&by_rule, 302, &lines), (Source::Targeted, 10));
    assert_eq!(life(&by_rule, 200, &[("age", "60")]), (Source::Rule, 5));
}

#[test]
fn expires_counts_from_date_and_is_past_if_unreadable() {
    let of = |lines: &[(&'static str, &str)]| {
        let etag = [("etag", "\"a\"")];
        life(&Policy::default(), 200, &[lines, &etag].concat())
    };
    let [past, now, soon, later] = [-10, 0, 300, 400].map(date);
    assert_eq!(
        of(&[("expires", &soon), ("date", &now)]),
        (Source::Expires, 300)
    );
    assert_eq!(
        of(&[("expires", &soon), ("date", &later)]),
        (Source::Expires, 0)
    );
    assert_eq!(
        of(&[("expires", &soon), ("date", "foo")]),
        (Source::Expires, 300)
    );
    // The clock of the origin is behind: the response is 10 s old and lives for 310 s.
    assert_eq!(
        of(&[("expires", &soon), ("date", &past)]),
        (Source::Expires, 300)
    );
    for lines in [
        [("expires", "0"), ("date", &*now)],
        [("expires", &*now), ("date", &*now)],
        [("expires", &*soon), ("expires", &*later)],
    ] {
        assert_eq!(of(&lines), (Source::Expires, 0));
    }
    assert_eq!(
        of(&[("expires", &soon), ("expires", &soon)]),
        (Source::Expires, 300)
    );
}

#[test]
fn the_age_that_a_response_brings_counts() {
    let of = |lines: &[(&'static str, &str)]| {
        let etag = [("etag", "\"a\""), ("cache-control", "max-age=3600")];
        life(&Policy::default(), 200, &[lines, &etag].concat()).1
    };
    let (behind, ahead) = (date(-1_000), date(1_000));
    assert_eq!(of(&[("age", "600")]), 3_000);
    assert_eq!(of(&[("age", "7200")]), 0);
    assert_eq!(of(&[("date", &behind)]), 2_600);
    assert_eq!(of(&[("date", &behind), ("age", "600")]), 2_600);
    assert_eq!(of(&[("date", &ahead), ("age", "600")]), 3_000);
    assert_eq!(of(&[("age", "abc")]), 3_600);
}

#[test]
fn the_time_that_the_request_took_counts() {
    let response = headers(&[("cache-control", "max-age=60")]);
    let case = Case {
        response,
        ..Case::default()
    };
    let exchange = Exchange {
        requested_at: UnixMs(CAME.0 - 5_000),
        ..case.exchange()
    };
    let stored = store(&exchange, &Policy::default()).unwrap();
    assert_eq!(stored.fresh_until, seconds(55));
    assert_eq!(stored.age_s(CAME), 5);
    assert_eq!(stored.fetch_ms(), 5_000);
}

#[test]
fn a_heuristic_lifetime_needs_last_modified_and_is_a_day_at_most() {
    let (long_ago, future) = (date(-10_000_000), date(100));
    let of = |status, lines: &[(&'static str, &str)]| {
        Case {
            status,
            response: headers(lines),
            ..Case::default()
        }
        .store()
        .ok()
        .map(|stored| {
            assert_eq!(stored.source, Source::Heuristic);
            stored.fresh_until.since(CAME).as_secs()
        })
    };
    let modified = ("last-modified", &*long_ago);
    assert_eq!(of(200, &[modified]), Some(86_400));
    assert_eq!(of(200, &[("last-modified", &future)]), None);
    assert_eq!(of(201, &[modified]), None);
    assert_eq!(
        of(201, &[modified, ("cache-control", "public")]),
        Some(86_400)
    );
    assert_eq!(of(200, &[modified, ("pragma", "no-cache")]), None);
    let policy = Policy {
        heuristic: false,
        ..Policy::default()
    };
    let case = Case {
        response: headers(&[modified]),
        ..Case::default()
    };
    assert_eq!(
        store(&case.exchange(), &policy).err(),
        Some(NotStored::NoLifetime)
    );
}

#[test]
fn not_found_is_remembered_for_moments_and_never_longer_than_found() {
    let modified = date(-1_000_000);
    let lines = [("last-modified", &*modified)];
    let policy = Policy::default();
    for status in [404, 410] {
        assert_eq!(life(&policy, status, &lines), (Source::Negative, 3));
        let explicit = [("cache-control", "max-age=60")];
        assert_eq!(life(&policy, status, &explicit), (Source::MaxAge, 60));
    }
    let short = Policy {
        ttl: Some(Duration::from_secs(1)),
        ..Policy::default()
    };
    assert_eq!(life(&short, 404, &lines), (Source::Negative, 1));
    let none = Policy {
        negative_ttl: Duration::ZERO,
        ..Policy::default()
    };
    let case = Case {
        status: 404,
        response: headers(&lines),
        ..Case::default()
    };
    assert_eq!(
        store(&case.exchange(), &none).err(),
        Some(NotStored::NoLifetime)
    );
}

#[test]
fn errors_are_shielded_only_if_enabled() {
    let shield = Policy {
        error_ttl: Duration::from_secs(1),
        ..Policy::default()
    };
    assert_eq!(life(&shield, 503, &[]), (Source::Negative, 1));
    let case = Case {
        status: 501,
        ..Case::default()
    };
    assert_eq!(
        store(&case.exchange(), &shield).err(),
        Some(NotStored::NoLifetime)
    );
}

#[test]
fn a_tier_caps_every_lifetime() {
    let policy = Policy {
        ttl: Some(Duration::from_secs(1_000)),
        ttl_max: Duration::from_secs(300),
        ..Policy::default()
    };
    assert_eq!(life(&policy, 200, &[]), (Source::Rule, 300));
    assert_eq!(
        life(&policy, 302, &[("cache-control", "max-age=99999999999")]),
        (Source::MaxAge, 300)
    );
    assert_eq!(
        life(&policy, 404, &[("cache-control", "max-age=1000")]),
        (Source::MaxAge, 300)
    );
}

#[test]
fn what_is_stale_is_good_for_as_long_as_origin_or_policy_say() {
    let policy = Policy {
        stale_while_revalidate: Duration::from_secs(10),
        stale_if_error: Duration::from_secs(20),
        keep: Duration::from_secs(100),
        ..Policy::default()
    };
    let windows = |value: &str, etag: &str| {
        let response = headers(&[("cache-control", value), ("etag", etag)]);
        let stored = store(
            &Case {
                response,
                ..Case::default()
            }
            .exchange(),
            &policy,
        )
        .unwrap();
        [
            stored.swr_until,
            stored.sie_until,
            stored.disconnected_until,
            stored.keep_until,
        ]
        .map(|until| until.since(stored.fresh_until).as_secs())
    };
    assert_eq!(windows("max-age=5", "\"a\""), [10, 20, 60, 100]);
    assert_eq!(windows("max-age=5", "none"), [10, 20, 60, 60]);
    let said = "max-age=5, stale-while-revalidate=200, stale-if-error=0";
    assert_eq!(windows(said, "\"a\""), [200, 0, 60, 200]);
    let said = "max-age=5, stale-if-error=500";
    assert_eq!(windows(said, "\"a\""), [10, 500, 500, 500]);
    for never in [
        "must-revalidate",
        "proxy-revalidate",
        "s-maxage=5",
        "no-cache",
    ] {
        let said = format!("max-age=5, stale-while-revalidate=9, stale-if-error=9, {never}");
        assert_eq!(windows(&said, "\"a\""), [0, 0, 0, 100], "{never}");
    }
}

#[test]
fn the_remaining_lifetime_turns_negative() {
    let stored = with_cache_control("max-age=60");
    assert_eq!(
        [0, 59, 60, 61].map(|now_s| stored.ttl_s(seconds(now_s))),
        [60, 1, 0, -1]
    );
    assert!(stored.ttl_s(UnixMs::NEVER) < -1_000_000);
}

#[test]
fn what_is_known_to_be_stale_keeps_its_other_windows_and_gets_none_that_it_had_not() {
    let ends = |value: &str, at: u64| {
        let mut stored = with_cache_control(value);
        stored.stale_from(seconds(at));
        let (fresh, swr) = (stored.fresh_until, stored.swr_until);
        [fresh, swr, stored.sie_until].map(|until| (until.0 - CAME.0) / 1_000)
    };
    assert_eq!(ends("max-age=60", 10), [10, 10, 10]);
    let windows = "max-age=60, stale-while-revalidate=30, stale-if-error=40";
    assert_eq!(ends(windows, 10), [10, 90, 100]);
    assert_eq!(ends(windows, 70), [60, 90, 100]);
}

#[test]
fn what_a_response_takes_is_counted() {
    let line = |value: &'static str| [("cache-control", "max-age=60"), ("etag", value)];
    let [short, long] =
        ["\"a\"", "\"abcde\""].map(|value| stored_of(&line(value)).unwrap().bytes());
    assert_eq!(long - short, 4);
    assert!(short > 200);
}
