//! A client that takes nothing is cut in time, and stalls nobody else.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::client::Client;
use crate::common::{Backend, PATIENCE, Weir, web};
use crate::http2::{Http2, head};

const IN_FLIGHT: &str = "weir_requests_in_flight";
const LIMIT: Duration = Duration::from_millis(300);

fn own_answers(reason: &str) -> String {
    format!("weir_own_answers_total{{reason=\"{reason}\"}}")
}

/// A client that never opens its window, and one that opens it no further.
const STALLS: [(u32, &str); 2] = [(0, "/"), (65_535, "/bytes/1000000")];

/// Asserts that streams whose client takes nothing are cut for `reason`, at the limit that the keys set.
async fn are_cut(ingress_keys: &str, service_keys: &str, reason: &str) {
    for (window, path) in STALLS {
        let backend = Backend::start("one").await;
        let weir = Weir::start_with(ingress_keys, &web(&[backend.address], service_keys)).await;
        let mut client = Http2::connect_taking(&weir, window).await;
        let begun = Instant::now();
        let mut answers = Vec::new();
        for _ in 0..3 {
            let (response, _) = client.send(head("GET", path, &[]), true).await;
            answers.push(timeout(PATIENCE, response).await.unwrap().unwrap());
        }
        assert_eq!(weir.metric(IN_FLIGHT).await, 3.0);
        for answer in answers {
            let mut body = answer.into_body();
            let ended = async {
                while let Some(part) = body.data().await {
                    // Nothing is released.
                    part?;
                }
                Ok::<_, h2::Error>(())
            };
            let ended = timeout(PATIENCE, ended).await.expect("it is cut");
            let error = ended.expect_err("it is not whole");
            assert!(error.is_reset() && error.is_remote(), "{path}: {error}");
        }
        assert!(begun.elapsed() >= LIMIT, "{:?}", begun.elapsed());
        weir.wait_for_metric(IN_FLIGHT, |count| count == 0.0).await;
        weir.wait_for_metric("weir_backend_in_flight", |count| count == 0.0)
            .await;
        assert_eq!(weir.metric(&own_answers(reason)).await, 3.0);
        assert_eq!(weir.metric("weir_backend_failures_total").await, 0.0);
        // The connection goes on.
        let answer = client.get(head("HEAD", "/", &[])).await.unwrap();
        assert_eq!(answer.head.status(), 200);
    }
}

#[tokio::test]
async fn a_stream_whose_client_takes_nothing_is_cut_after_the_write_timeout() {
    are_cut("write_timeout = \"300ms\"", "", "client_stalled").await;
}

#[tokio::test]
async fn a_stream_whose_client_takes_nothing_is_cut_at_the_total_timeout() {
    let total = "timeouts = { total = \"300ms\" }";
    are_cut("", total, "total_timeout").await;
}

#[tokio::test]
async fn a_stalled_client_does_not_stall_others_on_a_shared_backend_connection() {
    const STALLED: u8 = 60;
    let backend = Backend::start("one").await;
    let keys = "protocol = \"http2\"\npool = { h2_connections_max = 1 }\n\
                timeouts = { read = \"2s\" }";
    let config = web(&[backend.address], keys);
    let weir = Weir::start_in("", &config, &[("WEIR_NODE__CORES", "1")]).await;
    let mut stalled = Http2::connect_taking(&weir, 0).await;
    let mut held = Vec::new();
    for _ in 0..STALLED {
        let request = head("GET", "/bytes/2000000", &[]);
        let (response, _) = stalled.send(request, true).await;
        held.push(timeout(PATIENCE, response).await.unwrap().unwrap());
    }
    let mut victim = Client::connect(weir.ingress).await;
    for _ in 0..20 {
        let answer = victim.get("/bytes/100000").await;
        assert_eq!(answer.expect("whole").body.len(), 100_000);
    }
    assert_eq!(weir.metric(IN_FLIGHT).await, f64::from(STALLED));
    assert_eq!(weir.metric("weir_backend_connects_total").await, 1.0);
}
