//! Where requests go: an address, a path and a protocol; and the connections there.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// Streams that one connection of HTTP/2 has open at most.
pub(super) const STREAMS_MAX: u32 = 32;

/// What one request gets.
pub(super) type Exchange = Result<StatusCode, Broken>;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// There is no connection.
    #[error("no connection: {0}")]
    Connect(#[from] std::io::Error),
    /// The connection broke, or what came is no HTTP.
    #[error("broken off: {0}")]
    Http(#[from] hyper::Error),
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Goal {
    authority: Authority,
    address: String,
    path: PathAndQuery,
    is_http2: bool,
}

impl Goal {
    /// Reads a URL; the protocol is HTTP/1.1, or HTTP/2 without TLS.
    pub(super) fn new(url: &str, is_http2: bool) -> Result<Self, String> {
        let refuse = |what: &str| format!("`{url}` {what}; allowed: http://HOST[:PORT]/PATH");
        let parts = url
            .parse::<Uri>()
            .map_err(|_| refuse("is no URL"))?
            .into_parts();
        if parts.scheme.is_some_and(|scheme| scheme != Scheme::HTTP) {
            return Err(refuse("is not http"));
        }
        let authority = parts.authority.ok_or_else(|| refuse("has no host"))?;
        let port = authority.port_u16().unwrap_or(80);
        let path = parts.path_and_query;
        Ok(Self {
            address: format!("{}:{port}", authority.host()),
            authority,
            path: path.unwrap_or_else(|| PathAndQuery::from_static("/")),
            is_http2,
        })
    }

    /// Requests that may run at once over so many connections.
    pub(super) fn places(&self, connections: u32) -> u32 {
        if self.is_http2 {
            connections * STREAMS_MAX
        } else {
            connections
        }
    }

    pub(super) fn protocol(&self) -> &'static str {
        if self.is_http2 { "h2c" } else { "http/1.1" }
    }

    async fn stream(&self) -> Result<TokioIo<TcpStream>, Broken> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(stream))
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(self.path.clone());
        if self.is_http2 {
            parts.scheme = Some(Scheme::HTTP);
            parts.authority = Some(self.authority.clone());
        } else if let Ok(host) = self.authority.as_str().parse() {
            request.headers_mut().insert(HOST, host);
        }
        let agent = http::HeaderValue::from_static("weir-bench");
        request.headers_mut().insert(USER_AGENT, agent);
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        request
    }

    /// The places of so many connections, none of which is open yet.
    pub(super) fn open(self: &Rc<Self>, connections: u32) -> Vec<Place> {
        let place = |line| Place {
            goal: Rc::clone(self),
            line,
        };
        if !self.is_http2 {
            return (0..connections).map(|_| place(Line::Own(None))).collect();
        }
        let lines: Vec<Shared> = (0..connections).map(|_| Shared::default()).collect();
        let streams = (0..STREAMS_MAX).flat_map(|_| &lines);
        streams
            .map(|line| place(Line::Shared(Rc::clone(line))))
            .collect()
    }
}

type Shared = Rc<Mutex<Option<http2::SendRequest<Empty<Bytes>>>>>;

enum Line {
    /// A connection of HTTP/1.1.
    Own(Option<http1::SendRequest<Empty<Bytes>>>),
    /// One of HTTP/2, which others have, too.
    Shared(Shared),
}

/// What one request at a time runs on.
pub(super) struct Place {
    goal: Rc<Goal>,
    line: Line,
}

impl Place {
    /// Opens its connection if it is not open.
    pub(super) async fn connect(&mut self) -> Result<(), Broken> {
        match &mut self.line {
            Line::Own(Some(sender)) if !sender.is_closed() => {}
            Line::Own(sender) => {
                let (opened, connection) = http1::handshake(self.goal.stream().await?).await?;
                tokio::task::spawn_local(connection);
                *sender = Some(opened);
            }
            Line::Shared(line) => drop(shared(line, &self.goal).await?),
        }
        Ok(())
    }

    /// One request, to the end of its answer.
    pub(super) async fn exchange(&mut self) -> Exchange {
        let request = self.goal.request();
        self.connect().await?;
        let response = match &mut self.line {
            Line::Own(None) => return Err(std::io::Error::other("it is not open").into()),
            Line::Own(Some(sender)) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Line::Shared(line) => {
                let mut sender = shared(line, &self.goal).await?;
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let status = response.status();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok(status)
    }

    /// After a request that was given up: what its connection brings is not for the next one.
    pub(super) fn give_up(&mut self) {
        if let Line::Own(sender) = &mut self.line {
            *sender = None;
        }
    }
}

async fn shared(line: &Shared, goal: &Goal) -> Result<http2::SendRequest<Empty<Bytes>>, Broken> {
    let mut sender = line.lock().await;
    if let Some(open) = sender.as_ref().filter(|sender| !sender.is_closed()) {
        return Ok(open.clone());
    }
    let handshake = http2::handshake(TokioExecutor::new(), goal.stream().await?);
    let (opened, connection) = handshake.await?;
    tokio::task::spawn_local(connection);
    Ok(sender.insert(opened).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_http_and_has_a_host() {
        let goal = Goal::new("http://127.0.0.1:8080/a?b=c", false).unwrap();
        assert_eq!(goal.address, "127.0.0.1:8080");
        assert_eq!(goal.request().uri(), "/a?b=c");
        assert_eq!(goal.request().headers()[HOST], "127.0.0.1:8080");
        let goal = Goal::new("http://weir.example", true).unwrap();
        assert_eq!(goal.address, "weir.example:80");
        assert_eq!(goal.request().uri(), "http://weir.example/");
        assert_eq!((goal.places(2), goal.protocol()), (64, "h2c"));
        for bad in ["https://a/", "/path", "http://", "ws://a/", ""] {
            let refused = Goal::new(bad, false).unwrap_err();
            assert!(
                refused.ends_with("allowed: http://HOST[:PORT]/PATH"),
                "{refused}"
            );
        }
    }
}
