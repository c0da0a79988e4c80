//! Whatever a backend does wrong, its client gets exactly one right answer or a clean cut.

use std::fmt::Write as _;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::client::{Answer, Broken, Client};
use crate::common::{Weir, read_to_end, scripted_backend};
use crate::faulty::{BlackHole, Fault, Refusing, read_head};

/// One service and one route for each backend, both of the backend's name.
fn services(backends: &[(String, SocketAddr)]) -> String {
    let mut config = String::new();
    for (name, address) in backends {
        let _ = writeln!(
            config,
            "[services.{name}]\nbackends = [\"{address}\"]\n\
             timeouts = {{ connect = \"200ms\", send = \"300ms\", read = \"400ms\" }}\n\
             [[routes]]\nservice = \"{name}\"\npath = \"/{name}\""
        );
    }
    config
}

async fn node_with(faults: &[Fault]) -> Weir {
    let mut backends = Vec::new();
    for fault in faults {
        backends.push((format!("{fault:?}"), fault.listen().await));
    }
    Weir::start(&services(&backends)).await
}

async fn own_answers(weir: &Weir, reason: &str) -> f64 {
    let name = format!("weir_own_answers_total{{reason=\"{reason}\"}}");
    weir.metric(&name).await
}

fn assert_is_own(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(answer.status, status, "{reason}: {answer:?}");
    assert_eq!(answer.header("x-weir-reason"), Some(reason), "{answer:?}");
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        json,
        serde_json::json!({ "status": status, "reason": reason })
    );
}

#[tokio::test]
async fn a_backend_without_an_answer_gives_one_answer_with_its_reason() {
    let cases = [
        (Fault::Reset, 502, "backend_reset"),
        (Fault::Close, 502, "backend_reset"),
        (Fault::ResetAfterHead, 502, "backend_reset"),
        (Fault::CutHead, 502, "backend_reset"),
        (Fault::Hang, 504, "read_timeout"),
        (Fault::HalfHead, 504, "read_timeout"),
        (Fault::EndlessInterim, 504, "read_timeout"),
        (Fault::Garbage, 502, "backend_invalid"),
        (Fault::TwoLengths, 502, "backend_invalid"),
        (Fault::EndlessHeaders, 502, "backend_invalid"),
        (Fault::EndlessHeader, 502, "backend_invalid"),
        (Fault::Switch, 502, "backend_invalid"),
    ];
    let weir = node_with(&cases.map(|(fault, ..)| fault)).await;
    let mut client = Client::connect(weir.ingress).await;
    for (fault, status, reason) in cases {
        let before = own_answers(&weir, reason).await;
        // The same connection all along: an answer too many would meet the next question.
        let answer = client.get(&format!("/{fault:?}")).await;
        let answer = answer.unwrap_or_else(|broken| panic!("{fault:?}: {broken:?}"));
        assert_is_own(&answer, status, reason);
        assert_eq!(own_answers(&weir, reason).await, before + 1.0, "{fault:?}");
    }
    weir.wait_for_metric("weir_requests_in_flight", |running| running == 0.0)
        .await;
}

#[tokio::test]
async fn a_backend_that_cannot_be_reached_gives_one_answer_with_its_reason() {
    let (refusing, black_hole) = (Refusing::new(), BlackHole::new());
    let backends = [
        ("refused".to_owned(), refusing.address()),
        ("lost".to_owned(), black_hole.address()),
    ];
    let weir = Weir::start(&services(&backends)).await;
    let mut client = Client::connect(weir.ingress).await;
    let refused = client.get("/refused").await.unwrap();
    assert_is_own(&refused, 502, "connect_failed");
    let lost = client.get("/lost").await.unwrap();
    assert_is_own(&lost, 504, "connect_timeout");
    assert_eq!(own_answers(&weir, "connect_failed").await, 1.0);
    assert_eq!(own_answers(&weir, "connect_timeout").await, 1.0);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_and_does_not_look_whole() {
    let cases = [
        (Fault::Short, "backend_body_cut"),
        (Fault::CutChunk, "backend_body_cut"),
        (Fault::BadChunk, "backend_body_cut"),
        (Fault::Stall, "read_timeout"),
    ];
    let weir = node_with(&cases.map(|(fault, _)| fault)).await;
    for (fault, reason) in cases {
        let before = own_answers(&weir, reason).await;
        let mut client = Client::connect(weir.ingress).await;
        match client.get(&format!("/{fault:?}")).await {
            Err(Broken::Cut(came)) => {
                assert!(came.starts_with("HTTP/1.1 200 OK\r\n"), "{fault:?}: {came}");
                assert_eq!(came.matches("HTTP/1.1").count(), 1, "{fault:?}: {came}");
            }
            other => panic!("{fault:?}: {other:?}"),
        }
        assert_eq!(own_answers(&weir, reason).await, before + 1.0, "{fault:?}");
    }
}

#[tokio::test]
async fn bytes_after_an_answer_reach_nobody() {
    let weir = node_with(&[Fault::Long]).await;
    let mut client = Client::connect(weir.ingress).await;
    for _ in 0..20 {
        let answer = client.get("/Long").await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    }
}

/// Sends an upload of 64 MiB as far as it is taken, and reads what is answered meanwhile.
async fn upload(weir: &Weir, path: &str) -> String {
    const MIB: usize = 1 << 20;
    let (mut reader, mut writer) = weir.connect().await.into_split();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
        64 * MIB
    );
    let sending = tokio::spawn(async move {
        writer.write_all(head.as_bytes()).await?;
        let part = vec![b'u'; MIB];
        for _ in 0..64 {
            writer.write_all(&part).await?;
        }
        Ok::<_, std::io::Error>(writer)
    });
    let answer = read_to_end(&mut reader).await;
    sending.abort();
    answer
}

#[tokio::test]
async fn a_backend_that_takes_no_upload_gives_send_timeout() {
    let weir = node_with(&[Fault::NeverRead]).await;
    let answer = upload(&weir, "/NeverRead").await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(
        answer.contains("x-weir-reason: send_timeout\r\n"),
        "{answer}"
    );
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert_eq!(own_answers(&weir, "send_timeout").await, 1.0);
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_reaches_the_client() {
    let weir = node_with(&[Fault::EarlyRefusal]).await;
    let answer = upload(&weir, "/EarlyRefusal").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.ends_with("big\n"), "{answer}");
}

#[tokio::test]
async fn a_small_upload_that_is_refused_early_leaves_the_connection_in_step() {
    let address = scripted_backend(|mut stream: TcpStream| async move {
        while read_head(&mut stream).await.is_some() {
            let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n";
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let weir = Weir::start(&services(&[("early".to_owned(), address)])).await;
    let mut client = Client::connect(weir.ingress).await;
    for _ in 0..20 {
        match client
            .post("/early", "GET /smuggled HTTP/1.1\r\n\r\n")
            .await
        {
            Ok(answer) if answer.closes() => client = Client::connect(weir.ingress).await,
            Ok(answer) => assert_eq!((answer.status, answer.text().as_str()), (403, "no\n")),
            Err(broken) => panic!("{broken:?}"),
        }
    }
}
