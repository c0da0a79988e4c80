//! HTTP/1.1 as far as the fakes need it: one request a connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const HEAD_BYTES_MAX: u64 = 64 * 1024;
const BODY_BYTES_MAX: usize = 1024 * 1024;
const IDLE_MAX: Duration = Duration::from_secs(30);

/// What was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET` and the like.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Decoded, in order.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As long as `content-length` says.
    pub body: Vec<u8>,
}

impl Request {
    /// The first value of a parameter of the query.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        find(&self.query, name)
    }

    /// The first value of a header; the name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = pairs.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

/// Hands each request to `handle` with the connection to answer on, one thread each, for ever.
pub fn serve(
    listener: &TcpListener,
    handle: impl Fn(Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
) {
    let handle = Arc::new(handle);
    for stream in listener.incoming().flatten() {
        let handle = Arc::clone(&handle);
        thread::spawn(move || {
            let mut stream = stream;
            // Whoever went away is not told anything.
            let _ = read(&stream).and_then(|request| handle(request, &mut stream));
        });
    }
}

/// # Errors
/// When it is no request, too long, or the peer went away.
pub fn read(stream: &TcpStream) -> io::Result<Request> {
    stream.set_read_timeout(Some(IDLE_MAX))?;
    let mut reader = BufReader::new(stream.take(HEAD_BYTES_MAX + BODY_BYTES_MAX as u64));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut request = Request {
        method,
        path: decoded(path),
        query: parameters(query),
        ..Request::default()
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let pair = (name.to_ascii_lowercase(), value.trim().to_owned());
        request.headers.push(pair);
    }
    let length: usize = request
        .header("content-length")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    request.body = vec![0; length.min(BODY_BYTES_MAX)];
    reader.read_exact(&mut request.body)?;
    Ok(request)
}

/// The whole answer of `HOST:PORT/PATH`, head and body.
///
/// # Errors
/// When nobody answers.
pub fn get(target: &str) -> io::Result<String> {
    let (host, path) = target.split_once('/').unwrap_or((target, ""));
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(IDLE_MAX))?;
    stream.write_all(
        format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Head and body, and nothing after them.
///
/// # Errors
/// When the peer went away.
pub fn answer(
    stream: &mut TcpStream,
    status: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<()> {
    let length = body.len().to_string();
    let mut all = head(status, headers, Some(&length)).into_bytes();
    all.extend_from_slice(body);
    stream.write_all(&all)
}

/// # Errors
/// When the peer went away.
pub fn answer_json(stream: &mut TcpStream, body: &str) -> io::Result<()> {
    answer(
        stream,
        "200 OK",
        &[("content-type", "application/json")],
        body.as_bytes(),
    )
}

/// A head after which the body follows until the connection ends.
///
/// # Errors
/// When the peer went away.
pub fn begin(stream: &mut TcpStream, headers: &[(&str, &str)]) -> io::Result<()> {
    stream.write_all(head("200 OK", headers, None).as_bytes())
}

fn head(status: &str, headers: &[(&str, &str)], length: Option<&str>) -> String {
    let given = headers.iter().copied();
    let all = given.chain(length.map(|length| ("content-length", length)));
    let lines: String = all
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("HTTP/1.1 {status}\r\n{lines}connection: close\r\n\r\n")
}

fn parameters(query: &str) -> Vec<(String, String)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Text as JSON has it, with its quotes.
#[must_use]
pub fn json_text(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|char| match char {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            char if char.is_control() => format!("\\u{:04x}", u32::from(char)),
            char => char.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::{json_text, parameters};

    #[test]
    fn queries_are_decoded() {
        let expected = [("a", "1 2"), ("b", ""), ("c", "%zz/ü")]
            .map(|(name, value)| (name.into(), value.into()));
        assert_eq!(parameters("a=1+2&b&c=%zz%2f%C3%BC"), expected);
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(json_text("a\"\\\n"), "\"a\\\"\\\\\\u000a\"");
    }
}
