//! One request, for who asks a fake.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The whole answer of `HOST:PORT/PATH`, head and body.
///
/// # Errors
/// When nobody answers.
pub fn get(target: &str) -> io::Result<String> {
    let (host, path) = target.split_once('/').unwrap_or((target, ""));
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.write_all(
        format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
