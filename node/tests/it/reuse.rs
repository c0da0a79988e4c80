//! Connections to backends carry the next request only if nothing of the last one is left on them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::common::{PATIENCE, Weir, read_until, scripted_backend, web};
use crate::http2::{Http2, head};
use crate::operator::wait_until;
use crate::recorder::{Recorder, read_head};

const ONE_CORE: [(&str, &str); 1] = [("WEIR_NODE__CORES", "1")];

const SIZES: [usize; 4] = [2_700, 2_900, 3_100, 3_300];
/// How long the node takes to pass on what buffers hold; measured: 20 ms.
const PASSES_ON: Duration = Duration::from_millis(150);

/// A backend that takes nothing of an upload and refuses it when told to.
async fn unwilling(refuse: Arc<Notify>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(refuse_uploads(stream, Arc::clone(&refuse)));
        }
    });
    address
}

async fn refuse_uploads(mut stream: TcpStream, refuse: Arc<Notify>) {
    while let Some(head) = read_head(&mut stream).await {
        if head.starts_with("POST ") {
            refuse.notified().await;
            let answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno";
            stream.write_all(answer).await.unwrap();
            return std::future::pending().await;
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(answer).await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_whose_upload_was_not_taken_does_not_delay_the_next_request() {
    let refuse = Arc::new(Notify::new());
    let address = unwilling(Arc::clone(&refuse)).await;
    let config = web(&[address], "timeouts = { send = \"3s\", read = \"3s\" }");
    let weir = Weir::start_in("", &config, &ONE_CORE).await;
    let mut delayed = 0;
    // One of these is more than the kernel's buffers hold, and no more than the node's beside them.
    for kilobytes in SIZES {
        let mut client = weir.connect().await;
        let length = kilobytes * 1_000;
        let head = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        // As far as it goes, so that the node has passed on what it can.
        let upload = vec![b'x'; length];
        let _ = timeout(PASSES_ON, client.write_all(&upload)).await;
        sleep(PASSES_ON).await;
        refuse.notify_one();
        let answer = read_until(&mut client, "\r\n\r\nno").await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        let reuses = weir.metric("weir_backend_reuses_total").await;
        let mut victim = Client::connect(weir.ingress).await;
        match timeout(Duration::from_secs(1), victim.get("/")).await {
            Ok(answer) => assert_eq!(answer.unwrap().status, 200, "{kilobytes} kB"),
            Err(_) => {
                // All was sent, as far as the node can know, and so was this: it waits for the backend.
                let sent = weir.metric("weir_backend_reuses_total").await > reuses;
                assert!(sent, "{kilobytes} kB: the request waits in the node");
                delayed += 1;
            }
        }
    }
    assert!(delayed < SIZES.len(), "no size was right");
}

#[tokio::test]
async fn a_connection_whose_answer_had_trailers_is_used_again() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                  3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n";
    let backend = Recorder::answering(move |_| answer.to_owned()).await;
    let config = web(&[backend.address], "");
    let weir = Weir::start_in("", &config, &ONE_CORE).await;
    let mut over_h2 = Http2::connect(&weir).await;
    for _ in 0..5 {
        let answer = over_h2.get(head("GET", "/", &[])).await.unwrap();
        assert_eq!(answer.trailers.expect("trailers")["x-sum"], "7");
        weir.wait_for_metric("weir_requests_in_flight", |count| count == 0.0)
            .await;
    }
    let mut over_h1 = weir.connect().await;
    for _ in 0..5 {
        let request = b"GET / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: te\r\n\r\n";
        over_h1.write_all(request).await.unwrap();
        read_until(&mut over_h1, "0\r\nx-sum: 7\r\n\r\n").await;
        weir.wait_for_metric("weir_requests_in_flight", |count| count == 0.0)
            .await;
    }
    assert_eq!(weir.metric("weir_backend_connects_total").await, 1.0);
    assert_eq!(weir.metric("weir_requests_abandoned_total").await, 0.0);
}

/// Answers at once and reports how each upload ends; takes few streams at a time.
async fn hasty(streams_max: u32) -> (SocketAddr, Arc<AtomicUsize>) {
    let resets = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&resets);
    let address = scripted_backend(move |stream: TcpStream| {
        let counted = Arc::clone(&counted);
        async move {
            let handshake = h2::server::Builder::new()
                .max_concurrent_streams(streams_max)
                .handshake::<_, bytes::Bytes>(stream);
            let mut connection = handshake.await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let refusal = http::Response::builder().status(403).body(()).unwrap();
                respond.send_response(refusal, true).unwrap();
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let mut upload = request.into_body();
                    if let Some(Err(error)) = upload.data().await {
                        assert!(error.is_reset() && error.is_remote(), "{error}");
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
    })
    .await;
    (address, resets)
}

#[tokio::test]
async fn an_early_answer_of_an_http2_backend_ends_the_uploads_stream() {
    const STREAMS: u32 = 4;
    let (address, resets) = hasty(STREAMS).await;
    let keys = "protocol = \"http2\"\npool = { h2_connections_max = 1 }\n\
                timeouts = { connect = \"2s\", read = \"2s\" }";
    let weir = Weir::start_in("", &web(&[address], keys), &ONE_CORE).await;
    let mut client = Http2::connect(&weir).await;
    let mut uploads = Vec::new();
    for sent in 1..=2 * STREAMS as usize {
        let (response, upload) = client.send(head("POST", "/", &[]), false).await;
        let answer = timeout(PATIENCE, response).await.unwrap().unwrap();
        assert_eq!(answer.status(), 403);
        // The client would go on.
        uploads.push(upload);
        wait_until(&weir, "the stream is reset", async || {
            resets.load(Ordering::Relaxed) == sent
        })
        .await;
    }
    let mut victim = Client::connect(weir.ingress).await;
    assert_eq!(victim.get("/").await.unwrap().status, 403);
    assert_eq!(weir.metric("weir_backend_connects_total").await, 1.0);
}
