//! An override ends on the node, whoever is there to end it.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_proto::control::v1 as pb;

use super::etcd::Etcd;
use super::mesh::Node;
use super::processes::{Instance, set};
use crate::common::{PATIENCE, Weir};

/// How many headers the node takes, told by what it does.
async fn takes_headers(weir: &Weir, count: usize) -> bool {
    let headers: String = (0..count).map(|at| format!("X-{at}: 1\r\n")).collect();
    let request = format!("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
    let answer = weir.exchange(request.as_bytes()).await;
    answer.starts_with("HTTP/1.1 200 ")
}

async fn until_it_takes(weir: &Weir, count: usize, wanted: bool) {
    let deadline = Instant::now() + PATIENCE;
    while takes_headers(weir, count).await != wanted {
        assert!(
            Instant::now() < deadline,
            "{count} headers: still {}",
            !wanted
        );
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_override_ends_on_the_node_while_the_control_plane_is_dead_and_stays_ended() {
    let etcd = Etcd::start().await;
    let mut instance = Instance::start("cp-1", &[etcd.endpoint()]).await;
    let node = Node::start("n1", &[&instance]).await;
    set(&[&instance.api], "fleet", 40, 0).await;
    node.has_newest(&instance.api).await;
    until_it_takes(&node.weir, 30, true).await;
    let begun = Instant::now();
    set(&[&instance.api], "override/n1", 20, 3_000).await;
    until_it_takes(&node.weir, 30, false).await;
    node.has_newest(&instance.api).await;
    let effective = instance.api.effective("n1").await;
    assert_eq!(effective, ("20".to_owned(), "20".to_owned()));
    instance.kill().await;
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "it was to hold then"
    );
    until_it_takes(&node.weir, 30, true).await;
    let ended_in = begun.elapsed();
    assert!((3..6).contains(&ended_in.as_secs()), "{ended_in:?}");
    instance.start_again().await;
    // Only who is connected here is heard here.
    let is_back = |node: &pb::NodeInfo| node.heartbeat.is_some();
    instance.api.until_node("n1", "back", is_back).await;
    node.has_newest(&instance.api).await;
    let effective = instance.api.effective("n1").await;
    assert_eq!(effective, ("40".to_owned(), "40".to_owned()));
    assert!(takes_headers(&node.weir, 30).await);
    node.carried_everything().await;
}
