//! One check of a backend: opens a connection and asks.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::{Request, Uri};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use weir_core::health::Check;

use crate::config::Protocol;
use crate::ports::net::{BoxedStream, Endpoint, Net};

/// Whom to ask, and how.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where.
    pub(crate) endpoint: Endpoint,
    /// What it speaks.
    pub(crate) protocol: Protocol,
    /// What is asked.
    pub(crate) check: Check,
    /// For connection and answer.
    pub(crate) timeout: Duration,
}

/// Asks once; an error says what is wrong.
pub(crate) async fn probe(net: &dyn Net, target: &Target) -> Result<(), String> {
    match timeout(target.timeout, run(net, target)).await {
        Ok(result) => result,
        Err(_) => Err("no answer in time".to_owned()),
    }
}

async fn run(net: &dyn Net, target: &Target) -> Result<(), String> {
    let stream = net
        .connect(&target.endpoint)
        .await
        .map_err(|error| format!("no connection: {error}"))?;
    match &target.check {
        Check::Tcp => Ok(()),
        Check::Http { path, host, .. } => {
            let host = host.as_deref().unwrap_or(target.endpoint.as_str());
            let status = get(stream, target.protocol, path, host).await?;
            match target.check.accepts_status(status) {
                true => Ok(()),
                false => Err(format!("status {status}")),
            }
        }
        Check::Grpc { service } => check_grpc(stream, service).await,
    }
}

async fn get(
    stream: BoxedStream,
    protocol: Protocol,
    path: &str,
    host: &str,
) -> Result<u16, String> {
    let broken = |error: hyper::Error| format!("no answer: {error}");
    let builder = Request::get(path).header(USER_AGENT, "weir-health");
    let io = TokioIo::new(stream);
    let response = match protocol {
        Protocol::Http1 => {
            let request = builder
                .header(HOST, host)
                .body(Empty::<Bytes>::new())
                .map_err(|error| error.to_string())?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
                .await
                .map_err(broken)?;
            exchange(connection, sender.send_request(request)).await?
        }
        Protocol::Http2 => {
            let uri = Uri::builder()
                .scheme("http")
                .authority(host)
                .path_and_query(path)
                .build()
                .map_err(|error| error.to_string())?;
            let request = builder
                .uri(uri)
                .body(Empty::<Bytes>::new())
                .map_err(|error| error.to_string())?;
            let executor = hyper_util::rt::TokioExecutor::new();
            let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
                .await
                .map_err(broken)?;
            exchange(connection, sender.send_request(request)).await?
        }
    };
    Ok(response.status().as_u16())
}

/// Drives the connection only as long as it takes to get the response head.
async fn exchange<C, R, T>(connection: C, response: R) -> Result<T, String>
where
    C: Future<Output = Result<(), hyper::Error>>,
    R: Future<Output = Result<T, hyper::Error>>,
{
    tokio::pin!(connection, response);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            response = &mut response => {
                return response.map_err(|error| format!("no answer: {error}"));
            }
            _ = &mut connection, if open => open = false,
        }
    }
}

async fn check_grpc(stream: BoxedStream, service: &str) -> Result<(), String> {
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = stream.take();
        async move { stream.ok_or_else(|| std::io::Error::other("one connection for each check")) }
    });
    let channel = tonic::transport::Endpoint::from_static("http://backend")
        .connect_with_connector(connector)
        .await
        .map_err(|error| format!("no connection: {error}"))?;
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let response = HealthClient::new(channel)
        .check(request)
        .await
        .map_err(|status| format!("health check answers {:?}", status.code()))?;
    match response.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(format!("health check says {}", other.as_str_name())),
    }
}
