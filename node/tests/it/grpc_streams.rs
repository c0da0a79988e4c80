//! How gRPC streams end early: by deadlines, cancellation and resets, seen from both ends.

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::common::{PATIENCE, Weir, scripted_backend, web};
use crate::http2::{Http2, body_of, head, whole};

/// An empty gRPC message.
const MESSAGE: Bytes = Bytes::from_static(&[0, 0, 0, 0, 0]);

/// What a backend sees of its streams.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Message(usize),
    End,
    Reset(Reason),
}

/// What a backend does with a stream besides reading it.
#[derive(Clone, Copy)]
enum Does {
    Nothing,
    AnswerOnce,
    AnswerThenReset,
    AnswerWithoutTrailers,
}

/// Tells what it sees of each stream; never ends one in good order.
async fn watching_backend(does: Does) -> (SocketAddr, mpsc::UnboundedReceiver<Seen>) {
    let (sender, seen) = mpsc::unbounded_channel();
    let address = scripted_backend(move |stream| {
        let sender = sender.clone();
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    let mut answer = None;
                    if !matches!(does, Does::Nothing) {
                        let head = Response::builder().header("content-type", "application/grpc");
                        let mut stream = respond
                            .send_response(head.body(()).unwrap(), false)
                            .unwrap();
                        let last = matches!(does, Does::AnswerWithoutTrailers);
                        stream.send_data(MESSAGE, last).unwrap();
                        answer = Some(stream);
                    }
                    loop {
                        tokio::select! {
                            part = body.data() => match part {
                                Some(Ok(part)) if part.is_empty() => {}
                                Some(Ok(part)) => {
                                    let _ = body.flow_control().release_capacity(part.len());
                                    let _ = sender.send(Seen::Message(part.len()));
                                    if matches!(does, Does::AnswerThenReset) {
                                        respond.send_reset(Reason::ENHANCE_YOUR_CALM);
                                        return;
                                    }
                                }
                                Some(Err(error)) => {
                                    let _ = sender.send(Seen::Reset(error.reason().unwrap()));
                                    return;
                                }
                                None => break,
                            },
                        }
                    }
                    let _ = sender.send(Seen::End);
                    let reset = match &mut answer {
                        Some(stream) => poll_fn(|cx| stream.poll_reset(cx)).await,
                        None => poll_fn(|cx| respond.poll_reset(cx)).await,
                    };
                    if let Ok(reason) = reset {
                        let _ = sender.send(Seen::Reset(reason));
                    }
                });
            }
        }
    })
    .await;
    (address, seen)
}

async fn next(seen: &mut mpsc::UnboundedReceiver<Seen>) -> Seen {
    timeout(PATIENCE, seen.recv())
        .await
        .expect("nothing is seen")
        .unwrap()
}

fn call(fields: &[(&str, &str)]) -> Request<()> {
    let mut request = head("POST", "/a.B/C", fields);
    let headers = request.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    request
}

async fn node(backend: SocketAddr) -> (Weir, Http2) {
    let weir = Weir::start(&web(&[backend], "protocol = \"grpc\"")).await;
    let client = Http2::connect(&weir).await;
    (weir, client)
}

fn status(headers: &HeaderMap) -> &str {
    headers["grpc-status"].to_str().unwrap()
}

#[tokio::test]
async fn each_message_of_a_client_stream_arrives_before_the_next_is_sent() {
    let (backend, mut seen) = watching_backend(Does::Nothing).await;
    let (_weir, mut client) = node(backend).await;
    let (_response, mut stream) = client.send(call(&[]), false).await;
    for _ in 0..10 {
        stream.send_data(MESSAGE, false).unwrap();
        assert_eq!(next(&mut seen).await, Seen::Message(5));
    }
    stream.send_data(Bytes::new(), true).unwrap();
    assert_eq!(next(&mut seen).await, Seen::End);
}

#[tokio::test]
async fn a_deadline_before_the_answer_gives_status_4_and_cancels_the_backends_stream() {
    let (backend, mut seen) = watching_backend(Does::Nothing).await;
    let (weir, mut client) = node(backend).await;
    for ended in [true, false] {
        let (response, mut stream) = client.send(call(&[("grpc-timeout", "150m")]), false).await;
        stream.send_data(MESSAGE, ended).unwrap();
        let answer = whole(response).await.unwrap();
        assert_eq!(status(answer.head.headers()), "4");
        assert_eq!(answer.header("x-weir-reason"), "deadline_exceeded");
        assert_eq!(next(&mut seen).await, Seen::Message(5));
        if ended {
            assert_eq!(next(&mut seen).await, Seen::End);
        }
        assert_eq!(
            next(&mut seen).await,
            Seen::Reset(Reason::CANCEL),
            "{ended}"
        );
    }
    weir.wait_for_metric("weir_requests_in_flight", |count| count == 0.0)
        .await;
}

#[tokio::test]
async fn a_deadline_within_the_answer_gives_status_4_in_trailers_and_cancels_the_backends_stream() {
    let (backend, mut seen) = watching_backend(Does::AnswerOnce).await;
    let (weir, mut client) = node(backend).await;
    for ended in [true, false] {
        let (response, mut stream) = client.send(call(&[("grpc-timeout", "150m")]), false).await;
        stream.send_data(MESSAGE, ended).unwrap();
        let answer = whole(response).await.unwrap();
        assert_eq!(answer.body, MESSAGE);
        assert_eq!(status(&answer.trailers.unwrap()), "4");
        assert_eq!(next(&mut seen).await, Seen::Message(5));
        if ended {
            assert_eq!(next(&mut seen).await, Seen::End);
        }
        assert_eq!(
            next(&mut seen).await,
            Seen::Reset(Reason::CANCEL),
            "{ended}"
        );
    }
    weir.wait_for_metric("weir_requests_in_flight", |count| count == 0.0)
        .await;
}

#[tokio::test]
async fn a_clients_cancel_reaches_the_backend_as_cancel() {
    for does in [Does::Nothing, Does::AnswerOnce] {
        let (backend, mut seen) = watching_backend(does).await;
        let (weir, mut client) = node(backend).await;
        for ended in [true, false] {
            let (response, mut stream) = client.send(call(&[]), false).await;
            stream.send_data(MESSAGE, ended).unwrap();
            assert_eq!(next(&mut seen).await, Seen::Message(5));
            if ended {
                assert_eq!(next(&mut seen).await, Seen::End);
            }
            let mut answer = None;
            if matches!(does, Does::AnswerOnce) {
                answer = Some(response.await.unwrap());
            }
            stream.send_reset(Reason::CANCEL);
            assert_eq!(
                next(&mut seen).await,
                Seen::Reset(Reason::CANCEL),
                "{ended}"
            );
            drop(answer);
        }
        weir.wait_for_metric("weir_requests_in_flight", |count| count == 0.0)
            .await;
        assert_eq!(weir.metric("weir_backend_in_flight").await, 0.0);
    }
}

#[tokio::test]
async fn a_stream_that_the_backend_resets_does_not_end_in_good_order() {
    let (backend, _seen) = watching_backend(Does::AnswerThenReset).await;
    let (weir, mut client) = node(backend).await;
    let (response, mut stream) = client.send(call(&[]), false).await;
    let (_, mut body) = response.await.unwrap().into_parts();
    stream.send_data(MESSAGE, false).unwrap();
    let error = body_of(&mut body).await.unwrap_err();
    assert!(error.is_reset(), "{error}");
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    weir.wait_for_metric("weir_backend_failures_total", |count| count == 1.0)
        .await;
}

#[tokio::test]
async fn an_answer_without_trailers_passes_as_it_is() {
    let (backend, _seen) = watching_backend(Does::AnswerWithoutTrailers).await;
    let (_weir, mut client) = node(backend).await;
    let answer = client.get(call(&[])).await.unwrap();
    assert_eq!((answer.body, answer.trailers), (MESSAGE, None));
}
