//! Tells a server something, for programs in containers that have nothing else to do it with.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

const SILENCE_MAX: Duration = Duration::from_secs(5);

/// The status of the answer to a POST of `body` to `http://HOST:PORT/PATH` with this bearer token.
///
/// # Errors
/// A URL that is none, or nobody who answers.
pub fn push(url: &str, token: &str, body: &str) -> io::Result<u16> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "http://HOST:PORT/PATH");
    let rest = url.strip_prefix("http://").ok_or_else(invalid)?;
    let (host, path) = rest.split_once('/').ok_or_else(invalid)?;
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    let head = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
