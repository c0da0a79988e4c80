//! Which fields are stored, and what they are compared with.

use std::ops::Range;

use bytes::Bytes;

use super::*;
use crate::cache::{HeadUpdate, SetCookie, head_update, left_out, may_end_by_head};

#[test]
fn fields_of_one_connection_or_client_are_not_stored() {
    let stored = stored_of(&[
        ("cache-control", "max-age=60, private=\"x-user\""),
        ("connection", "x-a, close"),
        ("x-a", "1"),
        ("x-user", "1"),
        ("x-b", "2"),
        ("x-b", "3"),
        ("age", "5"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("trailer", "x-c"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("proxy-authenticate", "Basic"),
        ("proxy-authentication-info", "x"),
    ])
    .unwrap();
    let mut names: Vec<&str> = stored.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["cache-control", "date", "x-b"]);
    assert_eq!(stored.headers.get_all("x-b").iter().count(), 2);
    assert_eq!(stored.headers["date"], date(0).as_str());
}

#[test]
fn fields_that_are_not_stored_are_for_the_client_whose_request_fetched_them() {
    let response = headers(&[
        (
            "cache-control",
            "max-age=60, private=\"x-user, x-a, age\", no-cache=\"x-count, content-length\"",
        ),
        ("connection", "x-a"),
        ("x-a", "of the connection"),
        ("x-user", "1"),
        ("x-count", "2"),
        ("x-count", "3"),
        ("x-b", "of all"),
        ("age", "5"),
        ("content-length", "7"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ]);
    let case = Case {
        response,
        ..Case::default()
    };
    let fields = headers(&[("x-user", "1"), ("x-count", "2"), ("x-count", "3")]);
    assert_eq!(left_out(&case.exchange(), &Policy::default()), fields);
    let strips = Policy {
        set_cookie: SetCookie::Strip,
        ..Policy::default()
    };
    let mut with_cookies = fields;
    with_cookies.append("set-cookie", HeaderValue::from_static("a=1"));
    with_cookies.append("set-cookie", HeaderValue::from_static("b=2"));
    assert_eq!(left_out(&case.exchange(), &strips), with_cookies);
    let stored = store(&case.exchange(), &strips).unwrap();
    for name in ["x-user", "x-count", "set-cookie"] {
        assert!(!stored.headers.contains_key(name), "{name}");
    }
}

#[test]
fn a_path_that_promises_another_type_can_be_refused() {
    let policy = Policy {
        check_extension: true,
        ..Policy::default()
    };
    let of = |path, content_type: &str| {
        let response = headers(&[
            ("cache-control", "max-age=60"),
            ("content-type", content_type),
        ]);
        store(
            &Case {
                path,
                response,
                ..Case::default()
            }
            .exchange(),
            &policy,
        )
        .err()
    };
    for path in ["/account/x.css", "/account/x.CSS?y", "/me.png", "/me.js"] {
        assert_eq!(
            of(path, "text/html; charset=utf-8"),
            Some(NotStored::Extension),
            "{path}"
        );
    }
    for (path, content_type) in [
        ("/x.css", "text/css; charset=utf-8"),
        ("/x.js", "Application/JavaScript"),
        ("/x.png", "image/webp"),
        ("/x.woff2", "application/octet-stream"),
        ("/x.html", "text/html"),
        ("/x?y.css", "text/html"),
        ("/x", "text/html"),
    ] {
        assert_eq!(of(path, content_type), None, "{path}");
    }
}

fn head(stored: &Stored, status: u16, response: &[(&'static str, &str)]) -> HeadUpdate {
    let case = Case {
        status,
        response: headers(response),
        came: seconds(5),
        ..Case::default()
    };
    head_update(stored, 10, &case.exchange(), &Policy::default())
}

#[test]
fn head_renews_what_is_the_same_and_ends_what_is_not() {
    let stored = with_cache_control("max-age=2");
    for lines in [
        [("etag", "\"a\""), ("content-length", "10"), ("x-a", "1")],
        [("etag", "W/\"a\""), ("content-length", "0"), ("x-a", "1")],
    ] {
        let HeadUpdate::Renewed(renewed) = head(&stored, 200, &lines) else {
            panic!("is renewed");
        };
        assert_eq!(renewed.stored.fresh_until, seconds(7));
        assert_eq!(renewed.stored.headers["x-a"], "1");
        for status in [204, 405, 410, 501, 503] {
            let says = head(&stored, status, &lines);
            assert!(matches!(says, HeadUpdate::Nothing), "{status}");
        }
    }
    for lines in [
        [("etag", "\"b\""), ("content-length", "10")],
        [("etag", "\"a\""), ("content-length", "11")],
    ] {
        assert!(matches!(head(&stored, 200, &lines), HeadUpdate::Invalid));
    }
}

#[test]
fn head_renews_nothing_without_a_validator_on_both_sides() {
    let (old, new) = (date(-100), date(-50));
    let bare = stored_of(&[("cache-control", "max-age=2")]).unwrap();
    let dated = stored_of(&[("cache-control", "max-age=2"), ("last-modified", &old)]).unwrap();
    for stored in [&bare, &dated, &with_cache_control("max-age=2")] {
        for length in ["0", "10"] {
            let says = head(stored, 200, &[("content-length", length)]);
            assert!(matches!(says, HeadUpdate::Nothing), "{length}");
        }
        assert!(matches!(head(stored, 200, &[]), HeadUpdate::Nothing));
    }
    for lines in [[("etag", "\"a\"")], [("last-modified", &*old)]] {
        assert!(matches!(head(&bare, 200, &lines), HeadUpdate::Nothing));
    }
    let of_date = |date: &str| head(&dated, 200, &[("last-modified", date)]);
    assert!(matches!(of_date(&old), HeadUpdate::Renewed(_)));
    assert!(matches!(of_date(&new), HeadUpdate::Invalid));
}

#[test]
fn head_ends_what_is_fresh_and_was_fetched_a_second_ago_at_least() {
    let stored = with_cache_control("max-age=2");
    let may_end = |ms| may_end_by_head(&stored, CAME, UnixMs(CAME.0 + ms));
    assert_eq!(
        [999, 1_000, 1_999, 2_000].map(may_end),
        [false, true, true, false]
    );
}

#[test]
fn what_is_stored_holds_no_memory_of_what_was_read() {
    let read = Bytes::from([&b"max-age=60\"e\"a\xffb"[..], &[0; 8 << 10]].concat());
    let value = |part: Range<usize>| HeaderValue::from_maybe_shared(read.slice(part)).unwrap();
    let mut response = HeaderMap::new();
    response.insert("cache-control", value(0..10));
    response.insert("etag", value(10..13));
    response.append("x-a", value(13..16));
    response.append("x-a", value(0..0));
    let mut secret = value(13..14);
    secret.set_sensitive(true);
    response.append("x-a", secret);
    let came = Case {
        response,
        ..Case::default()
    };
    let mut stored = came.store().unwrap();
    assert_eq!(stored.headers.remove("date").unwrap(), *date(0));
    assert_eq!(stored.headers, came.response);
    let values = stored.headers.get_all("x-a").iter();
    let sensitive: Vec<bool> = values.map(HeaderValue::is_sensitive).collect();
    assert_eq!(sensitive, [false, false, true]);
    drop(came);
    assert!(read.is_unique());
}
