//! A WebSocket client that does nothing but what is measured: RFC 6455 without extensions.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::PATIENCE;

const READ_BYTES: usize = 16 << 10;
/// What asks for a WebSocket, in a head.
pub(super) const UPGRADE: &str = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                                  sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The side that listens.
pub(super) struct Listening {
    half: OwnedReadHalf,
    held: Vec<u8>,
    /// Of `held`, what was given out.
    given: usize,
}

/// The side that speaks.
pub(super) struct Speaking(OwnedWriteHalf);

/// Connects and waits until the node has upgraded.
pub(super) async fn connect(
    node: SocketAddr,
    query: &str,
) -> Result<(Listening, Speaking), String> {
    let opened = timeout(PATIENCE, open(node, query)).await;
    opened.map_err(|_| "a node does not upgrade in time".to_owned())?
}

async fn open(node: SocketAddr, query: &str) -> Result<(Listening, Speaking), String> {
    let words = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(node).await.map_err(words)?;
    stream.set_nodelay(true).map_err(words)?;
    let head = format!("GET /live?{query} HTTP/1.1\r\nhost: {node}\r\n{UPGRADE}\r\n");
    stream.write_all(head.as_bytes()).await.map_err(words)?;
    let mut held = Vec::with_capacity(1024);
    let end = loop {
        if let Some(end) = memchr::memmem::find(&held, b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut held).await.map_err(words)? == 0 {
            return Err("a node hangs up on an upgrade".to_owned());
        }
    };
    if !held.starts_with(b"HTTP/1.1 101") {
        return Err(String::from_utf8_lossy(&held[..end]).into_owned());
    }
    held.drain(..end);
    let (read, write) = stream.into_split();
    let listening = Listening {
        half: read,
        held,
        given: 0,
    };
    Ok((listening, Speaking(write)))
}

impl Listening {
    /// The payload of the next frame; `None` when the connection has ended.
    pub(super) async fn next(&mut self) -> Option<&[u8]> {
        loop {
            if let Some((start, end)) = frame(&self.held[self.given..]) {
                let (start, end) = (self.given + start, self.given + end);
                self.given = end;
                return Some(&self.held[start..end]);
            }
            self.held.drain(..self.given);
            self.given = 0;
            self.held.reserve(READ_BYTES);
            match self.half.read_buf(&mut self.held).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }
}

/// Where the payload of a whole frame of a server is.
pub(super) fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (start, length) = match *bytes.get(1)? {
        126 => (
            4,
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        ),
        127 => (
            10,
            usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?,
        ),
        length => (2, usize::from(length)),
    };
    (bytes.len() >= start + length).then_some((start, start + length))
}

impl Speaking {
    /// Sends texts as frames, all in one write. The mask is zero, which is a mask.
    pub(super) async fn say(&mut self, texts: &[String]) -> Result<(), String> {
        let mut out = Vec::new();
        for text in texts {
            out.push(0x81);
            match u16::try_from(text.len()) {
                Ok(length @ 0..=125) => out.push(0x80 | length as u8),
                Ok(length) => {
                    out.push(0x80 | 126);
                    out.extend_from_slice(&length.to_be_bytes());
                }
                Err(_) => return Err("a message is too long".to_owned()),
            }
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(text.as_bytes());
        }
        self.0
            .write_all(&out)
            .await
            .map_err(|error| error.to_string())
    }
}
