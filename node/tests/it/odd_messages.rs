//! Messages that are framed twice, hide fields in trailers or come in the looser ways of HTTP/2.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::client::Client;
use crate::common::{Weir, web};
use crate::http2::{Http2, head, whole};
use crate::recorder::Recorder;

#[tokio::test]
async fn an_answer_with_a_length_and_chunks_is_whole() {
    for length in [3, 6, 30] {
        let backend = Recorder::answering(move |_| {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n\
                 6\r\nabcdef\r\n0\r\n\r\n"
            )
        })
        .await;
        let weir = Weir::start(&web(&[backend.address], "")).await;
        let mut over_h1 = Client::connect(weir.ingress).await;
        for _ in 0..2 {
            let answer = over_h1.get("/").await.unwrap();
            assert_eq!(answer.text(), "abcdef", "{length}");
            let chunked = answer.header("transfer-encoding").is_some();
            let length = answer.header("content-length");
            assert!(!chunked || length.is_none(), "{answer:?}");
        }
        let over_h2 = Http2::connect(&weir).await.get(head("GET", "/", &[])).await;
        assert_eq!(over_h2.unwrap().body, "abcdef", "{length}");
    }
}

#[tokio::test]
async fn an_answer_in_a_coding_other_than_chunked_is_refused() {
    let body = "3\r\nabc\r\n0\r\n\r\n";
    for coding in ["gzip", "chunked, identity", "gzip, chunked", "xchunked"] {
        let backend = Recorder::answering(move |_| {
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\nconnection: close\r\n\r\n{body}"
            )
        })
        .await;
        let weir = Weir::start(&web(&[backend.address], "")).await;
        let answer = Client::connect(weir.ingress).await.get("/").await.unwrap();
        assert_eq!(answer.status, 502, "{coding}: {answer:?}");
        let reason = answer.header("x-weir-reason");
        assert_eq!(reason, Some("backend_invalid"), "{coding}");
    }
}

/// Fields that tell backends who asks, and who is asked.
const SPOOFED: [&str; 6] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-real-ip",
    "via",
    "authorization",
];

#[tokio::test]
async fn trailers_of_an_upload_cannot_say_who_asks() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let announced = format!("x-sum, {}", SPOOFED.join(", "));
    let fields: String = SPOOFED.map(|name| format!("{name}: 6.6.6.6\r\n")).concat();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
         Trailer: {announced}\r\n\r\n1\r\nx\r\n0\r\nx-sum: 7\r\n{fields}\r\n"
    );
    let answer = weir.exchange(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let over_h1 = backend.next().await;

    let mut client = Http2::connect(&weir).await;
    let request = head("POST", "/", &[("trailer", &announced)]);
    let (response, mut upload) = client.send(request, false).await;
    upload.send_data(Bytes::from_static(b"x"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    for name in SPOOFED {
        let name = HeaderName::from_static(name);
        trailers.insert(name, HeaderValue::from_static("6.6.6.6"));
    }
    upload.send_trailers(trailers).unwrap();
    assert_eq!(whole(response).await.unwrap().head.status(), 200);
    let over_h2 = backend.next().await;

    for seen in [over_h1, over_h2] {
        assert_eq!(seen.body, "1\r\nx\r\n0\r\nx-sum: 7\r\n\r\n", "{seen:?}");
        assert!(!seen.head.contains("6.6.6.6"), "{seen:?}");
    }
}

#[tokio::test]
async fn a_path_over_http2_that_is_not_ascii_is_refused() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let mut client = Http2::connect(&weir).await;
    for path in ["/a\u{a0}b", "/a\u{85}HTTP/1.0", "/q?x=\u{a0}HTTP/1.0"] {
        let answer = client.get(head("GET", path, &[])).await.unwrap();
        assert_eq!(answer.head.status(), 400, "{path:?}");
        assert_eq!(answer.header("x-weir-reason"), "bad_path", "{path:?}");
    }
    backend.saw_nothing_else(&weir).await;
}

#[tokio::test]
async fn the_limit_on_header_lines_holds_over_http2() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start_with("headers_max = 20", &web(&[backend.address], "")).await;
    let mut client = Http2::connect(&weir).await;
    let fields = [("x-more", "and more"); 21];
    let most = client.get(head("GET", "/most", &fields[..20])).await;
    assert_eq!(most.unwrap().head.status(), 200);
    let seen = backend.next().await;
    assert_eq!(seen.values("x-more").len(), 20, "{seen:?}");
    let answer = client.get(head("GET", "/", &fields)).await.unwrap();
    assert_eq!(answer.head.status(), 431);
    assert_eq!(answer.header("x-weir-reason"), "too_many_headers");
    backend.saw_nothing_else(&weir).await;
}
