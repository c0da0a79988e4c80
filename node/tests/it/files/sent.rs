//! Large files that are sent without being read.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Stage, pattern, write_aged};
use crate::common::PATIENCE;

const MIB: usize = 1 << 20;
const SENT: &str = "weir_sendfile_bytes_total";

/// A file of so many bytes with something in it wherever parts of it meet.
fn large(path: &std::path::Path, bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    for at in (0..content.len()).step_by(64 << 10) {
        let number = u64::try_from(at).unwrap() | 1 << 63;
        content[at..at + 8].copy_from_slice(&number.to_be_bytes());
        content[at + (64 << 10) - 8..at + (64 << 10)].copy_from_slice(&number.to_le_bytes());
    }
    write_aged(path, &content, 100);
    content
}

fn request(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
}

/// The body of a file.
async fn get(stage: &Stage, path: &str) -> Vec<u8> {
    let mut stream = stage.weir.connect().await;
    stream
        .write_all(request(path, "").as_bytes())
        .await
        .unwrap();
    answer(&mut stream).await.1
}

/// The head of the next answer, and nothing behind it.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// The next answer's head and body.
async fn answer(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let head = head(stream).await;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    timeout(PATIENCE, stream.read_exact(&mut body))
        .await
        .unwrap()
        .unwrap();
    (head, body)
}

#[tokio::test]
async fn a_file_is_sent_as_it_is_and_read_where_that_is_wanted() {
    let mut content = Vec::new();
    let stage = Stage::start("", |root| content = large(&root.join("a"), 64 * MIB)).await;
    for _ in 0..2 {
        assert!(get(&stage, "/a").await == content, "other bytes");
    }
    // A file system that is not known to be local would be read.
    assert_eq!(stage.weir.metric(SENT).await, 128.0 * MIB as f64);
    let revision = stage.weir.metric("weir_config_revision").await;
    let keys = "sendfile = false";
    stage.weir.edit(&super::config(&stage.path(""), keys, ""));
    let is_newer = |now| now > revision;
    stage
        .weir
        .wait_for_metric("weir_config_revision", is_newer)
        .await;
    assert!(get(&stage, "/a").await == content, "other bytes");
    assert_eq!(stage.weir.metric(SENT).await, 128.0 * MIB as f64);
}

#[tokio::test]
async fn answers_of_all_kinds_follow_each_other_on_one_connection() {
    let content = pattern(3 * MIB + 1_000);
    let small = pattern(1_000);
    let stage = Stage::start("", |root| {
        write_aged(&root.join("a"), &content, 100);
        write_aged(&root.join("small"), &small, 100);
    })
    .await;
    let mut stream = stage.weir.connect().await;
    let asked = [
        request("/a", ""),
        request("/small", ""),
        request("/a", "Range: bytes=1000-2097151\r\n"),
        request("/a", "Range: bytes=5-9\r\n"),
        request("/missing", ""),
        request("/a", "Range: bytes=0-99999,3000000-3100000\r\n"),
        request("/a", "Range: bytes=-1001000\r\n"),
        request("/a", ""),
    ];
    stream.write_all(asked.concat().as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.1 == content, "the whole");
    assert!(answer(&mut stream).await.1 == small, "a small one");
    assert!(
        answer(&mut stream).await.1 == content[1_000..2 * MIB],
        "a range"
    );
    assert!(
        answer(&mut stream).await.1 == content[5..10],
        "a short range"
    );
    assert!(answer(&mut stream).await.0.starts_with("HTTP/1.1 404"));
    let (head, parts) = answer(&mut stream).await;
    assert!(head.contains("multipart/byteranges"), "{head}");
    let has = |part: &[u8]| parts.windows(part.len()).any(|window| window == part);
    assert!(has(&content[..100_000]) && has(&content[3_000_000..3_100_001]));
    let end = &content[content.len() - 1_001_000..];
    assert!(answer(&mut stream).await.1 == end, "the end");
    assert!(answer(&mut stream).await.1 == content, "the whole again");
    assert!(stage.weir.metric(SENT).await > 7.0 * MIB as f64);
}

#[tokio::test]
async fn a_client_that_takes_little_at_a_time_gets_every_byte() {
    let mut content = Vec::new();
    let stage = Stage::start("", |root| content = large(&root.join("a"), 8 * MIB)).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut stream = socket.connect(stage.weir.ingress).await.unwrap();
    let asked = request("/a", "Range: bytes=1-6000000\r\n");
    stream.write_all(asked.as_bytes()).await.unwrap();
    head(&mut stream).await;
    let mut came = Vec::new();
    let mut part = vec![0; 40_000];
    while came.len() < 6_000_000 {
        let read = timeout(PATIENCE, stream.read(&mut part))
            .await
            .unwrap()
            .unwrap();
        assert!(read > 0, "{} bytes came", came.len());
        came.extend_from_slice(&part[..read]);
        tokio::task::yield_now().await;
    }
    assert!(came == content[1..6_000_001], "other bytes came");
}

#[tokio::test]
async fn a_file_that_is_cut_under_way_is_not_filled_up_and_one_that_grows_comes_as_promised() {
    let mut content = Vec::new();
    let stage = Stage::start("", |root| content = large(&root.join("a"), 64 * MIB)).await;
    let mut stream = stage.weir.connect().await;
    stream
        .write_all(request("/a", "").as_bytes())
        .await
        .unwrap();
    head(&mut stream).await;
    let file = File::options().write(true).open(stage.path("a")).unwrap();
    file.set_len(65 * MIB as u64).unwrap();
    let mut begun = vec![0; 30 * MIB];
    stream.read_exact(&mut begun).await.unwrap();
    assert!(begun == content[..30 * MIB], "other bytes came");
    file.set_len(40 * MIB as u64).unwrap();
    file.write_all_at(b"more", 40 * MIB as u64).unwrap();
    let mut rest = Vec::new();
    let ended = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest));
    let _ = ended.await.unwrap();
    assert!(
        30 * MIB + rest.len() <= 40 * MIB,
        "{} bytes came",
        rest.len()
    );
    let changed = "weir_own_answers_total{reason=\"file_changed\"}";
    stage
        .weir
        .wait_for_metric(changed, |count| count == 1.0)
        .await;
}
