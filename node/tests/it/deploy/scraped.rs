//! A real Prometheus with the rules of the cluster, and one node.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::{done, file, queries_of_the_dashboard, query, text, until_scraped};
use crate::common::{Backend, Weir, free_ports, web};

/// Prometheus as the cluster has it, for one node of this machine, with its data in `folder`.
fn prometheus(folder: &std::path::Path, node: SocketAddr) -> (Child, SocketAddr) {
    let [listen] = free_ports();
    let rules = file("deploy/prometheus/alerts.yml");
    let config = text("deploy/prometheus/prometheus.yml")
        .replace(
            "\"node-1:7480\", \"node-2:7480\", \"node-3:7480\"",
            &format!("\"{node}\""),
        )
        .replace("[alerts.yml]", &format!("[\"{}\"]", rules.display()))
        .replace("scrape_interval: 5s", "scrape_interval: 200ms")
        .replace("evaluation_interval: 15s", "evaluation_interval: 200ms");
    assert!(config.contains(&node.to_string()), "{config}");
    std::fs::write(folder.join("prometheus.yml"), config).unwrap();
    let child = Command::new("prometheus")
        .arg(format!("--web.listen-address={listen}"))
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("log")).unwrap())
        .kill_on_drop(true)
        .spawn();
    let child = child.expect("prometheus can be run; `make setup-test` installs it");
    (child, listen)
}

#[tokio::test]
async fn what_a_node_tells_is_as_prometheus_wants_it() {
    let backend = Backend::start("one").await;
    let node = Weir::start(&web(&[backend.address], "")).await;
    node.get("/").await;
    let (_, metrics) = node.get_api("/metrics").await.unwrap();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool can be run; `make setup-test` installs it");
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(metrics.as_bytes()).await.unwrap();
    drop(stdin);
    let said = done(&promtool.wait_with_output().await.unwrap());
    assert_eq!(said, "", "no advice either");
}

#[tokio::test]
async fn a_real_prometheus_scrapes_a_node_and_answers_every_query_of_rules_and_dashboard() {
    let backend = Backend::start("one").await;
    let node = Weir::start(&web(&[backend.address], "")).await;
    node.get("/").await;
    let folder = tempfile::tempdir().unwrap();
    let (_prometheus, listen) = prometheus(folder.path(), node.api);
    until_scraped(listen, 1).await;
    let answers = query(
        listen,
        "sum(weir_responses_total{service=\"web\", class=\"2xx\"})",
    )
    .await;
    assert_eq!(answers[0]["value"][1], "1", "{answers}");
    for asked in queries_of_the_dashboard() {
        query(listen, &asked).await;
    }
    for rule in rules(listen).await {
        // `unknown` until it was evaluated for the first time.
        assert_ne!(rule["health"], "err", "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
    }
}

async fn rules(prometheus: SocketAddr) -> Vec<serde_json::Value> {
    let mut client = crate::client::Client::connect(prometheus).await;
    let answer = client.get("/api/v1/rules").await.unwrap();
    let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let groups = told["data"]["groups"].as_array().unwrap().iter();
    let rules: Vec<_> = groups
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect();
    assert!(rules.len() > 20, "{told}");
    rules
}
