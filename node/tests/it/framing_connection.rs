//! What a refusal or a deadline on a connection means for the requests before it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::{Weir, read_to_end, read_until, scripted_backend, web};
use crate::recorder::{Recorder, assert_reason, read_request};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

#[tokio::test]
async fn a_bad_request_behind_a_good_one_is_refused_after_the_good_one_was_answered() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let bad = "GET /bad HTTP/1.1\r\nHost: test\r\nHost: test\r\n\r\n";
    let answers = weir.exchange(format!("{GET}{bad}{GET}").as_bytes()).await;
    let (first, second) = answers.split_at(answers.rfind("HTTP/1.1").unwrap());
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
    assert!(first.ends_with("ok"), "{answers}");
    assert_reason(second, 400, "repeated-host");
    assert_eq!(answers.matches("HTTP/1.1").count(), 2, "{answers}");
    assert_eq!(backend.next().await.line(), "GET / HTTP/1.1");
    backend.saw_nothing_else(&weir).await;
}

#[tokio::test]
async fn bytes_behind_a_body_are_a_new_request_however_they_are_split() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let script = "POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabcPOST /b HTTP/1.1\r\nHost: test\r\n\
        Transfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n\
        GET /c HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    for size in [1, 7, script.len()] {
        let mut client = weir.connect().await;
        for part in script.as_bytes().chunks(size) {
            client.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        let answers = read_to_end(&mut client).await;
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
        let seen = [
            backend.next().await,
            backend.next().await,
            backend.next().await,
        ];
        assert_eq!(
            seen.each_ref().map(|r| r.line()[..7].trim()),
            ["POST /a", "POST /b", "GET /c"]
        );
        assert_eq!(seen[0].body, "abc");
        assert_eq!(seen[1].data(), "def");
    }
}

#[tokio::test]
async fn the_absolute_form_wins_over_host_and_the_backend_sees_one_host() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let script = "GET http://Real.test:81/x?y HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n";
    weir.exchange(script.as_bytes()).await;
    let seen = backend.next().await;
    assert_eq!(seen.line(), "GET /x?y HTTP/1.1");
    assert_eq!(seen.value("host"), "Real.test:81");
    assert_eq!(seen.value("x-forwarded-host"), "Real.test:81");
}

#[tokio::test]
async fn a_head_that_does_not_end_in_time_is_answered_with_408() {
    let backend = Recorder::start().await;
    let keys = "header_timeout = \"150ms\"";
    let weir = Weir::start_with(keys, &web(&[backend.address], "")).await;
    let mut client = weir.connect().await;
    // One byte at a time does not extend the deadline.
    let mut trickle = GET.as_bytes()[..GET.len() - 1].iter();
    let answer = loop {
        let mut answer = [0; 1024];
        tokio::select! {
            read = client.read(&mut answer) => break String::from_utf8_lossy(&answer[..read.unwrap()]).into_owned(),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
        client.write_all(&[*trickle.next().unwrap()]).await.unwrap();
    };
    assert_reason(&answer, 408, "header-timeout");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(weir.metric("weir_head_timeouts_total").await, 1.0);
}

#[tokio::test]
async fn a_slow_next_head_does_not_cut_the_answer_that_is_under_way() {
    let address = scripted_backend(|mut stream| async move {
        read_request(&mut stream).await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfi";
        stream.write_all(head).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        stream.write_all(b"rst").await.unwrap();
    })
    .await;
    let keys = "header_timeout = \"150ms\"";
    let weir = Weir::start_with(keys, &web(&[address], "")).await;
    let script = format!("{GET}GET /next HT");
    let answers = weir.exchange(script.as_bytes()).await;
    let (first, second) = answers.split_once("first").expect(&answers);
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
    assert_reason(second, 408, "header-timeout");
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_after_the_keep_alive_time() {
    let backend = Recorder::start().await;
    let keys = "keep_alive_timeout = \"150ms\"";
    let weir = Weir::start_with(keys, &web(&[backend.address], "")).await;
    let mut client = weir.connect().await;
    client.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut client, "ok").await;
    let before = tokio::time::Instant::now();
    assert_eq!(read_to_end(&mut client).await, "");
    assert!(before.elapsed() >= Duration::from_millis(100));
    // A client that never says a word has the time of a head.
    let keys = "header_timeout = \"150ms\"";
    let weir = Weir::start_with(keys, &web(&[backend.address], "")).await;
    assert_eq!(read_to_end(&mut weir.connect().await).await, "");
}
