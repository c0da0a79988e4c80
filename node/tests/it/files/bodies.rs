//! Large files on their way.

use std::fs::File;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Stage, pattern, write_aged};
use crate::common::{PATIENCE, read_until};

const MIB: u64 = 1 << 20;
const LARGE_BYTES: u64 = 256 * MIB;

/// Asks for a file and reads what comes until its head has come; what of the body came with it.
async fn begin(stage: &Stage, path: &str) -> (TcpStream, usize) {
    let mut stream = stage.weir.connect().await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let begun = read_until(&mut stream, "\r\n\r\n").await;
    let (head, body) = begun.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let bytes = body.len();
    (stream, bytes)
}

/// Bytes until the connection ends, however it does.
async fn count_rest(stream: &mut TcpStream) -> u64 {
    let (mut count, mut part) = (0, vec![0; 256 << 10]);
    loop {
        match timeout(PATIENCE, stream.read(&mut part)).await.unwrap() {
            Ok(read @ 1..) => count += read as u64,
            Ok(0) | Err(_) => return count,
        }
    }
}

fn sparse(path: &std::path::Path, bytes: u64) {
    File::create(path).unwrap().set_len(bytes).unwrap();
}

/// The most memory that the node ever had, in KiB.
fn peak_kib(stage: &Stage) -> u64 {
    let pid = stage.weir.child.id().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let text = line.unwrap().split_whitespace().nth(1).unwrap();
    text.parse().unwrap()
}

#[tokio::test]
async fn a_large_file_comes_whole_and_in_order() {
    let content = pattern(3_000_001);
    let stage = Stage::start("", |root| write_aged(&root.join("a"), &content, 100)).await;
    let got = stage.get("/a").await;
    assert_eq!(got.header("content-length"), Some("3000001"));
    assert!(got.body.as_bytes() == content, "other bytes came");
}

#[tokio::test]
async fn a_large_file_takes_little_memory() {
    let stage = Stage::start("", |root| sparse(&root.join("a"), LARGE_BYTES)).await;
    stage.get("/b").await;
    let before = peak_kib(&stage);
    let (mut stream, begun) = begin(&stage, "/a").await;
    assert_eq!(begun as u64 + count_rest(&mut stream).await, LARGE_BYTES);
    let grown = peak_kib(&stage).saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more");
}

#[tokio::test]
async fn a_client_that_takes_nothing_holds_little() {
    let stage = Stage::start("", |root| sparse(&root.join("a"), LARGE_BYTES)).await;
    stage.get("/b").await;
    let before = peak_kib(&stage);
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(begin(&stage, "/a").await);
    }
    // Meanwhile others are served.
    assert_eq!(stage.get("/b").await.status, 404);
    let grown = peak_kib(&stage).saturating_sub(before);
    // Of 20 times 256 MiB.
    assert!(grown < 64 << 10, "{grown} KiB more");
}

#[tokio::test]
async fn a_file_that_is_cut_while_it_is_sent_ends_with_an_error() {
    let stage = Stage::start("", |root| sparse(&root.join("a"), LARGE_BYTES)).await;
    let (mut stream, begun) = begin(&stage, "/a").await;
    File::options()
        .write(true)
        .open(stage.path("a"))
        .unwrap()
        .set_len(MIB)
        .unwrap();
    let came = begun as u64 + count_rest(&mut stream).await;
    assert!(came < LARGE_BYTES, "all of it came");
    let changed = "weir_own_answers_total{reason=\"file_changed\"}";
    stage
        .weir
        .wait_for_metric(changed, |count| count == 1.0)
        .await;
}

#[tokio::test]
async fn a_file_that_is_replaced_while_it_is_sent_comes_as_it_was() {
    let stage = Stage::start("", |root| sparse(&root.join("a"), LARGE_BYTES)).await;
    let (mut stream, begun) = begin(&stage, "/a").await;
    std::fs::write(stage.path("b"), "new").unwrap();
    std::fs::rename(stage.path("b"), stage.path("a")).unwrap();
    assert_eq!(begun as u64 + count_rest(&mut stream).await, LARGE_BYTES);
    assert_eq!(stage.get("/a").await.body, "new");
}
