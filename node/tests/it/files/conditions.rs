//! Conditions and ranges.

use tokio::time::Instant;

use super::{Got, Stage, pattern, write_aged};
use crate::common::PATIENCE;

const DAY: u64 = 86_400;

async fn stage() -> Stage {
    Stage::start("", |root| {
        write_aged(&root.join("small"), b"0123456789", DAY);
        // More than is kept in memory, and several reads.
        write_aged(&root.join("large"), &pattern(300_000), DAY);
        std::fs::write(root.join("young"), "young").unwrap();
    })
    .await
}

async fn status(stage: &Stage, path: &str, fields: &[(&str, &str)]) -> u16 {
    asked(stage, path, fields).await.status
}

async fn asked(stage: &Stage, path: &str, fields: &[(&str, &str)]) -> Got {
    let lines: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    stage.ask("GET", path, &lines).await
}

#[tokio::test]
async fn a_client_that_has_the_file_gets_304() {
    let stage = stage().await;
    let whole = stage.get("/small").await;
    let (etag, modified) = (
        whole.header("etag").unwrap(),
        whole.header("last-modified").unwrap(),
    );
    let known = asked(&stage, "/small", &[("If-None-Match", etag)]).await;
    assert_eq!((known.status, known.body.as_str()), (304, ""));
    assert_eq!(known.header("etag"), Some(etag));
    assert_eq!(known.header("content-type"), None);
    let weak = format!("\"x\", W/{etag}");
    for (name, value, expected) in [
        ("If-None-Match", weak.as_str(), 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", "\"other\"", 200),
        ("If-Modified-Since", modified, 304),
        ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT", 200),
        ("If-Modified-Since", "yesterday", 200),
    ] {
        let got = status(&stage, "/small", &[(name, value)]).await;
        assert_eq!(got, expected, "{name}: {value}");
    }
    // The tag decides where both are.
    let both = [
        ("If-None-Match", "\"other\""),
        ("If-Modified-Since", modified),
    ];
    assert_eq!(status(&stage, "/small", &both).await, 200);
}

#[tokio::test]
async fn a_precondition_that_does_not_hold_is_412() {
    let stage = stage().await;
    let whole = stage.get("/small").await;
    let etag = whole.header("etag").unwrap();
    let modified = whole.header("last-modified").unwrap();
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    let weak = format!("W/{etag}");
    for (name, value, expected) in [
        ("If-Match", etag, 200),
        ("If-Match", "*", 200),
        ("If-Match", "\"other\"", 412),
        ("If-Match", weak.as_str(), 412),
        ("If-Unmodified-Since", modified, 200),
        ("If-Unmodified-Since", old, 412),
    ] {
        let got = asked(&stage, "/small", &[(name, value)]).await;
        assert_eq!(got.status, expected, "{name}: {value}");
        if expected == 412 {
            assert_eq!(got.reason(), Some("precondition_failed"));
        }
    }
}

#[tokio::test]
async fn a_file_that_has_just_changed_has_a_weak_tag() {
    let stage = stage().await;
    let deadline = Instant::now() + PATIENCE;
    // It may have been written a while ago on a slow machine.
    loop {
        assert!(Instant::now() < deadline, "its tag is never weak");
        std::fs::write(stage.path("young"), "young").unwrap();
        let got = stage.get("/young").await;
        let etag = got.header("etag").unwrap();
        if let Some(strong) = etag.strip_prefix("W/") {
            let ranged = [("Range", "bytes=0-1"), ("If-Range", strong)];
            assert_eq!(status(&stage, "/young", &ranged).await, 200);
            break;
        }
    }
}

#[tokio::test]
async fn ranges_are_those_bytes_whether_kept_or_read() {
    let stage = stage().await;
    for (path, bytes) in [
        ("/small", b"0123456789".to_vec()),
        ("/large", pattern(300_000)),
    ] {
        let total = bytes.len();
        for (range, from, to) in [
            ("bytes=0-0", 0, 1),
            ("bytes=2-5", 2, 6),
            ("bytes=-3", total - 3, total),
            ("bytes=4-", 4, total),
            ("bytes=7-999999", 7, total),
        ] {
            let got = asked(&stage, path, &[("Range", range)]).await;
            assert_eq!(got.status, 206, "{path} {range}");
            let expected = format!("bytes {from}-{}/{total}", to - 1);
            assert_eq!(got.header("content-range"), Some(expected.as_str()));
            let length = (to - from).to_string();
            assert_eq!(got.header("content-length"), Some(length.as_str()));
            assert!(got.body.as_bytes() == &bytes[from..to], "{path} {range}");
        }
        let beyond = asked(&stage, path, &[("Range", "bytes=300000-")]).await;
        assert_eq!(beyond.status, 416);
        let expected = format!("bytes */{total}");
        assert_eq!(beyond.header("content-range"), Some(expected.as_str()));
        let odd = [("Range", "lines=1-2")];
        assert_eq!(status(&stage, path, &odd).await, 200);
    }
}

#[tokio::test]
async fn several_ranges_come_in_parts() {
    let stage = stage().await;
    let bytes = pattern(300_000);
    let ranges = "bytes=0-9, 130000-270000, -5";
    let got = asked(&stage, "/large", &[("Range", ranges)]).await;
    assert_eq!(got.status, 206);
    let kind = got.header("content-type").unwrap();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let mut expected = Vec::new();
    for range in [0..10, 130_000..270_001, 299_995..300_000] {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n\
             Content-Range: bytes {}-{}/300000\r\n\r\n",
            range.start,
            range.end - 1
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&bytes[range]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(got.body.as_bytes() == expected, "{}", got.head);
    let length = expected.len().to_string();
    assert_eq!(got.header("content-length"), Some(length.as_str()));
    let nine = format!("bytes={}", ["1-2"; 9].join(","));
    assert_eq!(status(&stage, "/large", &[("Range", &nine)]).await, 200);
}

#[tokio::test]
async fn a_range_of_what_changed_is_the_whole() {
    let stage = stage().await;
    let whole = stage.get("/small").await;
    let (etag, modified) = (
        whole.header("etag").unwrap(),
        whole.header("last-modified").unwrap(),
    );
    for (validator, expected) in [
        (etag, 206),
        (modified, 206),
        ("\"other\"", 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 200),
    ] {
        let fields = [("Range", "bytes=1-2"), ("If-Range", validator)];
        assert_eq!(
            status(&stage, "/small", &fields).await,
            expected,
            "{validator}"
        );
    }
    let head = stage.ask("HEAD", "/small", "Range: bytes=1-2\r\n").await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("10"))
    );
}
