//! Keep-alive connections that ask and read whole answers.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::PATIENCE;

const HEAD_BYTES_MAX: usize = 16 << 10;
const READ_BYTES: usize = 64 << 10;

/// A connection.
pub(super) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What is of interest in an answer.
pub(super) struct Answer {
    pub(super) head: String,
    pub(super) took: Duration,
}

impl Answer {
    pub(super) fn is_hit(&self) -> bool {
        self.head.contains("; hit")
    }
}

impl Client {
    pub(super) async fn connect(to: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(to)
            .await
            .map_err(|error| error.to_string())?;
        stream
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        let buffer = Vec::with_capacity(HEAD_BYTES_MAX);
        Ok(Self { stream, buffer })
    }

    /// The answer to a GET; anything but a whole 200 is an error.
    pub(super) async fn get(&mut self, path: &str) -> Result<Answer, String> {
        timeout(PATIENCE, self.ask(path))
            .await
            .unwrap_or_else(|_| Err(format!("{path}: no answer within {PATIENCE:?}")))
    }

    async fn ask(&mut self, path: &str) -> Result<Answer, String> {
        let begun = Instant::now();
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        let sent = self.stream.write_all(request.as_bytes()).await;
        sent.map_err(|error| error.to_string())?;
        let head = self.head().await?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let length = length.ok_or_else(|| format!("{path}: no length in {head}"))?;
        self.skip(length).await?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(format!("{path}: {head}"));
        }
        let took = begun.elapsed();
        Ok(Answer { head, took })
    }

    async fn head(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self
                .buffer
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                let head = self.buffer.drain(..end + 4).collect();
                return String::from_utf8(head).map_err(|error| error.to_string());
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err("a head without an end".to_owned());
            }
            self.read().await?;
        }
    }

    async fn skip(&mut self, mut bytes: usize) -> Result<(), String> {
        loop {
            let here = bytes.min(self.buffer.len());
            self.buffer.drain(..here);
            bytes -= here;
            if bytes == 0 {
                return Ok(());
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), String> {
        // What is read at once is what there is room for.
        self.buffer.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the connection ended".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
