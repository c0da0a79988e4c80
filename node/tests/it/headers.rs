//! What backends and clients learn of each other, and what of a route's edits reaches them.

use crate::common::{Weir, web};
use crate::http2::{Http2, head};
use crate::recorder::{Recorded, Recorder, assert_reason, values};

/// The request as a backend gets it from a node with these ingress keys.
async fn forwarded(ingress_keys: &str, fields: &str) -> Recorded {
    let mut backend = Recorder::start().await;
    let weir = Weir::start_with(ingress_keys, &web(&[backend.address], "")).await;
    let request = format!("GET / HTTP/1.1\r\nHost: test:81\r\n{fields}\r\n");
    let mut client = weir.connect().await;
    tokio::io::AsyncWriteExt::write_all(&mut client, request.as_bytes())
        .await
        .unwrap();
    backend.next().await
}

#[tokio::test]
async fn what_is_for_one_connection_only_goes_no_further() {
    let seen = forwarded(
        "",
        "Connection: close, X-Mine\r\nConnection: X-Also\r\nX-Mine: 1\r\nX-Also: 2\r\nX-Kept: 3\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\n\
         TE: gzip, trailers\r\nUpgrade: foo\r\n",
    )
    .await;
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "upgrade",
        "x-mine",
        "x-also",
    ] {
        assert!(seen.values(name).is_empty(), "{name}: {}", seen.head);
    }
    assert_eq!((seen.value("te"), seen.value("x-kept")), ("trailers", "3"));
}

#[tokio::test]
async fn a_client_cannot_have_headers_removed_that_are_for_the_backend() {
    let seen = forwarded(
        "",
        "Connection: Host, X-Forwarded-For, X-Real-IP, Via, Cookie, Authorization, Content-Length\r\n\
         Cookie: a=1\r\nAuthorization: Basic eA==\r\nContent-Length: 0\r\n",
    )
    .await;
    assert_eq!(seen.value("host"), "test:81");
    assert_eq!(seen.value("x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen.value("x-real-ip"), "127.0.0.1");
    assert_eq!(seen.value("via"), "1.1 node-1");
    assert_eq!(
        (seen.value("cookie"), seen.value("authorization")),
        ("a=1", "Basic eA==")
    );
}

#[tokio::test]
async fn a_request_with_too_many_connection_options_is_refused() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let options = (0..11)
        .map(|at| format!("x-{at}"))
        .collect::<Vec<_>>()
        .join(",");
    let request = format!("GET / HTTP/1.1\r\nHost: test\r\nConnection: close, {options}\r\n\r\n");
    assert_reason(&weir.exchange(request.as_bytes()).await, 400, "bad_request");
    backend.saw_nothing_else(&weir).await;
}

#[tokio::test]
async fn what_is_for_the_backends_connection_only_does_not_reach_the_client() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Mine\r\nKeep-Alive: timeout=5\r\nX-Mine: 1\r\n\
                  Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Kept: 2\r\nContent-Length: 0\r\n\r\n";
    let backend = Recorder::answering(|_| answer.to_owned()).await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let answer = weir.get("/").await;
    for name in ["keep-alive", "x-mine", "proxy-authenticate", "upgrade"] {
        assert!(values(&answer, name).is_empty(), "{name}: {answer}");
    }
    assert_eq!(values(&answer, "connection"), ["close"]);
    assert_eq!(values(&answer, "x-kept"), ["2"]);
}

#[tokio::test]
async fn via_grows_both_ways_and_a_loop_is_refused() {
    let answer = "HTTP/1.1 200 OK\r\nvia: 1.0 origin\r\ncontent-length: 0\r\n\r\n";
    let mut backend = Recorder::answering(|_| answer.to_owned()).await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let get = |via: &str| format!("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{via}\r\n");
    let answer = weir.exchange(get("Via: 1.0 edge\r\n").as_bytes()).await;
    assert_eq!(values(&answer, "via"), ["1.0 origin", "1.1 node-1"]);
    let seen = backend.next().await;
    assert_eq!(seen.values("via"), ["1.0 edge", "1.1 node-1"]);
    let thrice = get("Via: 1.1 node-1, 2 Node-1 (x)\r\nVia: HTTP/1.1 node-1\r\n");
    let answer = weir.exchange(thrice.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(backend.next().await.values("via").len(), 3);
    let looping = get(&"Via: 1.1 node-1\r\n".repeat(4));
    let answer = weir.exchange(looping.as_bytes()).await;
    assert_reason(&answer, 508, "loop_detected");
    backend.saw_nothing_else(&weir).await;
}

#[tokio::test]
async fn a_node_that_routes_to_itself_ends_the_loop() {
    let weir = Weir::start("").await;
    weir.edit(&web(&[weir.ingress], ""));
    weir.signal(rustix::process::Signal::HUP);
    weir.wait_for_metric("weir_config_revision", |revision| revision >= 2.0)
        .await;
    assert_reason(&weir.get("/").await, 508, "loop_detected");
}

#[tokio::test]
async fn what_an_untrusted_peer_says_of_the_client_is_replaced() {
    let lies = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-Real-IP: 1.2.3.4\r\n\
                X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 443\r\n\
                Forwarded: for=1.2.3.4;proto=https\r\n";
    let seen = forwarded("", lies).await;
    assert_eq!(seen.value("x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen.value("x-real-ip"), "127.0.0.1");
    assert_eq!(seen.value("x-forwarded-proto"), "http");
    assert_eq!(seen.value("x-forwarded-host"), "test:81");
    assert!(seen.values("x-forwarded-port").is_empty());
    assert!(seen.values("forwarded").is_empty());
    let seen = forwarded("forwarded = true", lies).await;
    assert_eq!(
        seen.value("forwarded"),
        "for=127.0.0.1;proto=http;host=\"test:81\""
    );
}

#[tokio::test]
async fn a_trusted_peer_is_believed_up_to_the_first_that_is_not() {
    let trusted = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";
    let chain = "X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\nX-Forwarded-For: 10.0.0.1\r\n\
                 X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.test\r\n";
    let seen = forwarded(trusted, chain).await;
    assert_eq!(
        seen.value("x-forwarded-for"),
        "1.2.3.4, 10.0.0.1, 127.0.0.1"
    );
    assert_eq!(seen.value("x-real-ip"), "1.2.3.4");
    assert_eq!(seen.value("x-forwarded-proto"), "https");
    assert_eq!(seen.value("x-forwarded-host"), "shop.test");
    // Two chains that name different clients: neither is believed.
    let torn = "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=5.6.7.8\r\n";
    let seen = forwarded(trusted, torn).await;
    assert_eq!(seen.value("x-real-ip"), "127.0.0.1");
    assert_eq!(
        seen.value("forwarded"),
        "for=127.0.0.1;proto=http;host=\"test:81\""
    );
    let standard = "Forwarded: for=6.6.6.6, for=1.2.3.4;by=x\r\n";
    let seen = forwarded(trusted, standard).await;
    assert_eq!(seen.value("x-real-ip"), "1.2.3.4");
    assert!(
        seen.value("forwarded")
            .starts_with("for=1.2.3.4;by=x, for=127.0.0.1"),
        "{}",
        seen.head
    );
}

#[tokio::test]
async fn an_http2_request_carries_the_same_headers_to_http1() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let mut client = Http2::connect(&weir).await;
    let fields = [
        ("x-forwarded-for", "1.2.3.4"),
        ("x-kept", "1"),
        ("te", "trailers"),
    ];
    client.get(head("GET", "/a?b", &fields)).await.unwrap();
    let seen = backend.next().await;
    assert_eq!(
        (seen.line(), seen.value("host")),
        ("GET /a?b HTTP/1.1", "test")
    );
    assert_eq!(seen.value("x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen.value("x-forwarded-host"), "test");
    assert_eq!((seen.value("via"), seen.value("x-kept")), ("2 node-1", "1"));
}
