//! A backend in this process that takes down whole requests as they stand on the wire.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::common::{PATIENCE, Weir, scripted_backend};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What it has seen so far waits in here.
pub struct Recorder {
    pub address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Recorded>,
}

/// One request; the body with its framing.
#[derive(Debug)]
pub struct Recorded {
    pub head: String,
    pub body: String,
}

impl Recorder {
    /// Answers everything with `200` and `ok`.
    pub async fn start() -> Self {
        Self::answering(|_| OK.to_owned()).await
    }

    /// Answers with what `answer` makes of the head; closes after an answer that says so.
    pub async fn answering(answer: impl Fn(&str) -> String + Send + Clone + 'static) -> Self {
        let (sender, requests) = mpsc::unbounded_channel();
        let address = scripted_backend(move |mut stream| {
            let (sender, answer) = (sender.clone(), answer.clone());
            async move {
                while let Some(request) = read_request(&mut stream).await {
                    let answer = answer(&request.head);
                    // The test may have seen enough.
                    let _ = sender.send(request);
                    let written = stream.write_all(answer.as_bytes()).await;
                    if written.is_err() || answer.contains("connection: close") {
                        return;
                    }
                }
            }
        })
        .await;
        Self { address, requests }
    }

    /// The next request, which must come.
    pub async fn next(&mut self) -> Recorded {
        let next = timeout(PATIENCE, self.requests.recv()).await;
        next.expect("no request comes").expect("the backend runs")
    }

    /// Asserts that nothing came but what was taken already.
    pub async fn saw_nothing_else(&mut self, weir: &Weir) {
        let answer = weir.get("/sentinel").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let next = self.next().await;
        assert_eq!(next.line(), "GET /sentinel HTTP/1.1", "{next:?}");
        assert!(self.requests.is_empty());
    }
}

impl Recorded {
    /// What the chunks of the body hold. Where one ends means nothing: a node passes on what it has of each.
    pub fn data(&self) -> String {
        let (mut data, mut rest) = (String::new(), self.body.as_str());
        loop {
            let (size, behind) = rest.split_once("\r\n").expect(&self.body);
            let size = usize::from_str_radix(size, 16).expect(&self.body);
            if size == 0 {
                return data;
            }
            data.push_str(&behind[..size]);
            rest = behind[size..].strip_prefix("\r\n").expect(&self.body);
        }
    }

    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// All values of a header, in order.
    pub fn values(&self, name: &str) -> Vec<&str> {
        values(&self.head, name)
    }

    /// The one value of a header.
    pub fn value(&self, name: &str) -> &str {
        let [value] = self.values(name)[..] else {
            panic!("not one {name}: {}", self.head)
        };
        value
    }
}

/// All values of a header of a message as it stands on the wire.
pub fn values<'a>(message: &'a str, name: &str) -> Vec<&'a str> {
    let head = message.split("\r\n\r\n").next().unwrap();
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

/// Asserts the status of an answer and the reason that the node gave for it.
pub fn assert_reason(answer: &str, status: u16, reason: &str) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{answer}"
    );
    assert_eq!(values(answer, "x-weir-reason"), [reason], "{answer}");
}

/// One whole request, or `None` when the connection ends before it does.
pub async fn read_request(stream: &mut TcpStream) -> Option<Recorded> {
    let head = read_head(stream).await?;
    let mut body = Vec::new();
    if let Some(length) = values(&head, "content-length").first() {
        body.resize(length.parse().unwrap(), 0);
        stream.read_exact(&mut body).await.ok()?;
    } else if head.contains("transfer-encoding: chunked") {
        while !(body == b"0\r\n\r\n" || body.ends_with(b"\r\n\r\n") && has_last_chunk(&body)) {
            body.push(stream.read_u8().await.ok()?);
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Some(Recorded { head, body })
}

fn has_last_chunk(body: &[u8]) -> bool {
    body.starts_with(b"0\r\n") || body.windows(5).any(|part| part == b"\r\n0\r\n")
}

/// A head with its empty line, byte by byte so that nothing after it is lost.
pub async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}
