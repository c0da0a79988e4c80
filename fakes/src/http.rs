//! Requests and answers of a small HTTP/1.1 server: one request a connection, everything bounded.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

pub use crate::server::{Server, Stopped};

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&self.target, |(path, _)| path)
    }

    /// Names and values of the query, decoded.
    pub fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect()
    }

    /// The first header of a name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }
}

/// `%41` is `A`, `+` is a space.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        (rest, _) = match (first, byte) {
            (b'%', Some(byte)) => (&after[2..], bytes.push(byte)),
            (b'+', _) => (after, bytes.push(b' ')),
            _ => (after, bytes.push(*first)),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Writes whatever it wants after the head that it writes too.
pub type Body = Box<dyn FnOnce(&mut TcpStream, &Stopped) -> io::Result<()> + Send>;

/// What becomes of a request.
pub enum Reply {
    /// This answer.
    Answer(Answer),
    /// None, until the client goes.
    Hang,
    /// None: the connection is closed.
    Close,
    /// The handler writes to the connection itself, head included.
    Stream(Body),
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// `200`.
    pub status: u16,
    /// Beside `Content-Length` and `Connection`.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How long it is held back.
    pub delay: Duration,
    /// Promised and not sent.
    pub missing_bytes: usize,
}

impl Answer {
    /// Plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", "text/plain".into())],
            body: text.into().into_bytes(),
            ..Self::default()
        }
    }

    /// JSON.
    pub fn json(status: u16, json: impl Into<String>) -> Self {
        Self {
            headers: vec![("Content-Type", "application/json".into())],
            ..Self::text(status, json)
        }
    }

    /// A redirect.
    pub fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self {
            headers: vec![("Location", location.into())],
            ..Self::text(status, "")
        }
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// What becomes of a request.
    fn reply(&self, request: &Request) -> Reply;

    /// Whether connections are reset (RST) on their first byte.
    fn resets(&self) -> bool {
        false
    }
}

impl<F: Fn(&Request) -> Reply + Send + Sync + 'static> Handler for F {
    fn reply(&self, request: &Request) -> Reply {
        self(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let request = Request {
            target: "/a?ports=1%2C2&x&name=a+b%zz".into(),
            ..Request::default()
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let pairs = [pair("ports", "1,2"), pair("x", ""), pair("name", "a b%zz")];
        assert_eq!(request.query(), pairs);
        assert_eq!(request.path(), "/a");
    }
}
