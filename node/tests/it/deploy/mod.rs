//! What operators get beside the binary: image, cluster, alert rules, dashboard. Needs `promtool`, `prometheus` and
//! `docker-compose` (`make setup-test` installs them).

mod cluster;
mod compose;
mod names;
mod rules;
mod scraped;
mod service;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::client::Client;

fn file(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap().join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a program to its end; it must be there.
fn run(program: &str, arguments: &[&str], folder: &Path) -> Output {
    let ran = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    ran.unwrap_or_else(|error| panic!("{program}: {error}; `make setup-test` installs it"))
}

/// What both streams of a program that was to succeed say.
fn done(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// What the dashboard asks Prometheus, with its variables set to everything.
fn queries_of_the_dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/weir.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries: Vec<String> = targets
        .map(|target| {
            let query = target["expr"].as_str().unwrap();
            query
                .replace("$__rate_interval", "1m")
                .replace("$node", ".*")
                .replace("$service", ".*")
        })
        .collect();
    assert!(queries.len() > 50, "{}", queries.len());
    queries
}

/// What Prometheus answers to a query.
async fn query(prometheus: SocketAddr, query: &str) -> Value {
    let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let path = format!("/api/v1/query?query={query}");
    let answer = Client::connect(prometheus).await.get(&path).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["status"], "success", "{answer}");
    answer["data"]["result"].clone()
}

/// Nobody listens at first, and then queries are refused until all is read.
async fn is_ready(prometheus: SocketAddr) -> bool {
    if tokio::net::TcpStream::connect(prometheus).await.is_err() {
        return false;
    }
    let answer = Client::connect(prometheus).await.get("/-/ready").await;
    answer.is_ok_and(|answer| answer.status == 200)
}

/// Waits until each of so many nodes was scraped, and tells how they are called.
async fn until_scraped(prometheus: SocketAddr, nodes: usize) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + crate::common::PATIENCE;
    loop {
        if is_ready(prometheus).await {
            let up = query(prometheus, "up{job=\"weir\"} == 1").await;
            let up = up.as_array().unwrap();
            if up.len() == nodes {
                let name =
                    |sample: &Value| sample["metric"]["instance"].as_str().unwrap().to_owned();
                return up.iter().map(name).collect();
            }
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "not all {nodes} are scraped"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
