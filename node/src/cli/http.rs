//! GET from a node's HTTP API.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::output::Failure;

const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What a node answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Asks the HTTP API at `address` (`HOST:PORT`), with a bearer token if there is one.
pub(super) async fn get(
    address: &str,
    path: &str,
    token: Option<&str>,
    within: Duration,
) -> Result<Answer, Failure> {
    let asked = timeout(within, ask(address, path, token)).await;
    asked.unwrap_or_else(|_| {
        let within = weir_core::units::format_duration(within);
        Err(Failure::Away(format!(
            "{address} did not answer within {within}"
        )))
    })
}

async fn ask(address: &str, path: &str, token: Option<&str>) -> Result<Answer, Failure> {
    let host = address.strip_prefix("http://").unwrap_or(address);
    let broken = |error: hyper::Error| {
        Failure::Other(format!(
            "what answers at {address} is no HTTP API of a node (port 7480, not 7400 or 8080): {error}"
        ))
    };
    let stream = TcpStream::connect(host).await.map_err(|error| {
        Failure::Away(format!(
            "no HTTP API of a node answers at {address} ({error}); --node ADDRESS says where"
        ))
    })?;
    let mut request = Request::get(path).header(HOST, host).header(ACCEPT, "*/*");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| Failure::Usage(format!("{address}{path}: {error}")))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(broken)?;
    let driver = tokio::task::spawn_local(connection);
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let body = body
        .collect()
        .await
        .map_err(|error| Failure::Other(format!("the answer of {address} broke off: {error}")))?;
    driver.abort();
    Ok(Answer {
        status,
        body: body.to_bytes(),
    })
}
