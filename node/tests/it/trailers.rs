//! Trailers pass from end to end where the protocols of both sides carry them.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};

use crate::common::{Weir, scripted_backend, web};
use crate::http2::{Http2, body_of, head, whole};
use crate::recorder::{Recorder, values};

const ANSWER: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                      2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: test\r\nConnection: close, TE\r\nTE: trailers\r\nTrailer: x-sum\r\n\
                    Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx-sum: 9\r\n\r\n";

fn sum(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static(value))])
}

/// An HTTP/2 backend that answers with the body and trailers it gets, and one trailer of its own.
async fn http2_backend() -> std::net::SocketAddr {
    scripted_backend(|stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                let mut from_client = request.into_body();
                let body = body_of(&mut from_client).await.unwrap();
                let got = from_client.trailers().await.unwrap().unwrap_or_default();
                let answer = Response::builder()
                    .header("trailer", "x-sum")
                    .body(())
                    .unwrap();
                let mut stream = respond.send_response(answer, false).unwrap();
                stream.send_data(body, false).unwrap();
                let mut trailers = sum("7");
                trailers.insert("x-got", HeaderValue::from(got.len()));
                stream.send_trailers(trailers).unwrap();
            });
        }
    })
    .await
}

#[tokio::test]
async fn http1_trailers_pass_both_ways() {
    let mut backend = Recorder::answering(|_| ANSWER.to_owned()).await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let answer = weir.exchange(POST.as_bytes()).await;
    assert!(
        answer.ends_with("2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n"),
        "{answer}"
    );
    assert_eq!(values(&answer, "trailer"), ["x-sum"]);
    let seen = backend.next().await;
    assert!(seen.body.ends_with("0\r\nx-sum: 9\r\n\r\n"), "{seen:?}");
    assert_eq!(seen.value("trailer"), "x-sum");
    assert_eq!(seen.value("te"), "trailers");
}

#[tokio::test]
async fn a_client_that_does_not_take_trailers_gets_none() {
    let backend = Recorder::answering(|_| ANSWER.to_owned()).await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let answer = weir.get("/").await;
    assert!(answer.ends_with("2\r\nok\r\n0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn http2_trailers_pass_both_ways() {
    let backend = http2_backend().await;
    let weir = Weir::start(&web(&[backend], "protocol = \"http2\"")).await;
    let mut client = Http2::connect(&weir).await;
    let (response, mut stream) = client.send(head("POST", "/", &[]), false).await;
    stream.send_data(Bytes::from("ab"), false).unwrap();
    stream.send_trailers(sum("9")).unwrap();
    let answer = whole(response).await.unwrap();
    assert_eq!(answer.body, "ab");
    let trailers = answer.trailers.unwrap();
    assert_eq!(
        (&trailers["x-sum"], &trailers["x-got"]),
        (&"7".parse().unwrap(), &"1".parse().unwrap())
    );
}

#[tokio::test]
async fn trailers_pass_between_http1_and_http2() {
    let backend = http2_backend().await;
    let weir = Weir::start(&web(&[backend], "protocol = \"http2\"")).await;
    let answer = weir.exchange(POST.as_bytes()).await;
    assert!(answer.contains("\r\n0\r\nx-sum: 7\r\n"), "{answer}");
    let backend = Recorder::answering(|_| ANSWER.to_owned()).await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let mut client = Http2::connect(&weir).await;
    let answer = client
        .get(head("GET", "/", &[("te", "trailers")]))
        .await
        .unwrap();
    assert_eq!(answer.trailers, Some(sum("7")));
}

#[tokio::test]
async fn trailers_that_would_frame_or_route_a_message_are_dropped() {
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let backend = scripted_backend(move |stream| {
        let sender = sender.clone();
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move {
                    let mut from_client = request.into_body();
                    body_of(&mut from_client).await.unwrap();
                    sender.send(from_client.trailers().await.unwrap()).unwrap();
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    let mut trailers = sum("7");
                    trailers.insert("host", HeaderValue::from_static("evil"));
                    trailers.insert("content-length", HeaderValue::from_static("5"));
                    stream.send_trailers(trailers).unwrap();
                });
            }
        }
    })
    .await;
    let weir = Weir::start(&web(&[backend], "protocol = \"http2\"")).await;
    let mut client = Http2::connect(&weir).await;
    let (response, mut stream) = client.send(head("POST", "/", &[]), false).await;
    let mut trailers = sum("9");
    trailers.insert("host", HeaderValue::from_static("evil"));
    trailers.insert("content-length", HeaderValue::from_static("5"));
    stream.send_trailers(trailers).unwrap();
    let answer = whole(response).await.unwrap();
    assert_eq!(answer.trailers, Some(sum("7")));
    assert_eq!(seen.recv().await.unwrap(), Some(sum("9")));
}
