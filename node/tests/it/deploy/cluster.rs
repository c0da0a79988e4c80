//! The whole cluster of `deploy/compose.yaml` on a real Docker: what is asked of one node is seen on others.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::compose::Cluster;
use super::until_scraped;
use crate::client::Client;

const EVENTUALLY: Duration = Duration::from_secs(30);
/// Of the nodes, as the file publishes them: clients and HTTP API.
const INGRESSES: [u16; 3] = [8081, 8082, 8083];
const APIS: [u16; 3] = [7480, 7481, 7482];

/// Asks the first node for what another one owns, with a trace of its own; gives that.
async fn fetched_through_another_node(cluster: &Cluster) -> String {
    let deadline = Instant::now() + EVENTUALLY;
    for number in 1.. {
        let trace = format!("{number:032x}");
        let request = format!(
            "GET /bytes/{} HTTP/1.1\r\nHost: demo\r\ntraceparent: 00-{trace}-00000000000000a1-01\r\n\r\n",
            1_000 + number
        );
        let mut client = Client::connect(cluster.at(INGRESSES[0])).await;
        let answer = client.ask(&request).await.unwrap();
        let way = answer.header("cache-status").unwrap_or_default();
        if answer.status == 200 && way.contains("detail=peer") {
            return trace;
        }
        assert!(Instant::now() < deadline, "{}", answer.head);
        sleep(Duration::from_millis(100)).await;
    }
    unreachable!("it ends by its deadline")
}

/// The steps of a trace, told by a node.
fn spans(cluster: &Cluster, asked: &str, trace: &str) -> Vec<(String, String)> {
    let told = cluster.weir(asked, &["trace", trace, "-o", "json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let text = |span: &Value, key: &str| span[key].as_str().unwrap().to_owned();
    let spans = told["spans"].as_array().unwrap().iter();
    spans
        .map(|span| (text(span, "node"), text(span, "name")))
        .collect()
}

async fn one_request_is_seen_on_two_nodes(cluster: &Cluster) {
    let trace = fetched_through_another_node(cluster).await;
    let deadline = Instant::now() + EVENTUALLY;
    loop {
        // Whichever node is asked.
        let spans = spans(cluster, "node-3", &trace);
        let of = |name: &str| -> BTreeSet<&str> {
            let found = spans.iter().filter(|(_, found)| found == name);
            found.map(|(node, _)| node.as_str()).collect()
        };
        let (ingresses, peers, origins) = (of("ingress"), of("cache.peer"), of("cache.origin"));
        if ingresses.len() == 2 && peers == BTreeSet::from(["node-1"]) && origins.len() == 1 {
            assert!(!origins.contains("node-1"), "{spans:?}");
            return;
        }
        assert!(Instant::now() < deadline, "{spans:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// What is set at the control plane that the first node is not with.
fn a_profile_arrives_through_the_other_control_plane(cluster: &Cluster) {
    let status = cluster.weir("node-1", &["status", "-o", "json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    let other = match status["control_plane"]["instance"].as_str() {
        Some("control-plane-1-7500") => "control-plane-2",
        Some("control-plane-2-7500") => "control-plane-1",
        _ => panic!("{status}"),
    };
    let set = [
        "profile",
        "set",
        "ingress.slow_request=50ms",
        "-m",
        "closer",
    ];
    let said = cluster.administer(other, &set);
    assert!(said.contains("in force on 3 of 3 nodes"), "{said}");
    let nobody = ["nodes", "--ca=/run/secrets/ca.pem"];
    let said = cluster.weir_refused(other, &nobody);
    assert!(
        said.contains("token") || said.contains("certificate"),
        "{said}"
    );
}

/// Nobody is root, and nothing but the node's own folder can be written.
fn containers_may_do_little(cluster: &Cluster) {
    for service in ["node-1", "control-plane-1"] {
        let top = cluster.told(service, "top");
        let titles = top["Titles"].as_array().unwrap();
        let at = titles.iter().position(|title| title == "UID").unwrap();
        let processes = top["Processes"].as_array().unwrap();
        assert!(
            !processes.is_empty() && processes.iter().all(|line| line[at] == "65532"),
            "{top}"
        );
        let told = cluster.told(service, "json");
        assert_eq!(told["HostConfig"]["ReadonlyRootfs"], true, "{service}");
    }
    let write = |to: &str| {
        let flag = format!("--write-sysctl={to}/90-weir.conf");
        cluster.weir_refused("node-1", &["doctor", "--profile=high-traffic", &flag])
    };
    let said = write("/etc/weir");
    assert!(said.contains("Read-only file system"), "{said}");
}

/// By the health check of the image, and by that of the file.
async fn until_healthy(cluster: &Cluster) {
    let deadline = Instant::now() + EVENTUALLY;
    for service in [
        "node-1",
        "node-2",
        "node-3",
        "control-plane-1",
        "control-plane-2",
    ] {
        loop {
            let health = &cluster.told(service, "json")["State"]["Health"];
            if health["Status"] == "healthy" {
                break;
            }
            assert!(Instant::now() < deadline, "{service}: {health}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn until_connected(cluster: &Cluster) {
    let deadline = Instant::now() + EVENTUALLY;
    loop {
        let nodes = cluster.administer("control-plane-1", &["nodes", "-o", "json"]);
        if nodes.matches("\"connected\"").count() == APIS.len() {
            return;
        }
        assert!(Instant::now() < deadline, "{nodes}");
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_of_the_compose_file_works_as_one() {
    let cluster = Cluster::start();
    until_connected(&cluster).await;
    one_request_is_seen_on_two_nodes(&cluster).await;
    a_profile_arrives_through_the_other_control_plane(&cluster);
    containers_may_do_little(&cluster);
    until_healthy(&cluster).await;
    let names = until_scraped(cluster.at(9090), APIS.len()).await;
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(
        names,
        BTreeSet::from(["node-1:7480", "node-2:7480", "node-3:7480"])
    );
}
