//! An HTTP/1.1 client that tells apart every way an exchange can end, and a steady load of many.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::common::PATIENCE;

/// A keep-alive connection.
pub struct Client {
    stream: TcpStream,
    held: Vec<u8>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, in whatever case it was written.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

/// An exchange without a whole answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// The connection closed before the first byte of an answer.
    Unanswered,
    /// It closed within the head or the body; this is what came.
    Cut(String),
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let held = Vec::new();
        Self { stream, held }
    }

    /// A connection from another address of this machine.
    pub async fn connect_from(from: &str, address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(from.parse().unwrap()).unwrap();
        let stream = socket.connect(address).await.unwrap();
        let held = Vec::new();
        Self { stream, held }
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer, Broken> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        self.ask(&request).await
    }

    pub async fn post(&mut self, path: &str, body: &str) -> Result<Answer, Broken> {
        let length = body.len();
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}");
        self.ask(&request).await
    }

    /// Sends one request and reads its answer.
    pub async fn ask(&mut self, request: &str) -> Result<Answer, Broken> {
        // A connection that is closed already says so when the answer is read.
        let _ = self.stream.write_all(request.as_bytes()).await;
        let answer = timeout(PATIENCE, self.answer()).await;
        answer.unwrap_or_else(|_| panic!("no answer to {request:?}"))
    }

    /// Reads one answer.
    pub async fn answer(&mut self) -> Result<Answer, Broken> {
        let head_end = loop {
            if let Some(at) = find(&self.held, b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await?;
        };
        let head = String::from_utf8_lossy(&self.held[..head_end]).into_owned();
        let mut answer = Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: Vec::new(),
        };
        let whole = if answer.header("transfer-encoding") == Some("chunked") {
            self.read_chunks(head_end, &mut answer.body).await?
        } else {
            // These have no body, and so no length (RFC 9110 section 8.6).
            let length = match answer.status {
                101 | 204 => 0,
                _ => answer.header("content-length").unwrap().parse().unwrap(),
            };
            while self.held.len() < head_end + length {
                self.read_more().await?;
            }
            answer.body = self.held[head_end..head_end + length].to_vec();
            head_end + length
        };
        self.held.drain(..whole);
        Ok(answer)
    }

    async fn read_chunks(&mut self, mut at: usize, body: &mut Vec<u8>) -> Result<usize, Broken> {
        loop {
            let line_end = loop {
                if let Some(end) = find(&self.held[at..], b"\r\n") {
                    break at + end;
                }
                self.read_more().await?;
            };
            let size = str::from_utf8(&self.held[at..line_end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            at = line_end + 2;
            while self.held.len() < at + size + 2 {
                self.read_more().await?;
            }
            body.extend_from_slice(&self.held[at..at + size]);
            at += size + 2;
            if size == 0 {
                return Ok(at);
            }
        }
    }

    async fn read_more(&mut self) -> Result<(), Broken> {
        match self.stream.read_buf(&mut self.held).await {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) if self.held.is_empty() => Err(Broken::Unanswered),
            Ok(0) | Err(_) => Err(Broken::Cut(
                String::from_utf8_lossy(&self.held).into_owned(),
            )),
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// Closed-loop clients that ask for `/` over keep-alive connections until told to stop.
pub struct Load {
    counts: Arc<Counts>,
    clients: JoinSet<Vec<String>>,
}

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    good: AtomicUsize,
    reconnects: AtomicUsize,
}

/// What became of a load.
#[derive(Debug)]
pub struct Tally {
    pub good: usize,
    /// Connections that the node closed after an answer that said so.
    pub reconnects: usize,
    /// Everything that was not a 200.
    pub bad: Vec<String>,
}

impl Load {
    pub fn start(address: SocketAddr, connections: usize) -> Self {
        let counts = Arc::new(Counts::default());
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            clients.spawn(run(address, Arc::clone(&counts)));
        }
        Self { counts, clients }
    }

    pub fn good(&self) -> usize {
        self.counts.good.load(Ordering::Relaxed)
    }

    /// Waits until so many further requests were answered.
    pub async fn passes(&self, further: usize) {
        let wanted = self.good() + further;
        let deadline = Instant::now() + PATIENCE;
        while self.good() < wanted {
            assert!(Instant::now() < deadline, "the load stands still");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Lets every client finish its request.
    pub async fn stop(self) -> Tally {
        self.counts.stop.store(true, Ordering::Relaxed);
        self.ended().await
    }

    /// Waits until every client has ended by itself: the node takes no more connections.
    pub async fn ended(self) -> Tally {
        let bad = timeout(PATIENCE, self.clients.join_all()).await;
        Tally {
            bad: bad.expect("the load ends").concat(),
            good: self.counts.good.load(Ordering::Relaxed),
            reconnects: self.counts.reconnects.load(Ordering::Relaxed),
        }
    }
}

/// One client; ends when told to, or when nobody listens any more.
async fn run(address: SocketAddr, counts: Arc<Counts>) -> Vec<String> {
    let mut bad = Vec::new();
    while let Ok(stream) = TcpStream::connect(address).await {
        stream.set_nodelay(true).unwrap();
        let held = Vec::new();
        let mut client = Client { stream, held };
        loop {
            if counts.stop.load(Ordering::Relaxed) || bad.len() > 100 {
                return bad;
            }
            match client.get("/").await {
                Ok(answer) if answer.status == 200 => {
                    counts.good.fetch_add(1, Ordering::Relaxed);
                    if answer.closes() {
                        counts.reconnects.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                }
                Ok(answer) => bad.push(format!("{}{}", answer.head, answer.text())),
                Err(broken) => {
                    bad.push(format!("{broken:?}"));
                    break;
                }
            }
        }
    }
    bad
}
