//! What a node writes about itself is found: by command, gRPC and HTTP, in a file or in memory, with trace ids.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::logs_client::LogsClient;

use crate::common::{PATIENCE, Weir, read_until};
use crate::operator::wait_until;

/// A backend that takes its time for each request.
async fn slow_backend() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4_096];
                while stream.read(&mut head).await.is_ok_and(|count| count > 0) {
                    sleep(Duration::from_millis(20)).await;
                    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

async fn ask_slowly(node: &Weir, path: &str) {
    let mut client = TcpStream::connect(node.ingress).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut client, "204").await;
}

async fn lines(node: &Weir, query: &str) -> Vec<Value> {
    let (status, text) = node.get_api(&format!("/api/logs?{query}")).await.unwrap();
    assert_eq!(status, 200, "{text}");
    let list: Value = serde_json::from_str(&text).unwrap();
    list["lines"].as_array().unwrap().clone()
}

async fn refuses_what_makes_no_sense(node: &Weir) {
    for (query, told) in [
        ("level=loud", "level: `loud` is none"),
        ("lines=1001", "lines: 1001 is out of bounds (1 to 1000)"),
        ("since=soon", "since: `soon`"),
        (
            &*format!("grep={}", "x".repeat(1_025)),
            "grep: 1025 bytes (allowed: 0 to 1024)",
        ),
    ] {
        let (status, text) = node.get_api(&format!("/api/logs?{query}")).await.unwrap();
        assert_eq!(status, 400, "{query}: {text}");
        assert!(text.contains(told), "{text}");
    }
    let (code, text) = node.command(&["logs", "--level", "loud"]).await;
    assert_eq!(
        (code, text.contains("level: `loud` is none")),
        (2, true),
        "{text}"
    );
}

#[tokio::test]
async fn a_slow_request_is_found_with_its_trace_in_the_file_and_over_every_way() {
    let folder = tempfile::tempdir().unwrap();
    let backend = slow_backend().await;
    let config = format!(
        "[logs]\ndir = \"{}\"\n[telemetry]\notlp = \"http://127.0.0.1:1\"\nsample_ratio = 1\n\
         [services.web]\nbackends = [\"{backend}\"]\n\
         [[routes]]\npath = \"/v1\"\nservice = \"web\"\nrewrite = {{ prefix = \"/\" }}\n",
        folder.path().join("logs").display()
    );
    let mut node = Weir::start_with("slow_request = \"5ms\"", &config).await;
    let mut client = LogsClient::connect(format!("http://{}", node.grpc))
        .await
        .unwrap();
    let request = pb::LogsRequest {
        level: "warn".to_owned(),
        grep: "slow request".to_owned(),
        ..pb::LogsRequest::default()
    };
    let mut lists = client.watch_logs(request).await.unwrap().into_inner();
    assert_eq!(lists.message().await.unwrap().unwrap().lines, []);
    ask_slowly(&node, "/v1/one").await;
    let told = timeout(PATIENCE, lists.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let [line] = &told.lines[..] else {
        panic!("{told:?}")
    };
    assert_eq!((&*line.message, &*line.level), ("slow request", "warn"));
    // As the client asked, whatever the backend is asked.
    assert_eq!(line.attributes["path"], "/v1/one");
    assert_eq!(line.attributes["trace_id"].len(), 32, "{line:?}");

    let found = lines(&node, "since=10m&level=warn&grep=slow%20request&lines=5").await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0]["attributes"]["trace_id"],
        *line.attributes["trace_id"]
    );
    assert_eq!(lines(&node, "grep=nobody-writes-this").await.len(), 0);
    refuses_what_makes_no_sense(&node).await;

    let (code, text) = node
        .command(&["logs", "--level", "warn", "--grep", "/one", "-n", "5"])
        .await;
    assert_eq!(code, 0, "{text}");
    let line = text.lines().next().unwrap();
    assert!(
        line.contains(" WARN  node-1 weir_node::") && line.contains("slow request"),
        "{text}"
    );
    let (_, metrics) = node.get_api("/metrics").await.unwrap();
    assert!(
        metrics.contains("weir_log_lines_dropped_total{why=\"queue\"} 0"),
        "{metrics}"
    );

    // The last lines are in the file when the process has ended.
    node.stop().await;
    let file = std::fs::read_to_string(folder.path().join("logs/node-1.log")).unwrap();
    assert!(
        file.contains("slow request") && file.contains("\"stopped\""),
        "{file}"
    );
    assert!(
        file.lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
}

#[tokio::test]
async fn without_a_file_the_newest_lines_are_in_memory_and_levels_change_live() {
    let node = Weir::start("").await;
    let found = lines(&node, "grep=node%20ready").await;
    assert_eq!(found.len(), 1, "{found:?}");
    node.edit("[telemetry]\nlog_levels = [\"loud\"]\n");
    wait_until(&node, "the wrong level is refused", async || {
        let (_, status) = node.get_api("/api/status").await.unwrap();
        status.contains("telemetry.log_levels: `loud` is no level")
    })
    .await;
    assert_eq!(
        lines(&node, "level=debug")
            .await
            .iter()
            .filter(|line| line["level"] == "debug")
            .count(),
        0
    );
    node.edit("[telemetry]\nlog_levels = [\"weir_node::data_plane=debug\"]\n");
    wait_until(&node, "debug lines are written", async || {
        let mut client = TcpStream::connect(node.ingress).await.unwrap();
        client.write_all(b"broken\r\n\r\n").await.unwrap();
        let found = lines(&node, "grep=request%20refused").await;
        found.iter().any(|line| line["level"] == "debug")
    })
    .await;
}
