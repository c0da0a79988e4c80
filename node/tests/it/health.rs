//! Checks, ejection, panic, slow start: who gets work, and what a client is told when nobody does.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Client, Load};
use crate::common::{Backend, Weir, web};
use crate::operator::wait_until;
use crate::steered::Steered;

const CHECKED: &str = "balance = { policy = \"round_robin\" }\n\
    health = { check = \"http\", path = \"/health\", interval = \"30ms\", fall = 2, rise = 3 }";

fn all_addresses(backends: &[Steered]) -> Vec<std::net::SocketAddr> {
    backends.iter().map(|backend| backend.address).collect()
}

/// Who answers `count` requests.
async fn who_answers(weir: &Weir, count: usize) -> BTreeSet<String> {
    let mut client = Client::connect(weir.ingress).await;
    let mut names = BTreeSet::new();
    for _ in 0..count {
        names.insert(client.get("/").await.unwrap().text());
    }
    names
}

#[tokio::test]
async fn an_http_check_takes_a_backend_out_and_back() {
    let backends = Steered::start_all(["one", "two", "three"]).await;
    let weir = Weir::start(&web(&all_addresses(&backends), CHECKED)).await;
    assert_eq!(who_answers(&weir, 60).await.len(), 3);
    backends[0].set_health(500);
    backends[0].stands(&weir, "unhealthy").await;
    let reason = weir.backend(&backends[0].address.to_string()).await["reason"].clone();
    assert!(
        reason.as_str().unwrap().contains("status 500"),
        "{reason:?}"
    );
    let before = backends[0].requests();
    assert_eq!(who_answers(&weir, 60).await.len(), 2);
    assert_eq!(backends[0].requests(), before);
    backends[0].set_health(200);
    backends[0].stands(&weir, "in").await;
    assert_eq!(who_answers(&weir, 60).await.len(), 3);
}

#[tokio::test]
async fn tcp_and_grpc_checks_take_a_backend_out_and_back() {
    for (protocol, check) in [("http1", "tcp"), ("grpc", "grpc")] {
        let (stays, mut goes) = (Backend::start("stays").await, Backend::start("goes").await);
        let keys = format!(
            "protocol = \"{protocol}\"\nhealth = {{ check = \"{check}\", interval = \"30ms\" }}"
        );
        let weir = Weir::start(&web(&[stays.address, goes.address], &keys)).await;
        let id = goes.address.to_string();
        let stands = async |standing: &str| {
            wait_until(&weir, &format!("{check}: {standing}"), async || {
                weir.backend(&id).await["standing"] == standing
            })
            .await;
        };
        stands("in").await;
        goes.child.kill().await.unwrap();
        stands("unhealthy").await;
        let _back = Backend::start_at("goes", &id).await;
        stands("in").await;
    }
}

#[tokio::test]
async fn failures_in_a_row_eject_a_backend_longer_each_time_and_no_more_than_may_be() {
    let backends = Steered::start_all(["one", "two", "three"]).await;
    let keys = "failure_statuses = [\"503\"]\npanic_percent = 0\nejection = \
        { consecutive_failures = 3, base_time = \"200ms\", max_time = \"1s\", ejected_percent_max = 40 }";
    let weir = Weir::start(&web(&all_addresses(&backends), keys)).await;
    backends[0].set_status(503);
    backends[1].set_status(503);
    let load = Load::start(weir.ingress, 4);
    // Two of three fail, but 40 % of three is one.
    let ejected = async || {
        let mut count = 0;
        for backend in &backends {
            let view = weir.backend(&backend.address.to_string()).await;
            count += usize::from(view["standing"] == "ejected");
        }
        count
    };
    wait_until(&weir, "one is ejected", async || ejected().await == 1).await;
    for _ in 0..20 {
        assert!(ejected().await <= 1);
    }
    backends[1].set_status(200);
    // The other one, if it was the first to go, comes back for good.
    backends[1].stands(&weir, "in").await;
    let mut lengths = Vec::new();
    for _ in 0..3 {
        backends[0].stands(&weir, "ejected").await;
        let began = Instant::now();
        backends[0].stands(&weir, "in").await;
        lengths.push(began.elapsed());
    }
    assert!(
        lengths[2] > lengths[0] + Duration::from_millis(100),
        "{lengths:?}"
    );
    load.stop().await;
}

#[tokio::test]
async fn too_few_healthy_backends_give_work_to_all_of_them() {
    let backends = Steered::start_all(["one", "two", "three"]).await;
    let weir = Weir::start(&web(&all_addresses(&backends), CHECKED)).await;
    for backend in &backends[..2] {
        backend.set_health(500);
        backend.stands(&weir, "unhealthy").await;
    }
    assert_eq!(who_answers(&weir, 90).await.len(), 3);
}

#[tokio::test]
async fn when_all_are_out_the_client_is_told_why_and_when_to_come_back() {
    let backends = Steered::start_all(["one", "two"]).await;
    let keys = format!("{CHECKED}\npanic_percent = 0");
    let weir = Weir::start(&web(&all_addresses(&backends), &keys)).await;
    for backend in &backends {
        backend.set_health(500);
        backend.stands(&weir, "unhealthy").await;
    }
    let answer = Client::connect(weir.ingress).await.get("/").await.unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("x-weir-reason"), Some("all_backends_out"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    let counted = "weir_own_answers_total{reason=\"all_backends_out\"}";
    assert_eq!(weir.metric(counted).await, 1.0);
    backends[0].set_health(200);
    backends[0].stands(&weir, "in").await;
    assert_eq!(who_answers(&weir, 5).await, ["one".to_owned()].into());
}

#[tokio::test]
async fn a_service_without_backends_says_so() {
    let weir = Weir::start(&web(&[], "")).await;
    let answer = Client::connect(weir.ingress).await.get("/").await.unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("x-weir-reason"), Some("no_backend"));
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_backend_that_returns_starts_slowly_but_none_does_when_the_node_starts() {
    let backends = Steered::start_all(["one", "two"]).await;
    let keys = format!("{CHECKED}\nslow_start = {{ window = \"1h\", min_percent = 1 }}");
    let weir = Weir::start(&web(&all_addresses(&backends), &keys)).await;
    for backend in &backends {
        backend.stands(&weir, "in").await;
    }
    backends[0].set_health(500);
    backends[0].stands(&weir, "unhealthy").await;
    backends[0].set_health(200);
    backends[0].stands(&weir, "slow-start").await;
    let before = backends[0].requests();
    who_answers(&weir, 200).await;
    let share = backends[0].requests() - before;
    assert!((1..=20).contains(&share), "{share} of 200");
}
