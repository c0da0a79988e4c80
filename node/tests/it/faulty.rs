//! Backends that do everything wrong, each in its own way.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::scripted_backend;

/// What a backend does wrong with each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Resets without having read anything of the request.
    Reset,
    /// Closes after it has read the head.
    Close,
    /// Resets after it has read the head.
    ResetAfterHead,
    /// Never answers.
    Hang,
    /// Never reads, never answers.
    NeverRead,
    /// Stops within its head.
    HalfHead,
    /// Closes within its head.
    CutHead,
    /// Speaks no HTTP.
    Garbage,
    /// Gives two lengths for one body.
    TwoLengths,
    /// Sends header after header.
    EndlessHeaders,
    /// Sends one header that never ends.
    EndlessHeader,
    /// Sends interim answers only.
    EndlessInterim,
    /// Switches to a protocol that nobody asked for.
    Switch,
    /// Announces 10 bytes, sends 5 and closes.
    Short,
    /// Closes within a chunk.
    CutChunk,
    /// Announces a chunk in no known number system.
    BadChunk,
    /// Announces 10 bytes, sends 5 and rests.
    Stall,
    /// Announces 5 bytes and sends a second answer after them.
    Long,
    /// Refuses after the head, before it has read the body.
    EarlyRefusal,
}

impl Fault {
    /// A backend with this fault.
    pub async fn listen(self) -> SocketAddr {
        scripted_backend(move |stream| self.act(stream)).await
    }

    async fn act(self, mut stream: TcpStream) {
        if self == Self::Reset {
            // Bytes of the request are here, and stay where they are.
            let _ = stream.peek(&mut [0]).await;
            return reset(stream);
        }
        if self == Self::NeverRead {
            return std::future::pending().await;
        }
        if read_head(&mut stream).await.is_none() {
            return;
        }
        let answer: &[u8] = match self {
            Self::Reset | Self::NeverRead | Self::Hang | Self::Close => b"",
            Self::ResetAfterHead => return reset(stream),
            Self::HalfHead | Self::CutHead => b"HTTP/1.1 200 OK\r\nContent-Le",
            Self::Garbage => b"\x16\x03\x01 this is not HTTP\r\n\r\n",
            Self::TwoLengths => {
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"
            }
            Self::EndlessHeaders => return repeat(stream, b"X-More: and more\r\n").await,
            Self::EndlessHeader => return repeat(stream, b"more and more and more").await,
            Self::EndlessInterim => {
                return drip(stream, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n").await;
            }
            Self::Switch => {
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
            }
            Self::Short | Self::Stall => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
            Self::CutChunk => {
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n9\r\nwor"
            }
            Self::BadChunk => {
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nworld"
            }
            Self::Long => {
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
                  HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
            }
            Self::EarlyRefusal => {
                b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nbig\n"
            }
        };
        // The node may have hung up.
        let _ = stream.write_all(answer).await;
        if self == Self::EarlyRefusal {
            let _ = stream.shutdown().await;
        }
        let waits = [Self::Hang, Self::HalfHead, Self::Stall, Self::Long];
        if self == Self::EarlyRefusal || waits.contains(&self) {
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    }
}

/// Reads a request's head and whatever came with it; `None` when there is none.
pub async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

async fn repeat(mut stream: TcpStream, line: &[u8]) {
    let begin = b"HTTP/1.1 200 OK\r\nX-Begin: ";
    let mut written = stream.write_all(begin).await;
    while written.is_ok() {
        written = stream.write_all(line).await;
    }
}

async fn drip(mut stream: TcpStream, interim: &[u8]) {
    while stream.write_all(interim).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An address whose connections are refused, for as long as this lives.
pub struct Refusing(Socket);

impl Refusing {
    pub fn new() -> Self {
        Self(bound())
    }

    pub fn address(&self) -> SocketAddr {
        address_of(&self.0)
    }
}

/// An address that never answers a connect: its queue is full and nobody accepts.
pub struct BlackHole {
    listener: Socket,
    _queue: Vec<Socket>,
}

impl BlackHole {
    pub fn new() -> Self {
        let listener = bound();
        listener.listen(0).unwrap();
        let address = address_of(&listener);
        let queue = (0..4)
            .map(|_| {
                let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                filler.set_nonblocking(true).unwrap();
                let _ = filler.connect(&address.into());
                filler
            })
            .collect();
        Self {
            listener,
            _queue: queue,
        }
    }

    pub fn address(&self) -> SocketAddr {
        address_of(&self.listener)
    }
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    socket
}

fn address_of(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}
