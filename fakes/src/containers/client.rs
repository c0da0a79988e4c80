//! As much of Docker's API as tests need beside what they test.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(2);
const IS_TAR: &str = "application/x-tar";
const IS_JSON: &str = "application/json";

/// What Docker said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// JSON, mostly.
    pub body: String,
}

pub(super) fn answers(socket: &Path) -> bool {
    asked(socket, PING_LIMIT, "GET", "/_ping", &[]).is_ok_and(|answer| answer.status == 200)
}

pub(super) fn ask(socket: &Path, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
    asked(socket, LIMIT, method, path, body)
}

fn asked(
    socket: &Path,
    limit: Duration,
    method: &str,
    path: &str,
    body: &[u8],
) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let kind = if body.starts_with(b"{") {
        IS_JSON
    } else {
        IS_TAR
    };
    // 1.0, so that the answer is not chunked and ends with the connection.
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nhost: docker\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or(io::ErrorKind::InvalidData)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok(Answer {
        status: status.ok_or(io::ErrorKind::InvalidData)?,
        body: body.to_owned(),
    })
}
