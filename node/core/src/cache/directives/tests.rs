//! What origins write, and how it is read.

use http::HeaderValue;

use super::*;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn read(lines: &[&str]) -> Directives {
    let lines: Vec<_> = lines.iter().map(|line| ("cache-control", *line)).collect();
    Directives::of_cache_control(&headers(&lines))
}

#[test]
fn names_are_read_in_any_case() {
    for line in [
        "No-Store",
        "NO-STORE",
        "nO-StOrE=x",
        " ,no-store",
        "no-store=\"\"",
    ] {
        assert!(read(&[line]).no_store, "{line}");
    }
    assert_eq!(read(&["MaX-aGe=60"]).max_age_s, Some(60));
    assert!(read(&["Private"]).private);
}

#[test]
fn of_repeated_directives_the_most_restrictive_counts() {
    assert_eq!(read(&["max-age=1800, max-age=1"]).max_age_s, Some(1));
    assert_eq!(read(&["max-age=1", "max-age=1800"]).max_age_s, Some(1));
    assert_eq!(read(&["max-age=60, max-age=x"]).max_age_s, Some(0));
}

#[test]
fn lifetimes_that_cannot_be_read_are_none_at_all() {
    for line in [
        "max-age",
        "max-age=",
        "max-age=-1",
        "max-age='60'",
        "max-age= 60",
        "max-age=60.5",
        "max-age=6a",
    ] {
        assert_eq!(read(&[line]).max_age_s, Some(0), "{line}");
    }
    for (line, seconds) in [
        ("max-age=\"60\"", 60),
        ("max-age=99999999999", 1 << 31),
        ("max-age=0060", 60),
    ] {
        assert_eq!(read(&[line]).max_age_s, Some(seconds), "{line}");
    }
    assert_eq!(read(&["max-age =60"]).max_age_s, None);
}

#[test]
fn what_stands_in_quotes_is_no_directive() {
    assert_eq!(
        read(&["ext=\"max-age=3600\", max-age=1"]).max_age_s,
        Some(1)
    );
    assert_eq!(
        read(&["ext=\"a, max-age=0, no-store\", max-age=60"]),
        read(&["max-age=60"])
    );
    assert_eq!(
        read(&["ext=\"\\\", no-store\", max-age=60"]),
        read(&["max-age=60"])
    );
    assert!(read(&["ext=\"never closed, no-store"]).no_store);
}

#[test]
fn no_cache_and_private_with_names_are_about_these_fields_only() {
    let named = read(&["no-cache=\"Set-Cookie, x-a\", private=x-b, max-age=60"]);
    assert_eq!(named.omitted, ["set-cookie", "x-a", "x-b"]);
    assert!(!named.no_cache && !named.private);
    for line in [
        "private=\"\"",
        "private=\"a b\"",
        "private=\",\"",
        "private=",
        "private=\"x-a\", private",
    ] {
        assert!(read(&[line]).private, "{line}");
    }
    let many = (0..40)
        .map(|at| format!("x-{at}"))
        .collect::<Vec<_>>()
        .join(",");
    assert!(read(&[&format!("private=\"{many}\"")]).private);
}

fn decide(lines: &[(&'static str, &str)]) -> Deciding {
    let targets = ["weir-cache-control", "cdn-cache-control"].map(HeaderName::from_static);
    Deciding::of(&headers(lines), &targets)
}

#[test]
fn the_most_specific_targeted_field_decides() {
    let lines = [
        ("cache-control", "no-store"),
        ("cdn-cache-control", "max-age=10"),
        ("weir-cache-control", "max-age=5"),
    ];
    let [cache_control, cdn, ours] = lines;
    assert_eq!(decide(&lines).directives.max_age_s, Some(5));
    let by_cdn = decide(&[cdn, cache_control]);
    assert_eq!(by_cdn.target.unwrap(), "cdn-cache-control");
    assert!(!by_cdn.directives.no_store);
    assert!(decide(&[cache_control]).directives.no_store);
    assert_eq!(decide(&[ours, cdn]).target.unwrap(), "weir-cache-control");
}

#[test]
fn a_targeted_field_that_cannot_be_read_counts_for_nothing() {
    for value in [
        "",
        " ",
        "max-age=10000, &&&&&",
        "max-age=\"10000\"",
        "max-age",
        "MaX-aGe=1",
        "s-maxage=1.5",
    ] {
        let decided = decide(&[("cdn-cache-control", value), ("cache-control", "max-age=7")]);
        assert_eq!(decided.target, None, "{value}");
        assert_eq!(decided.directives.max_age_s, Some(7), "{value}");
    }
}

#[test]
fn a_targeted_field_may_say_all_that_cache_control_may() {
    let said = decide(&[
        (
            "cdn-cache-control",
            "private=\"x-a\", no-cache=?0, max-age=-1;a=b",
        ),
        ("cdn-cache-control", "public"),
    ]);
    let directives = said.directives;
    assert_eq!(directives.omitted, ["x-a"]);
    assert_eq!(directives.max_age_s, Some(0));
    assert!(directives.public && !directives.no_cache && !directives.private);
    for value in [
        "private",
        "no-store",
        "no-cache",
        "private;a=1",
        "private=?1",
        "no-store=1",
    ] {
        let said = decide(&[
            ("cdn-cache-control", value),
            ("cache-control", "max-age=60"),
        ])
        .directives;
        assert!(said.private || said.no_store || said.no_cache, "{value}");
    }
}
