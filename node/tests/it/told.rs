//! What the node tells of requests: recent ones without a collector, a line for each, and metrics of bounded number.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::common::{Backend, Weir, web};

fn weir(weir: &Weir, arguments: &[&str]) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(arguments)
        .env("WEIR_NODE", weir.grpc.to_string())
        .output()
        .unwrap()
}

#[tokio::test]
async fn a_failed_request_is_told_as_a_tree_without_a_collector_by_the_id_of_its_answer() {
    let [nobody] = crate::common::free_ports();
    let node = Weir::start(&web(&[nobody], "")).await;
    let answer = node.get("/lost?q=1").await;
    let id = answer
        .split_once("x-request-id: ")
        .unwrap()
        .1
        .split_once("\r\n")
        .unwrap()
        .0;
    let told = weir(&node, &["trace", id]);
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{told:?}");
    let steps = ["ingress", "├─ admission", "├─ pick", "└─ connect"];
    for (line, step) in text.lines().skip(2).zip(steps) {
        assert!(line.starts_with(step), "{step} in {text}");
    }
    assert!(
        text.contains("FAILED: connect_failed") && text.contains("url.path=/lost"),
        "{text}"
    );
    let told = weir(&node, &["trace", "nobody-knows"]);
    assert_eq!(told.status.code(), Some(4), "{told:?}");
}

fn log(path: &Path, format: &str) -> String {
    format!(
        "[access_log]\noutput = \"{}\"\nformat = \"{format}\"\n",
        path.display()
    )
}

async fn lines(path: &Path, count: usize) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + crate::common::PATIENCE;
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= count {
            return text.lines().map(str::to_owned).collect();
        }
        assert!(tokio::time::Instant::now() < deadline, "{text}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn each_request_is_one_line_of_the_access_log_whose_form_changes_live_and_whose_last_is_not_lost()
 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let backend = Backend::start("one").await;
    let services = web(&[backend.address], "");
    let mut node = Weir::start(&format!("{}{services}", log(&path, "json"))).await;
    node.get("/?b=c").await;
    let line: Value = serde_json::from_str(&lines(&path, 1).await[0]).unwrap();
    for (key, value) in [
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("target", "/?b=c"),
        ("protocol", "HTTP/1.1"),
        ("host", "test"),
        ("service", "web"),
        ("backend", &*backend.address.to_string()),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    assert_eq!(line["status"], 200);
    assert!(line["bytes_sent"].as_u64() > Some(0) && line["duration_ms"].as_f64() > Some(0.0));
    assert_eq!(line["trace_id"].as_str().map(str::len), Some(32));

    node.edit(&format!("{}{services}", log(&path, "combined")));
    node.wait_for_metric("weir_config_revision", |revision| revision == 2.0)
        .await;
    node.get("/").await;
    let combined = lines(&path, 2).await.remove(1);
    assert!(combined.starts_with("127.0.0.1 - - ["), "{combined}");
    assert!(combined.contains("\"GET / HTTP/1.1\" 200 "), "{combined}");
    // What its core still has is written at the end.
    node.get("/last").await;
    node.stop().await;
    assert!(lines(&path, 3).await[2].contains("/last"));
}

/// Samples without their values.
fn series(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
        .collect()
}

#[tokio::test]
async fn nothing_that_clients_send_makes_a_new_series() {
    let backend = Backend::start("one").await;
    let node = Weir::start(&web(&[backend.address], "")).await;
    node.get("/first").await;
    let (_, before) = node.get_api("/metrics").await.unwrap();
    for number in 0..200 {
        let request = format!(
            "M{number} /p{number}?q={number} HTTP/1.1\r\nHost: h{number}\r\nUser-Agent: u{number}\r\n\
             x-request-id: r{number}\r\nbaggage: k{number}=v\r\nCookie: c{number}=1\r\n\
             traceparent: 00-{number:032x}-00f067aa0ba902b7-01\r\nConnection: close\r\n\r\n"
        );
        node.exchange(request.as_bytes()).await;
    }
    let (_, after) = node.get_api("/metrics").await.unwrap();
    let (before, after) = (series(&before), series(&after));
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
    assert!(after.len() > 100, "{}", after.len());
}

#[tokio::test]
async fn openmetrics_has_an_exemplar_whose_trace_is_told() {
    let backend = Backend::start("one").await;
    let services = web(&[backend.address], "");
    let node = Weir::start(&format!("[telemetry]\nsample_ratio = 1.0\n{services}")).await;
    node.get("/").await;
    let mut stream = tokio::net::TcpStream::connect(node.api).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                   Accept: application/openmetrics-text; version=1.0.0\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes())
        .await
        .unwrap();
    let text = crate::common::read_to_end(&mut stream).await;
    assert!(
        text.contains("content-type: application/openmetrics-text"),
        "{text}"
    );
    assert!(text.contains("# TYPE weir_responses counter\n"), "{text}");
    let exemplar = text.split_once("# {trace_id=\"").unwrap().1;
    let (status, trace) = node
        .get_api(&format!("/api/traces/{}", &exemplar[..32]))
        .await
        .unwrap();
    assert_eq!(status, 200, "{trace}");
}

/// The metrics of a node as the document tells them: name, type, labels, help.
fn rows(text: &str) -> Vec<String> {
    let mut rows = Vec::new();
    let mut help = "";
    for line in text.lines() {
        if let Some(told) = line.strip_prefix("# HELP ") {
            help = told.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|told| told.split_once(' '))
        {
            rows.push(format!("| `{name}` | {kind} | {help} |"));
        }
    }
    rows.sort();
    rows
}

/// A name says whose it is, what it is of, and its unit; a counter ends in `_total`, and nothing else does.
fn check_name(row: &str) {
    let mut cells = row.split('|').map(str::trim).skip(1);
    let name = cells.next().unwrap().trim_matches('`');
    let kind = cells.next().unwrap();
    assert_eq!(name.ends_with("_total"), kind == "counter", "{row}");
    assert!(
        name.starts_with("weir_") || name.starts_with("process_"),
        "{row}"
    );
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    assert!(name.chars().all(is_plain), "{row}");
    let bare = name.trim_end_matches("_total");
    for unit in ["_ms", "_us", "_millis", "_kb", "_mb", "_percent"] {
        assert!(
            !bare.ends_with(unit),
            "{row}: seconds, bytes or a share is wanted"
        );
    }
}

const OVER_OTLP: &str = "\
With `telemetry.otlp` the same list goes to that receiver, under the same names and with the labels as attributes,
once in `telemetry.metrics_export_interval`: counters as cumulative sums since the node's start, gauges, and
histograms with explicit bounds and traces as exemplars; units are `s`, `By` or `1`. Beside it go, by OpenTelemetry's
semantic conventions for HTTP, `http.server.request.duration` (histogram, `s`; `http.request.method`, `url.scheme`,
`http.route`, `http.response.status_code`, and `error.type` from 500 on), `http.server.active_requests` (`{request}`;
`http.request.method`, `url.scheme`) and, of each backend, `http.client.request.duration` (histogram, `s`;
`http.request.method`, `server.address`, `server.port`, `weir.service`, `http.response.status_code`, and `error.type`
from 400 on or what went wrong, of what `cancelled` is that nobody waited for the end). Methods that the conventions
do not name are `_OTHER`. `http.route` is the route's path, of a prefix with `/*`, for the first 64 of the
configuration; requests of others, of none and of routes with `broadcast` have none. After 50 methods with statuses
of a route on a core others are told without their status, after 12 of a backend as `_OTHER` without any. Requests
to other nodes are not told. `resource` has `service.name` (`weir`), `service.instance.id` (the node's name) and
`service.version`.";

#[tokio::test]
async fn every_metric_is_in_the_document_once_as_it_is() {
    let node = Weir::start("").await;
    let (_, text) = node.get_api("/metrics").await.unwrap();
    let rows = rows(&text);
    let names: BTreeSet<&str> = rows
        .iter()
        .filter_map(|row| row.split('`').nth(1))
        .collect();
    assert_eq!(names.len(), rows.len(), "a family is told once");
    rows.iter().for_each(|row| check_name(row));
    let document = format!(
        "# Metrics of a node\n\nOn `/metrics` of the HTTP API, in the Prometheus text format or as OpenMetrics. \
         Those of `weir_control_plane_` and `weir_profile_`\nare there with `[control_plane]`. \
         Made by a test from what a node tells.\n\n{}\n\n\
         | name | type | what |\n|---|---|---|\n{}\n",
        OVER_OTLP,
        rows.join("\n")
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../METRICS.md");
    if std::env::var_os("WEIR_WRITE_DOCUMENTS").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), document);
}
