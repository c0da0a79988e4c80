//! Only what a backend did counts as its failure.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::common::{Weir, read_to_end, scripted_backend, web};
use crate::faulty::{Fault, read_head};
use crate::recorder::assert_reason;

const FAILURES: &str = "weir_backend_failures_total";

/// A backend that reads what comes and answers, on `/early`, before the upload's end.
async fn patient() -> SocketAddr {
    scripted_backend(|mut stream: TcpStream| async move {
        let Some(head) = read_head(&mut stream).await else {
            return;
        };
        if head.starts_with("POST /early ") {
            let begin = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
            stream.write_all(begin).await.unwrap();
        }
        // Ends with the connection.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await
}

/// Asserts that clients that rest in their uploads are cut for `reason`, and that nobody is blamed.
async fn rest(ingress_keys: &str, timeouts: &str, head: &str, reason: &str) {
    let address = patient().await;
    let keys = format!("timeouts = {timeouts}\nejection = {{ consecutive_failures = 3 }}");
    let weir = Weir::start_with(ingress_keys, &web(&[address], &keys)).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = weir.connect().await;
        let head = format!("{head}\r\nHost: test\r\nContent-Length: 10\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        clients.push(client);
    }
    for mut client in clients {
        read_to_end(&mut client).await;
    }
    let counted = format!("weir_own_answers_total{{reason=\"{reason}\"}}");
    assert_eq!(weir.metric(&counted).await, 6.0, "{head}");
    assert_eq!(weir.metric(FAILURES).await, 0.0, "{head}");
    let backend = weir.backend(&address.to_string()).await;
    assert_eq!(backend["standing"], "in", "{backend}");
}

const GRPC: &str = "\r\nContent-Type: application/grpc";

#[tokio::test]
async fn a_client_that_rests_in_its_upload_is_no_failure_of_the_backend() {
    // The backend's time is over first, but it waits for nobody but the client.
    let wait = "body_idle_timeout = \"400ms\"";
    for path in ["/", "/early"] {
        let head = format!("POST {path} HTTP/1.1");
        rest(wait, "{ read = \"200ms\" }", &head, "client_body_timeout").await;
    }
}

#[tokio::test]
async fn a_grpc_client_that_rests_in_its_upload_is_no_failure_of_the_backend() {
    for path in ["/", "/early"] {
        let head = format!("POST {path} HTTP/1.1{GRPC}");
        rest("", "{ read = \"200ms\" }", &head, "stream_idle").await;
    }
}

#[tokio::test]
async fn a_client_that_rests_until_the_total_timeout_is_no_failure_of_the_backend() {
    for path in ["/", "/early"] {
        for grpc in ["", GRPC] {
            let head = format!("POST {path} HTTP/1.1{grpc}");
            rest("", "{ total = \"200ms\" }", &head, "total_timeout").await;
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_the_backend_no_time_is_no_failure_of_the_backend() {
    let address = patient().await;
    let keys = "timeouts = { total = \"500ms\" }";
    let weir = Weir::start(&web(&[address], keys)).await;
    let mut client = weir.connect().await;
    let head = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
    client.write_all(head).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    client.write_all(b"hello").await.unwrap();
    assert_reason(&read_to_end(&mut client).await, 504, "total_timeout");
    assert_eq!(weir.metric(FAILURES).await, 0.0);
}

#[tokio::test]
async fn a_backend_without_an_answer_at_the_total_timeout_has_failed() {
    let address = Fault::Hang.listen().await;
    let keys = "timeouts = { read = \"20s\", total = \"100ms\" }";
    let weir = Weir::start(&web(&[address], keys)).await;
    for _ in 0..3 {
        assert_reason(&weir.get("/").await, 504, "total_timeout");
    }
    let whole =
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    let answer = weir.exchange(whole.as_bytes()).await;
    assert_reason(&answer, 504, "total_timeout");
    assert_eq!(weir.metric(FAILURES).await, 4.0);
}
