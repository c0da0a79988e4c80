//! What was compressed beforehand.

use super::{Stage, write_aged};

async fn stage(keys: &str) -> Stage {
    Stage::start(keys, |root| {
        for (name, content, seconds_ago) in [
            ("app.js", "plain", 100),
            ("app.js.br", "brotli", 100),
            ("app.js.gz", "gzip", 90),
            // Older than what it was made of.
            ("app.js.zst", "stale", 101),
            ("alone.js", "alone", 100),
            ("data.gz", "archive", 100),
            ("data.gz.br", "never", 100),
            ("only.css.br", "no original", 100),
        ] {
            write_aged(&root.join(name), content.as_bytes(), seconds_ago);
        }
    })
    .await
}

#[tokio::test]
async fn a_client_gets_the_coding_that_it_takes() {
    let stage = stage("").await;
    let mut tags = Vec::new();
    // Twice: from disk, then from memory.
    for _ in 0..2 {
        for (accept, body, coding) in [
            ("gzip, br", "brotli", Some("br")),
            ("gzip", "gzip", Some("gzip")),
            ("br;q=0.5, gzip", "gzip", Some("gzip")),
            ("zstd", "plain", None),
            ("zstd, gzip;q=0.1", "gzip", Some("gzip")),
            ("identity", "plain", None),
            ("", "plain", None),
        ] {
            let field = format!("Accept-Encoding: {accept}\r\n");
            let got = stage.ask("GET", "/app.js", &field).await;
            assert_eq!(got.body, body, "{accept}");
            assert_eq!(got.header("content-encoding"), coding, "{accept}");
            assert_eq!(got.header("vary"), Some("Accept-Encoding"));
            assert_eq!(
                got.header("content-type"),
                Some("text/javascript; charset=utf-8")
            );
            tags.push((body, got.header("etag").unwrap().to_owned()));
        }
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "each representation has one tag: {tags:?}");
    let mut only: Vec<_> = tags.into_iter().map(|(_, tag)| tag).collect();
    only.dedup();
    assert_eq!(only.len(), 3);
}

#[tokio::test]
async fn only_what_has_an_original_and_is_none_itself_has_variants() {
    let stage = stage("").await;
    let accept = "Accept-Encoding: br\r\n";
    let alone = stage.ask("GET", "/alone.js", accept).await;
    assert_eq!((alone.body.as_str(), alone.header("vary")), ("alone", None));
    let archive = stage.ask("GET", "/data.gz", accept).await;
    assert_eq!(archive.body, "archive");
    assert_eq!(archive.header("content-encoding"), None);
    assert_eq!(archive.header("content-type"), Some("application/gzip"));
    assert_eq!(stage.ask("GET", "/only.css", accept).await.status, 404);
}

#[tokio::test]
async fn a_variant_has_conditions_and_ranges_of_its_own() {
    let stage = stage("").await;
    let plain = stage.get("/app.js").await;
    let etag = plain.header("etag").unwrap();
    let fields = format!("Accept-Encoding: br\r\nIf-None-Match: {etag}\r\n");
    assert_eq!(stage.ask("GET", "/app.js", &fields).await.body, "brotli");
    let ranged = "Accept-Encoding: br\r\nRange: bytes=1-3\r\n";
    let part = stage.ask("GET", "/app.js", ranged).await;
    assert_eq!((part.status, part.body.as_str()), (206, "rot"));
    assert_eq!(part.header("content-encoding"), Some("br"));
}

#[tokio::test]
async fn variants_can_be_switched_off() {
    let stage = stage("precompressed = false").await;
    let got = stage.ask("GET", "/app.js", "Accept-Encoding: br\r\n").await;
    assert_eq!((got.body.as_str(), got.header("vary")), ("plain", None));
}
