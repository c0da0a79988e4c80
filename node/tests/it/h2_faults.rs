//! Faults where HTTP/2 is spoken, on either side.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::Client;
use crate::common::{Backend, PATIENCE, Weir, scripted_backend, web};
use crate::faulty::Fault;

/// What an HTTP/2 backend does with each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum H2Fault {
    Refuse,
    Hang,
    ResetBefore,
    CutBody(Reason),
    AnswerAndReset,
}

type Stream = (Request<RecvStream>, SendResponse<Bytes>);

/// Streams that the node gave up are counted.
async fn h2_backend(fault: H2Fault) -> (SocketAddr, Arc<AtomicUsize>) {
    let given_up = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&given_up);
    let address = scripted_backend(move |stream: TcpStream| {
        let counted = Arc::clone(&counted);
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok(stream)) = connection.accept().await {
                tokio::spawn(act(fault, stream, Arc::clone(&counted)));
            }
        }
    })
    .await;
    (address, given_up)
}

async fn act(fault: H2Fault, (request, mut respond): Stream, given_up: Arc<AtomicUsize>) {
    match fault {
        H2Fault::Refuse => respond.send_reset(Reason::REFUSED_STREAM),
        H2Fault::ResetBefore => respond.send_reset(Reason::INTERNAL_ERROR),
        H2Fault::Hang => {
            // The request's body is not taken either.
            let ended = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            assert_eq!(ended.unwrap(), Reason::CANCEL);
            given_up.fetch_add(1, Ordering::Relaxed);
            drop(request);
        }
        H2Fault::CutBody(reason) => {
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"hello"), false).unwrap();
            // The data must be on its way before the reset takes its place.
            tokio::time::sleep(Duration::from_millis(20)).await;
            body.send_reset(reason);
        }
        H2Fault::AnswerAndReset => {
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"enough\n"), true)
                .unwrap();
            drop(request);
        }
    }
}

async fn node_with(fault: H2Fault) -> (Weir, Arc<AtomicUsize>) {
    let (address, given_up) = h2_backend(fault).await;
    let keys = "protocol = \"http2\"\ntimeouts = { read = \"300ms\", send = \"300ms\" }";
    (Weir::start(&web(&[address], keys)).await, given_up)
}

async fn h2_client(weir: &Weir) -> SendRequest<Empty<Bytes>> {
    let io = TokioIo::new(weir.connect().await);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get(weir: &Weir, path: &str) -> Request<Empty<Bytes>> {
    let uri = format!("http://{}{path}", weir.ingress);
    Request::get(uri).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn an_http2_backend_without_an_answer_gives_one_answer_with_its_reason() {
    let cases = [
        (H2Fault::ResetBefore, 502, "backend_reset"),
        (H2Fault::Refuse, 502, "backend_reset"),
        (H2Fault::Hang, 504, "read_timeout"),
    ];
    for (fault, status, reason) in cases {
        let (weir, _) = node_with(fault).await;
        let answer = Client::connect(weir.ingress).await.get("/").await.unwrap();
        assert_eq!(answer.status, status, "{fault:?}: {answer:?}");
        assert_eq!(answer.header("x-weir-reason"), Some(reason), "{fault:?}");
    }
}

#[tokio::test]
async fn a_stream_that_the_node_gives_up_is_reset_at_the_backend() {
    let (weir, given_up) = node_with(H2Fault::Hang).await;
    let mut client = Client::connect(weir.ingress).await;
    for _ in 0..3 {
        client.get("/").await.unwrap();
    }
    // More than the first window holds.
    let body = "b".repeat(1 << 20);
    let answer = Client::connect(weir.ingress)
        .await
        .post("/", &body)
        .await
        .unwrap();
    assert_eq!(answer.header("x-weir-reason"), Some("send_timeout"));
    let all = async {
        while given_up.load(Ordering::Relaxed) < 4 {
            tokio::task::yield_now().await;
        }
    };
    let seen = timeout(PATIENCE / 4, all).await;
    assert!(
        seen.is_ok(),
        "{} of 4 were reset",
        given_up.load(Ordering::Relaxed)
    );
}

#[tokio::test]
async fn a_body_that_an_http2_backend_resets_does_not_look_whole() {
    for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL] {
        let (weir, _) = node_with(H2Fault::CutBody(reason)).await;
        let over_h1 = Client::connect(weir.ingress).await.get("/").await;
        assert!(over_h1.is_err(), "{reason:?}: {over_h1:?}");
        let mut client = h2_client(&weir).await;
        // The reset may overtake the head.
        if let Ok(answer) = client.send_request(get(&weir, "/")).await {
            let body = answer.into_body().collect().await;
            assert!(body.is_err(), "{reason:?}: {body:?}");
        }
        let reason = "weir_own_answers_total{reason=\"backend_body_cut\"}";
        assert_eq!(weir.metric(reason).await, 2.0);
    }
}

#[tokio::test]
async fn an_early_answer_of_an_http2_backend_is_whole() {
    let (weir, _) = node_with(H2Fault::AnswerAndReset).await;
    let body = "b".repeat(256 << 10);
    for _ in 0..5 {
        let answer = Client::connect(weir.ingress).await.post("/", &body).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "enough\n"));
    }
}

#[tokio::test]
async fn a_cut_answer_resets_its_stream_and_no_other() {
    let cut = Fault::CutChunk.listen().await;
    let good = Backend::start("good").await;
    let config = format!(
        "[services.cut]\nbackends = [\"{cut}\"]\n[services.good]\nbackends = [\"{}\"]\n\
         [[routes]]\nservice = \"cut\"\npath = \"/cut\"\n[[routes]]\nservice = \"good\"\n",
        good.address
    );
    let weir = Weir::start(&config).await;
    let mut client = h2_client(&weir).await;
    let slow = client.send_request(get(&weir, "/slow?ms=300"));
    let cut = client.send_request(get(&weir, "/cut"));
    let (slow, cut) = tokio::join!(slow, cut);
    // The reset may overtake the head.
    if let Ok(cut) = cut {
        assert!(cut.into_body().collect().await.is_err());
    }
    let whole = slow.unwrap().into_body().collect().await.unwrap();
    assert_eq!(whole.to_bytes(), "good answers after 300 ms\n");
}

#[tokio::test]
async fn a_grpc_client_is_told_in_its_own_words() {
    let weir = Weir::start(&web(&[Fault::Close.listen().await], "")).await;
    let mut client = h2_client(&weir).await;
    let mut request = get(&weir, "/weir.demo.v1.Echo/Unary");
    *request.method_mut() = http::Method::POST;
    let grpc = http::HeaderValue::from_static("application/grpc");
    request.headers_mut().insert("content-type", grpc);
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["grpc-status"], "14");
    assert_eq!(answer.headers()["x-weir-reason"], "backend_reset");
}
