//! HTTP/2 requests that would not survive the way into HTTP/1.1 are refused.

use http::StatusCode;

use crate::common::{Weir, web};
use crate::http2::{Http2, head, whole};
use crate::recorder::Recorder;

#[tokio::test]
async fn an_authority_that_contradicts_host_is_refused() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let mut client = Http2::connect(&weir).await;
    for host in ["other", "test:80", "test, other"] {
        let answer = client
            .get(head("GET", "/", &[("host", host)]))
            .await
            .unwrap();
        assert_eq!(answer.head.status(), StatusCode::BAD_REQUEST);
        assert_eq!(answer.header("x-weir-reason"), "bad_authority");
    }
    let twice = [("host", "test"), ("host", "test")];
    let answer = client.get(head("GET", "/", &twice)).await.unwrap();
    assert_eq!(answer.header("x-weir-reason"), "bad_authority");
    let answer = client
        .get(head("GET", "/same", &[("host", "TEST")]))
        .await
        .unwrap();
    assert_eq!(answer.head.status(), StatusCode::OK);
    let seen = backend.next().await;
    assert_eq!(
        (seen.line(), seen.value("host")),
        ("GET /same HTTP/1.1", "test")
    );
    backend.saw_nothing_else(&weir).await;
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_its_length_says_never_becomes_a_whole_request() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let mut client = Http2::connect(&weir).await;
    for body in ["12345", "123"] {
        let request = head("POST", "/", &[("content-length", "4")]);
        let (response, mut stream) = client.send(request, false).await;
        stream.send_data(body.into(), true).unwrap();
        match whole(response).await {
            Ok(answer) => assert!(answer.head.status().is_client_error(), "{answer:?}"),
            Err(error) => assert_eq!(error.reason(), Some(h2::Reason::PROTOCOL_ERROR)),
        }
    }
    backend.saw_nothing_else(&weir).await;
}

#[tokio::test]
async fn methods_and_paths_outside_of_the_contract_are_refused() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let mut client = Http2::connect(&weir).await;
    let answer = client.get(head("TRACE", "/", &[])).await.unwrap();
    assert_eq!(answer.header("x-weir-reason"), "method_refused");
    let answer = client.get(head("GET", "/a%00b", &[])).await.unwrap();
    assert_eq!(answer.header("x-weir-reason"), "bad_path");
    backend.saw_nothing_else(&weir).await;
}

#[tokio::test]
async fn a_header_list_beyond_its_bound_is_refused_and_the_connection_goes_on() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let mut client = Http2::connect(&weir).await;
    let long = "a".repeat(8 << 10);
    let names: Vec<String> = (0..9).map(|at| format!("x-{at}")).collect();
    let fields: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), long.as_str()))
        .collect();
    let answer = client.get(head("GET", "/", &fields)).await.unwrap();
    assert_eq!(
        answer.head.status(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    let answer = client.get(head("GET", "/fine", &[])).await.unwrap();
    assert_eq!(answer.head.status(), StatusCode::OK);
    assert_eq!(backend.next().await.line(), "GET /fine HTTP/1.1");
    backend.saw_nothing_else(&weir).await;
}
