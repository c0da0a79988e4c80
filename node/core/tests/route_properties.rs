//! Routing against a plain reading of its rules.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use weir_core::route::{
    HeaderMatch, HeaderTest, HostPattern, PathMatch, PathRewrite, Rewrite, Route, RouteRequest,
    RouteTable, Target, normalise_path,
};

fn route(host: &str, path: PathMatch) -> Route {
    Route {
        hosts: vec![HostPattern::parse(host).unwrap()],
        path,
        ..Route::catch_all("r", Target::single("s".into()))
    }
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.into())
}

fn exact(path: &str) -> PathMatch {
    PathMatch::Exact(path.into())
}

fn regex(pattern: &str) -> PathMatch {
    PathMatch::Regex(pattern.into())
}

fn find(routes: Vec<Route>, host: &str, path: &str) -> Option<usize> {
    let request = RouteRequest {
        host,
        path,
        method: &Method::GET,
        headers: &HeaderMap::new(),
    };
    RouteTable::new(routes).unwrap().find(&request)
}

#[test]
fn the_more_specific_host_wins_before_any_path() {
    let routes = || {
        vec![
            route("*", exact("/x")),
            route("*.example", exact("/x")),
            route("*.b.example", prefix("/")),
            route("a.b.example", prefix("/y")),
        ]
    };
    assert_eq!(find(routes(), "a.b.example", "/y"), Some(3));
    assert_eq!(find(routes(), "a.b.example", "/x"), Some(2));
    assert_eq!(find(routes(), "b.example", "/x"), Some(1));
    assert_eq!(find(routes(), "example", "/x"), Some(0));
    assert_eq!(find(routes(), "", "/x"), Some(0));
    assert_eq!(find(routes(), "other", "/y"), None);
}

#[test]
fn paths_win_exact_then_longest_prefix_then_expression_then_root() {
    let routes = || {
        vec![
            route("*", prefix("/")),
            route("*", regex("/[a-z/]+")),
            route("*", prefix("/api")),
            route("*", prefix("/api/v1")),
            route("*", exact("/api/v1/x")),
        ]
    };
    for (path, expected) in [
        ("/api/v1/x", 4),
        ("/api/v1/y", 3),
        ("/api", 2),
        ("/apix", 1),
        ("/1", 0),
    ] {
        assert_eq!(find(routes(), "h", path), Some(expected), "{path}");
    }
}

#[test]
fn prefixes_end_at_segment_borders() {
    for (pattern, path, expected) in [
        ("/api", "/api", true),
        ("/api", "/api/x", true),
        ("/api", "/apix", false),
        ("/api/", "/api/x", true),
        ("/api/", "/api", false),
    ] {
        let found = find(vec![route("*", prefix(pattern))], "h", path);
        assert_eq!(found.is_some(), expected, "{pattern} {path}");
    }
}

#[test]
fn expressions_match_the_whole_path() {
    assert_eq!(find(vec![route("*", regex("/a|/b"))], "h", "/ab"), None);
    assert_eq!(find(vec![route("*", regex("/a|/b"))], "h", "/b"), Some(0));
}

#[test]
fn methods_then_more_headers_then_order_decide() {
    let header = |name| HeaderMatch {
        name: HeaderName::from_static(name),
        test: HeaderTest::Present,
    };
    let any = || route("*", prefix("/"));
    let routes = vec![
        any(),
        any(),
        Route {
            headers: vec![header("a")],
            ..any()
        },
        Route {
            headers: vec![header("a"), header("b")],
            ..any()
        },
        Route {
            methods: vec![Method::POST],
            ..any()
        },
    ];
    let table = RouteTable::new(routes).unwrap();
    let find = |method: Method, names: &[&'static str]| {
        let value = HeaderValue::from_static("1");
        let headers = names
            .iter()
            .map(|name| (HeaderName::from_static(name), value.clone()))
            .collect();
        table.find(&RouteRequest {
            host: "h",
            path: "/",
            method: &method,
            headers: &headers,
        })
    };
    assert_eq!(find(Method::GET, &[]), Some(0));
    assert_eq!(find(Method::GET, &["a"]), Some(2));
    assert_eq!(find(Method::GET, &["b", "a"]), Some(3));
    assert_eq!(find(Method::POST, &["a", "b"]), Some(4));
}

#[test]
fn header_conditions_look_at_every_line() {
    let mut headers = HeaderMap::new();
    headers.append("x", HeaderValue::from_static("one"));
    headers.append("x", HeaderValue::from_static("two"));
    let name = HeaderName::from_static("x");
    let exact = |value| HeaderMatch {
        name: name.clone(),
        test: HeaderTest::Exact(HeaderValue::from_static(value)),
    };
    assert!(exact("two").matches(&headers));
    assert!(!exact("three").matches(&headers));
    assert!(
        HeaderMatch::regex(name.clone(), "t.o")
            .unwrap()
            .matches(&headers)
    );
    assert!(!HeaderMatch::regex(name, "t").unwrap().matches(&headers));
}

#[test]
fn every_problem_is_reported() {
    let routes = vec![
        route("*", prefix("/a/../b")),
        route("*", prefix("/fine")),
        route("*", regex("(")),
        route("*", regex("a)(b")),
        route("*", regex("(a{1000}){1000}")),
        route("*", exact("relative")),
    ];
    let problems = RouteTable::new(routes).unwrap_err();
    let indices: Vec<usize> = problems.iter().map(|problem| problem.index).collect();
    assert_eq!(indices, [0, 2, 3, 4, 5]);
}

fn path() -> impl Strategy<Value = String> {
    "(/|\\.|a|b|%2e|%2F|%61|%41){0,12}".prop_map(|rest| format!("/{rest}"))
}

/// Small alphabets, so that routes and requests meet.
fn any_route() -> impl Strategy<Value = Route> {
    let host = prop::sample::select(vec!["*", "*.b", "*.a.b", "a.b", "b"]);
    let path = prop_oneof![
        "(/[ab]){1,3}/?".prop_map(PathMatch::Prefix),
        "(/[ab]){1,3}".prop_map(PathMatch::Exact),
        Just(regex("/a.*")),
        Just(PathMatch::any()),
    ];
    let methods = prop::sample::select(vec![vec![], vec![Method::GET], vec![Method::PUT]]);
    (host, path, methods).prop_map(|(host, path, methods)| Route {
        methods,
        ..route(host, path)
    })
}

/// How good a match is, or `None`. Written from the documentation, not from the code.
fn score(route: &Route, host: &str, path: &str) -> Option<(usize, usize, usize, bool)> {
    let host = match &route.hosts[0] {
        HostPattern::Exact(exact) => (exact == host).then_some(1000)?,
        HostPattern::Suffix(suffix) => {
            let below = host.strip_suffix(suffix.as_str())?;
            (!below.is_empty()).then_some(suffix.len())?
        }
        HostPattern::Any => 0,
    };
    let (kind, length) = match &route.path {
        PathMatch::Exact(exact) => (exact == path).then_some((3, 0))?,
        PathMatch::Prefix(prefix) if prefix == "/" => (0, 0),
        PathMatch::Prefix(prefix) => {
            let border = format!("{}/", prefix.trim_end_matches('/'));
            (path == prefix || path.starts_with(&border)).then_some((2, prefix.len()))?
        }
        PathMatch::Regex(_) => path.starts_with("/a").then_some((1, 0))?,
    };
    let is_method = route.methods.is_empty() || route.methods == [Method::GET];
    is_method.then_some((host, kind, length, !route.methods.is_empty()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_table_finds_what_a_plain_reading_finds(
        routes in prop::collection::vec(any_route(), 0..12),
        host in "[ab](\\.[ab]){0,2}",
        path in "(/[ab]){1,4}/?",
    ) {
        let mut best = None;
        for (index, route) in routes.iter().enumerate() {
            let score = score(route, &host, &path);
            if score.is_some() && best.is_none_or(|(found, _)| score > found) {
                best = Some((score, index));
            }
        }
        prop_assert_eq!(find(routes, &host, &path), best.map(|(_, index)| index));
    }

    #[test]
    fn a_normal_path_has_no_dot_segments_and_is_stable(path in path()) {
        let normal = normalise_path(&path).unwrap();
        prop_assert!(normal.starts_with('/') && !normal.contains("//"), "{}", normal);
        prop_assert!(!normal.split('/').any(|it| it == "." || it == ".."), "{}", normal);
        prop_assert!(!normal.to_lowercase().contains("%2e"), "{}", normal);
        prop_assert_eq!(&normalise_path(&normal).unwrap(), &normal);
    }

    #[test]
    fn arbitrary_paths_do_not_panic(path in "\\PC{0,20}|/[\0-\u{ff}]{0,12}") {
        if let Ok(normal) = normalise_path(&path) {
            prop_assert_eq!(&normalise_path(&normal).unwrap(), &normal);
        }
    }

    #[test]
    fn rewritten_paths_keep_their_slash_and_query(
        path in path(),
        from in "(/[ab]){0,2}/?",
        to in "(/[ab]){0,2}/?",
        query in prop::option::of("[a-z=&/?]{0,8}"),
    ) {
        let (from, to) = (format!("/{}", &from.trim_start_matches('/')),
            format!("/{}", &to.trim_start_matches('/')));
        let path = normalise_path(&path).unwrap();
        let substitution = PathRewrite::regex(&format!("^{from}"), to.trim_start_matches('/'));
        for rewrite in [PathRewrite::prefix(&from, &to), substitution] {
            let rewrite = Rewrite::new(Some(rewrite.unwrap()), None).unwrap();
            if let Some(new) = rewrite.path_and_query(&path, query.as_deref()).unwrap() {
                prop_assert!(new.path().starts_with('/') && !new.path().starts_with("//"));
                prop_assert_eq!(new.query(), query.as_deref());
            }
        }
    }
}
