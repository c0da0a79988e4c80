use std::convert::Infallible;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::pin::Pin;

use bytes::BytesMut;
use futures::future::poll_fn;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use weir_core::http1::Limits;

use super::super::super::activity::Activity;
use super::super::super::client_io::ClientIo;
use super::resident::is_local;
use super::*;

/// A file without a byte that a placeholder has.
fn file_of(bytes: usize) -> (File, Arc<OwnedFd>, Stamp) {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&content(bytes), 0).unwrap();
    let opened = Arc::new(file.try_clone().unwrap().into());
    let stamp = stamp_of(&fstat(&file).unwrap());
    (file, opened, stamp)
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| 1 + (at % 251) as u8).collect()
}

/// Hands the parser's slices to the queue until all of them are gone, or it refuses.
fn write(queue: &SendQueue, buffers: &[Bytes], socket: &UnixStream) -> io::Result<usize> {
    let slices: Vec<IoSlice<'_>> = buffers.iter().map(|bytes| IoSlice::new(bytes)).collect();
    match queue.next(&slices)? {
        Next::Memory(slices) | Next::MemoryBeforeFile(slices) => {
            Ok(slices.iter().map(|slice| slice.len()).sum())
        }
        Next::File(sending) => sending.send(socket.as_fd()),
    }
}

#[test]
fn parts_go_in_turn_behind_what_is_in_memory() {
    let queue = Arc::new(SendQueue::default());
    let (_, file, stamp) = file_of(3_000);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let head = Bytes::from_static(b"head");
    let one = queue.push(&file, Some(stamp), 0..1_000);
    let two = queue.push(&file, Some(stamp), 2_000..3_000);
    let buffers = [head, one.clone(), two.clone()];
    assert_eq!(write(&queue, &buffers, &ours).unwrap(), 4);
    assert_eq!(write(&queue, &[one.slice(..300)], &ours).unwrap(), 300);
    assert_eq!(write(&queue, &[one.slice(300..)], &ours).unwrap(), 700);
    assert_eq!(
        write(&queue, std::slice::from_ref(&two), &ours).unwrap(),
        1_000
    );
    drop((buffers, one, two, ours));
    assert!(!queue.is_dead());
    let mut came = Vec::new();
    theirs.read_to_end(&mut came).unwrap();
    let all = content(3_000);
    assert!(came == [&all[..1_000], &all[2_000..]].concat());
}

#[test]
fn what_stands_for_nothing_that_is_next_ends_the_connection() {
    let (_, file, stamp) = file_of(3_000);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    type Wrong = fn(&[Bytes; 2]) -> Bytes;
    let wrong: [Wrong; 3] = [
        |[_, two]| two.clone(),
        |[one, _]| one.slice(1..),
        |_| Bytes::from_static(&PLACEHOLDER[..2_000]),
    ];
    for wrong in wrong {
        let queue = Arc::new(SendQueue::default());
        let parts = [0..1_000, 1_000..2_000].map(|range| queue.push(&file, Some(stamp), range));
        assert!(write(&queue, &[wrong(&parts)], &ours).is_err());
        assert!(write(&queue, &[Bytes::from_static(b"next")], &ours).is_err());
        assert_eq!(queue.take_failure(), Some(Reason::FileError));
    }
}

#[test]
fn nothing_follows_a_part_that_was_not_sent() {
    let queue = Arc::new(SendQueue::default());
    let (_, file, stamp) = file_of(1_000);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let part = queue.push(&file, Some(stamp), 0..1_000);
    let copy = Bytes::copy_from_slice(&part);
    drop(part);
    assert!(write(&queue, &[copy], &ours).is_err());
}

#[test]
fn more_parts_than_there_is_room_for_end_the_connection() {
    let queue = Arc::new(SendQueue::default());
    let (_, file, stamp) = file_of(1_000);
    let mut parts: Vec<Bytes> = Vec::new();
    for _ in 0..PARTS_MAX {
        parts.push(queue.push(&file, Some(stamp), 0..1_000));
    }
    assert!(!queue.is_dead());
    parts.push(queue.push(&file, Some(stamp), 0..1_000));
    assert!(queue.is_dead());
}

#[test]
fn a_file_that_is_cut_or_overwritten_ends_the_connection_and_one_that_grows_does_not() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    type Change = (fn(&File), bool);
    let changes: [Change; 3] = [
        (|file| file.set_len(500).unwrap(), false),
        (|file| file.write_all_at(b"other", 0).unwrap(), false),
        (|file| file.set_len(9_000).unwrap(), true),
    ];
    for (change, goes_on) in changes {
        let queue = Arc::new(SendQueue::default());
        let (file, opened, mut stamp) = file_of(1_000);
        // Whatever the clock of the file system is.
        stamp.modified_ns -= 1_000_000_000;
        let part = queue.push(&opened, Some(stamp), 0..1_000);
        change(&file);
        let written = write(&queue, &[part], &ours);
        assert_eq!(written.ok(), goes_on.then_some(1_000));
        assert_eq!(queue.is_dead(), !goes_on);
        let failure = (!goes_on).then_some(Reason::FileChanged);
        assert_eq!(queue.take_failure(), failure);
    }
    drop(ours);
    let mut came = Vec::new();
    theirs.read_to_end(&mut came).unwrap();
    assert!(came == content(1_000));
}

#[test]
fn a_file_is_brought_in_where_nobody_has_to_be_asked_for_it() {
    let nowhere = nowhere().unwrap();
    let (file, opened, stamp) = file_of(200_000);
    let here = bring_in(&nowhere, &opened, &stamp, &(0..200_000));
    assert_eq!(here, Ok(is_local(&opened)));
    let made_up: OwnedFd = File::open("/proc/self/maps").unwrap().into();
    assert!(!is_local(&made_up));
    assert_eq!(bring_in(&nowhere, &made_up, &stamp, &(0..10)), Ok(false));
    file.set_len(100_000).unwrap();
    let cut = bring_in(&nowhere, &opened, &stamp, &(0..200_000));
    assert_eq!(cut, Err(Reason::FileChanged));
}

/// A client, and the node's side of its connection.
async fn connected() -> (TcpStream, ClientIo, Arc<SendQueue>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let queue = Arc::new(SendQueue::default());
    let (activity, already) = (Arc::new(Activity::new()), BytesMut::new());
    let (limits, sends) = (Limits::default(), Arc::clone(&queue));
    let io = ClientIo::guarded(Box::new(stream), already, limits, activity, sends);
    (client, io, queue)
}

#[tokio::test]
async fn a_head_and_the_file_behind_it_are_one_write() {
    let (mut client, mut io, queue) = connected().await;
    let (_, file, stamp) = file_of(1_000);
    let part = queue.push(&file, Some(stamp), 0..1_000);
    let slices = [IoSlice::new(b"head"), IoSlice::new(&part)];
    let written = poll_fn(|cx| Pin::new(&mut io).poll_write_vectored(cx, &slices)).await;
    assert_eq!(written.unwrap(), 1_004);
    drop(part);
    assert!(!queue.is_dead());
    let mut came = vec![0; 1_004];
    client.read_exact(&mut came).await.unwrap();
    assert_eq!(came, [b"head".to_vec(), content(1_000)].concat());
}

#[tokio::test]
async fn a_head_before_a_file_that_has_changed_is_written_and_then_nothing() {
    let (_client, mut io, queue) = connected().await;
    let (changed, file, stamp) = file_of(1_000);
    let part = queue.push(&file, Some(stamp), 0..1_000);
    changed.set_len(10).unwrap();
    let slices = [IoSlice::new(b"head"), IoSlice::new(&part)];
    let written = poll_fn(|cx| Pin::new(&mut io).poll_write_vectored(cx, &slices)).await;
    assert_eq!(written.unwrap(), 4);
    let rest = [IoSlice::new(&part)];
    let written = poll_fn(|cx| Pin::new(&mut io).poll_write_vectored(cx, &rest)).await;
    assert_eq!(
        written.unwrap_err().kind(),
        io::ErrorKind::ConnectionAborted
    );
    assert_eq!(queue.take_failure(), Some(Reason::FileChanged));
}

/// What a client gets of a file of so many bytes from hyper, which queues or copies.
async fn served(bytes: usize, queues: bool) -> Vec<u8> {
    let (_, file, stamp) = file_of(bytes);
    let (mut client, io, queue) = connected().await;
    let service = service_fn(move |_| {
        let body = Full::new(queue.push(&file, Some(stamp), 0..bytes as u64));
        async move { Ok::<_, Infallible>(hyper::Response::new(body)) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .writev(queues)
        .serve_connection(TokioIo::new(io), service);
    let asked = async {
        let request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut came = Vec::new();
        let _ = client.read_to_end(&mut came).await;
        came
    };
    let (_, came) = tokio::join!(served, asked);
    came
}

#[tokio::test]
async fn hyper_hands_placeholders_on_and_if_it_copied_them_the_client_would_get_none() {
    let came = served(500_000, true).await;
    let head = came.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    assert!(came[head.unwrap() + 4..] == content(500_000), "other bytes");
    let came = served(500_000, false).await;
    assert!(!came.contains(&0), "a placeholder came");
    assert!(came.len() < 500_000, "{} bytes came", came.len());
}
