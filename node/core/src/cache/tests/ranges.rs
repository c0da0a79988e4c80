//! Parts of stored responses.

use std::ops::Range;

use super::*;
use crate::cache::range::{Multipart, Part, RANGES_MAX, content_range, select};

fn part(request: &[(&'static str, &str)]) -> Part {
    let modified = date(-100);
    let stored = stored_of(&[
        ("cache-control", "max-age=60"),
        ("etag", "\"a\""),
        ("last-modified", &modified),
    ]);
    select(&Method::GET, &headers(request), &stored.unwrap(), 11)
}

#[test]
fn ranges_of_a_stored_whole_are_cut() {
    for (asked, expected) in [
        ("bytes=0-1", Part::Single(0..2)),
        ("Bytes=1-", Part::Single(1..11)),
        ("bytes=-1", Part::Single(10..11)),
        ("bytes=-99", Part::Single(0..11)),
        ("bytes=5-99999999999999999999999", Part::Single(5..11)),
        ("bytes=10-10", Part::Single(10..11)),
        ("bytes=11-", Part::Unsatisfiable),
        ("bytes=-0", Part::Unsatisfiable),
        ("bytes=20-30, 40-", Part::Unsatisfiable),
        (
            "bytes=0-1, 3-4 ,-2",
            Part::Multiple(vec![0..2, 3..5, 9..11]),
        ),
        ("bytes=0-1, 20-30", Part::Single(0..2)),
        ("bytes=2-1", Part::Whole),
        ("bytes=", Part::Whole),
        ("bytes=a-b", Part::Whole),
        ("bytes=+1-2", Part::Whole),
        ("lines=0-1", Part::Whole),
        ("bytes=0-1, x", Part::Whole),
        ("bytes=0-,0-,0-", Part::Whole),
    ] {
        assert_eq!(part(&[("range", asked)]), expected, "{asked}");
    }
    assert_eq!(part(&[]), Part::Whole);
    assert_eq!(
        part(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]),
        Part::Whole
    );
    let many = ["0-0"; RANGES_MAX + 1].join(",");
    assert_eq!(part(&[("range", &format!("bytes={many}"))]), Part::Whole);
}

#[test]
fn if_range_needs_a_strong_validator_that_is_the_same() {
    let of = |if_range: &str| part(&[("range", "bytes=0-1"), ("if-range", if_range)]);
    let (same, other) = (date(-100), date(-99));
    for asked in ["\"a\"", &*same] {
        assert_eq!(of(asked), Part::Single(0..2), "{asked}");
    }
    for asked in ["\"b\"", "W/\"a\"", "a", "", &*other] {
        assert_eq!(of(asked), Part::Whole, "{asked}");
    }
    let modified = date(0);
    let weak = stored_of(&[
        ("cache-control", "max-age=60"),
        ("last-modified", &modified),
    ])
    .unwrap();
    let request = headers(&[("range", "bytes=0-1"), ("if-range", &modified)]);
    assert_eq!(select(&Method::GET, &request, &weak, 11), Part::Whole);
}

#[test]
fn ranges_mean_nothing_but_for_get_of_a_200_with_a_body() {
    let request = headers(&[("range", "bytes=0-1")]);
    let stored = with_cache_control("max-age=60");
    assert_eq!(select(&Method::HEAD, &request, &stored, 11), Part::Whole);
    assert_eq!(select(&Method::GET, &request, &stored, 0), Part::Whole);
    let missing = Case {
        status: 404,
        ..Case::default()
    }
    .store()
    .unwrap();
    assert_eq!(select(&Method::GET, &request, &missing, 11), Part::Whole);
}

#[test]
fn parts_are_framed_as_their_length_says() {
    let stored = stored_of(&[
        ("cache-control", "max-age=60"),
        ("content-type", "text/plain"),
    ])
    .unwrap();
    let multipart = Multipart::new(&stored, "B0", 11);
    let (body, ranges): (_, [Range<u64>; 2]) = (b"0123456789A", [0..2, 9..11]);
    let mut out = Vec::new();
    for range in &ranges {
        out.extend(multipart.head(range));
        out.extend(&body[range.start as usize..range.end as usize]);
    }
    out.extend(multipart.end());
    let expected = "\r\n--B0\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/11\r\n\r\n01\
        \r\n--B0\r\nContent-Type: text/plain\r\nContent-Range: bytes 9-10/11\r\n\r\n9A\r\n--B0--\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert_eq!(multipart.content_length(&ranges), expected.len() as u64);
    assert_eq!(
        multipart.content_type(),
        "multipart/byteranges; boundary=B0"
    );
    assert_eq!(content_range(&(0..11), 11), "bytes 0-10/11");
}
