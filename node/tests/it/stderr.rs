//! Whoever reads standard error, or does not, holds nothing up.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::common::{Backend, PATIENCE, Weir, web};

/// A standard error that takes nothing any more, as the socket of a journal that hangs, and its other end.
fn full() -> (Stdio, UnixStream) {
    let (mut written, read) = UnixStream::pair().unwrap();
    written.set_nonblocking(true).unwrap();
    for chunk in [&[b'.'; 4_096][..], b"."] {
        while written.write(chunk).is_ok() {}
    }
    written.set_nonblocking(false).unwrap();
    (OwnedFd::from(written).into(), read)
}

fn weir(config: &std::path::Path, stderr: Stdio) -> tokio::process::Child {
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["node", "--config"])
        .arg(config)
        .env("WEIR_NODE__CORES", "1")
        .stdin(Stdio::null())
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// All that was said up to the end of the process.
async fn said(mut read: UnixStream) -> String {
    let read = move || {
        let mut text = Vec::new();
        read.read_to_end(&mut text).map(|_| text)
    };
    let text = timeout(PATIENCE, tokio::task::spawn_blocking(read)).await;
    let text = text.expect("the process ends").unwrap().unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_node_whose_standard_error_takes_nothing_serves_and_says_it_all_once_it_does() {
    let backend = Backend::start("one").await;
    let config = web(&[backend.address], "");
    let mut node = Weir::start_with("slow_request = \"1ms\"", &config).await;
    node.crash().await;
    let (stderr, read) = full();
    node.child = weir(&node.config_path(), stderr);
    let started = async {
        while node.get_api("/api/health").await.is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, started).await.expect("it starts");
    for _ in 0..40 {
        let answer = timeout(PATIENCE, node.get("/slow?ms=2")).await;
        assert!(answer.expect("it answers").starts_with("HTTP/1.1 200"));
    }
    let left_out = node.metric("weir_slow_request_lines_left_out_total").await;
    assert!(left_out > 0.0 && left_out <= 20.0, "{left_out}");
    assert_eq!(node.metric("weir_stderr_lines_dropped_total").await, 0.0);
    let said = tokio::spawn(said(read));
    node.stop().await;
    let said = said.await.unwrap();
    let slow = said.matches("slow request").count();
    assert_eq!(slow as f64, 40.0 - left_out);
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("stopped"), "{last}");
}

#[tokio::test]
async fn a_process_that_fails_says_why_to_who_reads_and_ends_though_nobody_does() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("node.toml");
    std::fs::write(&config, "[ingress]\nlisten = \"nowhere\"\n").unwrap();
    let (stderr, unread) = full();
    let ended = timeout(PATIENCE, weir(&config, stderr).wait()).await;
    assert_eq!(ended.expect("it ends").unwrap().code(), Some(64));
    drop(unread);
    let (stderr, read) = full();
    let mut child = weir(&config, stderr);
    let said = said(read).await;
    assert!(
        said.contains("weir: ") && said.contains("ingress.listen"),
        "{said}"
    );
    assert_eq!(child.wait().await.unwrap().code(), Some(64));
}
