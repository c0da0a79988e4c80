//! What the HTTP API answers to whoever is wrong, or only begins to look around.

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::common::{Weir, read_to_end};

/// Head and document of an answer.
async fn ask(node: &Weir, method: &str, path: &str, body: &str) -> (String, Value) {
    let mut stream = TcpStream::connect(node.api).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    let (head, document) = answer.split_once("\r\n\r\n").unwrap();
    let document = serde_json::from_str(document).unwrap_or_default();
    (head.to_owned(), document)
}

#[tokio::test]
async fn whoever_is_wrong_is_told_how_and_the_root_leads_to_the_dashboard() {
    let node = Weir::start("").await;
    for path in ["/api/nope", "/api/status/", "/nope?x=1"] {
        let (head, told) = ask(&node, "GET", path, "").await;
        assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
        assert_eq!(told["error"], "not_found", "{path}: {told}");
        let bare = path.split('?').next().unwrap();
        assert!(told["message"].as_str().unwrap().contains(bare), "{told}");
    }
    let (head, told) = ask(&node, "DELETE", "/api/status", "").await;
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    assert!(head.contains("allow: GET,HEAD"), "{head}");
    assert_eq!(told["error"], "method_not_allowed", "{told}");

    for (path, body, field) in [
        ("/api/cache/purge", r#"{"tag": ""}"#, "tag"),
        (
            "/api/cache/purge",
            r#"{"all": true, "wait": "some"}"#,
            "wait",
        ),
        ("/api/cache/purge", r#"{"all": true, "tag": "a"}"#, "scope"),
        ("/api/cache/purge", r#"{"tags": "a"}"#, "body"),
        ("/api/cache/warm", "{}", "urls"),
        ("/api/provision", "{}", "body"),
    ] {
        let (head, told) = ask(&node, "POST", path, body).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{path} {body}: {head}");
        assert_eq!(told["error"], "invalid_argument", "{path} {body}: {told}");
        assert_eq!(told["field"], field, "{path} {body}: {told}");
        let message = told["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{field}: ")), "{message}");
    }

    let (head, _) = ask(&node, "GET", "/", "").await;
    assert!(head.starts_with("HTTP/1.1 307 "), "{head}");
    assert!(head.contains("location: dashboard"), "{head}");
}
