//! Requests that two servers could read differently are refused before a backend sees them.

use crate::common::{Weir, web};
use crate::recorder::{Recorder, assert_reason, values};

/// What a careless server would take for a further request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Sends each script, followed by a request that must go nowhere, over a connection of its own.
async fn assert_all_refused(scripts: &[(&str, u16, &str)]) {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    for (script, status, reason) in scripts {
        let answer = weir
            .exchange(format!("{script}{SMUGGLED}").as_bytes())
            .await;
        assert_reason(&answer, *status, reason);
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    backend.saw_nothing_else(&weir).await;
    let refused = weir.metric("weir_heads_refused_total").await;
    assert_eq!(refused, scripts.len() as f64);
}

/// `POST` with these header lines and a body that ends early for who believes the other length.
fn post(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}\r\n0\r\n\r\n")
}

#[tokio::test]
async fn a_request_with_two_lengths_is_refused_and_never_reaches_a_backend() {
    let both = post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n");
    let turned = post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n");
    let equal = post("Content-Length: 5\r\nContent-Length: 5\r\n");
    let different = post("Content-Length: 5\r\nContent-Length: 0\r\n");
    let list = post("Content-Length: 5, 5\r\n");
    let codings = post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n");
    assert_all_refused(&[
        (&both, 400, "length-and-transfer-encoding"),
        (&turned, 400, "length-and-transfer-encoding"),
        (&equal, 400, "repeated-content-length"),
        (&different, 400, "repeated-content-length"),
        (&list, 400, "bad-content-length"),
        (&codings, 400, "repeated-transfer-encoding"),
    ])
    .await;
}

#[tokio::test]
async fn a_length_that_is_no_plain_number_is_refused() {
    let lengths = ["+5", "-5", "0x5", "5 5", "", "9223372036854775808"];
    let scripts = lengths.map(|length| post(&format!("Content-Length: {length}\r\n")));
    let scripts = scripts
        .each_ref()
        .map(|script| (script.as_str(), 400, "bad-content-length"));
    assert_all_refused(&scripts).await;
}

#[tokio::test]
async fn a_transfer_coding_other_than_chunked_alone_is_refused() {
    let codings = [
        "gzip",
        "chunked, gzip",
        "gzip, chunked",
        "xchunked",
        "chunked,",
    ];
    let scripts = codings.map(|coding| post(&format!("Transfer-Encoding: {coding}\r\n")));
    let mut scripts: Vec<_> = scripts
        .iter()
        .map(|script| (script.as_str(), 501, "unsupported-transfer-coding"))
        .collect();
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    scripts.push((old, 400, "transfer-encoding-in-http-1.0"));
    assert_all_refused(&scripts).await;
}

#[tokio::test]
async fn header_lines_that_servers_read_differently_are_refused() {
    let get = |lines: &str| format!("GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n");
    assert_all_refused(&[
        (&get("X-A: b\r\n c\r\n"), 400, "line-folding"),
        (&get("X-A: b\n"), 400, "bare-lf"),
        (&get("X-A: b\rX-B: c\r\n"), 400, "bare-cr"),
        (&get("X-A: b\0c\r\n"), 400, "control-character"),
        (&get("X-A : b\r\n"), 400, "space-before-colon"),
        (
            &get("Transfer-Encoding : chunked\r\n"),
            400,
            "space-before-colon",
        ),
        (&get("X-A b\r\n"), 400, "missing-colon"),
        (&get(": b\r\n"), 400, "bad-field-name"),
        (&get("X(A): b\r\n"), 400, "bad-field-name"),
        ("GET / HTTP/1.1\nHost: test\n\n", 400, "bare-lf"),
        ("GET /\rx HTTP/1.1\r\nHost: test\r\n\r\n", 400, "bare-cr"),
        ("\r\n\r\n\r\n", 400, "empty-lines"),
    ])
    .await;
}

#[tokio::test]
async fn a_host_that_is_missing_doubled_or_malformed_is_refused() {
    let get = |hosts: &str| format!("GET / HTTP/1.1\r\n{hosts}\r\n");
    assert_all_refused(&[
        (&get(""), 400, "missing-host"),
        (&get("Host: a\r\nHost: b\r\n"), 400, "repeated-host"),
        (&get("Host: a\r\nHost: a\r\n"), 400, "repeated-host"),
        (&get("Host:\r\n"), 400, "bad-host"),
        (&get("Host: a, b\r\n"), 400, "bad-host"),
        (&get("Host: user@a\r\n"), 400, "bad-host"),
        (&get("Host: a/b\r\n"), 400, "bad-host"),
        (&get("Host: a:65536\r\n"), 400, "bad-host"),
        (&get("Host: [::1\r\n"), 400, "bad-host"),
    ])
    .await;
}

#[tokio::test]
async fn methods_targets_and_versions_outside_of_the_contract_are_refused() {
    let line = |line: &str| format!("{line}\r\nHost: test\r\n\r\n");
    assert_all_refused(&[
        (&line("CONNECT test:443 HTTP/1.1"), 405, "connect-method"),
        (&line("G@T / HTTP/1.1"), 400, "bad-method"),
        (&line("GET x HTTP/1.1"), 400, "bad-target"),
        (&line("GET * HTTP/1.1"), 400, "bad-target"),
        (&line("GET /a b HTTP/1.1"), 400, "bad-target"),
        (&line("GET /a#b HTTP/1.1"), 400, "bad-target"),
        (&line("GET ftp://test/ HTTP/1.1"), 400, "bad-target"),
        (&line("GET http://user@test/ HTTP/1.1"), 400, "bad-target"),
        (&line("GET / HTTP/1.2"), 505, "unsupported-version"),
        (&line("GET / HTTP/3.0"), 505, "unsupported-version"),
        (&line("GET / HTTP/1.1 "), 400, "bad-request-line"),
        (&line("GET /"), 400, "bad-request-line"),
        (&line("PRI * HTTP/2.0"), 505, "unsupported-version"),
    ])
    .await;
}

#[tokio::test]
async fn trace_is_refused_and_the_connection_goes_on() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let script = "TRACE / HTTP/1.1\r\nHost: test\r\n\r\nGET /next HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let answer = weir.exchange(script.as_bytes()).await;
    assert_reason(&answer, 405, "method_refused");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    assert_eq!(backend.next().await.line(), "GET /next HTTP/1.1");
    backend.saw_nothing_else(&weir).await;
}

#[tokio::test]
async fn a_head_beyond_its_bounds_is_refused() {
    let lines = |count| "X-A: b\r\n".repeat(count);
    let get = |lines: &str| format!("GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n");
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: test\r\n\r\n",
        "a".repeat(16 << 10)
    );
    assert_all_refused(&[
        (&get(&lines(100)), 431, "too-many-headers"),
        (
            &get(&format!("X-A: {}\r\n", "b".repeat(64 << 10))),
            431,
            "head-too-large",
        ),
        (
            &get(&format!("X-A: {}", "b".repeat(65 << 10))),
            431,
            "head-too-large",
        ),
        (&long, 414, "target-too-long"),
    ])
    .await;
}

#[tokio::test]
async fn a_head_within_its_bounds_passes_whole() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let many = "X-A: b\r\n".repeat(98);
    let big = format!("X-A: {}\r\n", "b".repeat(63 << 10));
    for fields in [many, big] {
        let script = format!("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{fields}\r\n");
        let answer = weir.exchange(script.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let seen = backend.next().await;
        assert_eq!(seen.values("x-a").len(), fields.matches("X-A").count());
        assert!(seen.values("x-a").concat().len() > 90);
    }
}

#[tokio::test]
async fn a_chunked_body_with_unsound_framing_never_becomes_a_whole_request() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    for body in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-A : b\r\n\r\n",
    ] {
        let script = format!("{CHUNKED}{body}{SMUGGLED}");
        let answer = weir.exchange(script.as_bytes()).await;
        assert_reason(&answer, 400, "client_body_cut");
        assert_eq!(values(&answer, "connection"), ["close"], "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    backend.saw_nothing_else(&weir).await;
}
