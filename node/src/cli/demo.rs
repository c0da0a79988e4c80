//! `weir demo-backend`: a real HTTP, gRPC and WebSocket server to try a mesh with.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use clap::Args;
use futures::{Stream, StreamExt as _, stream};
use tonic::{Code, Request, Status, Streaming};
use weir_proto::demo::v1::echo_server::{Echo, EchoServer};
use weir_proto::demo::v1::{EchoRequest, EchoResponse};

use super::block_on;
use super::output::{Failure, print};

/// Bytes of one part of `/bytes/N`.
const PART_BYTES: usize = 64 << 10;

/// Serve a demo backend (HTTP, gRPC, WebSocket)
#[derive(Args)]
pub(super) struct DemoBackend {
    /// Where to listen; port 0 takes a free one. The address is printed first.
    #[arg(long)]
    listen: SocketAddr,
    /// How it calls itself in its answers.
    #[arg(long)]
    name: String,
}

impl DemoBackend {
    pub(super) fn run(self) -> Result<(), Failure> {
        block_on(async move {
            let listener = tokio::net::TcpListener::bind(self.listen).await?;
            print(&listener.local_addr()?.to_string())?;
            // A pipe ends with whoever started this; an engine has none, its guard ends it.
            let parent = crate::end_signs::Parent::new(true)
                .or_else(|_| crate::end_signs::Parent::new(false));
            let mut parent = parent?;
            axum::serve(listener, router(self.name))
                .with_graceful_shutdown(async move { parent.gone().await })
                .await?;
            Ok(())
        })
    }
}

fn router(name: String) -> Router {
    let (reporter, health) = tonic_health::server::health_reporter();
    let grpc = tonic::service::Routes::new(EchoServer::new(EchoService { name: name.clone() }))
        .add_service(health)
        .into_axum_router();
    tokio::task::spawn_local(async move {
        reporter.set_serving::<EchoServer<EchoService>>().await;
    });
    Router::new()
        .route("/", get(hello))
        .route("/echo", any(echo))
        .route("/headers", any(headers))
        .route("/status/{code}", any(status))
        .route("/slow", any(slow))
        .route("/bytes/{count}", get(bytes))
        .route("/ws", any(websocket))
        .with_state(name)
        .merge(grpc.fallback(nothing_here))
}

async fn nothing_here() -> (StatusCode, &'static str) {
    let paths = "try /, /echo, /headers, /slow?ms=500, /status/503, /bytes/1000000, /ws\n";
    (StatusCode::NOT_FOUND, paths)
}

async fn hello(State(name): State<String>) -> String {
    format!("hello from {name}\n")
}

async fn echo(body: Body) -> Body {
    body
}

async fn headers(State(name): State<String>, headers: HeaderMap) -> Response {
    let mut lines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (header, value) in &headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        lines.entry(header.as_str()).or_default().push(value);
    }
    axum::Json(serde_json::json!({ "backend": name, "headers": lines })).into_response()
}

async fn status(Path(code): Path<u16>) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST)
}

async fn slow(State(name): State<String>, Query(query): Query<BTreeMap<String, u64>>) -> String {
    let ms = query.get("ms").copied().unwrap_or(1_000).min(600_000);
    tokio::time::sleep(Duration::from_millis(ms)).await;
    format!("{name} answers after {ms} ms\n")
}

async fn bytes(Path(count): Path<u64>) -> Body {
    let part = Bytes::from(vec![b'w'; PART_BYTES]);
    Body::from_stream(stream::unfold(count, move |left| {
        let next = left.min(PART_BYTES as u64);
        let part = part.slice(..usize::try_from(next).unwrap_or(PART_BYTES));
        async move { (next > 0).then(|| (Ok::<_, Infallible>(part), left - next)) }
    }))
}

async fn websocket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo_messages)
}

async fn echo_messages(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let answered = match message {
            text @ (Message::Text(_) | Message::Binary(_)) => socket.send(text).await,
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => Ok(()),
        };
        if answered.is_err() {
            return;
        }
    }
}

struct EchoService {
    name: String,
}

impl EchoService {
    fn answer(&self, message: String) -> EchoResponse {
        EchoResponse {
            message,
            backend: self.name.clone(),
        }
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Echo for EchoService {
    async fn unary(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<tonic::Response<EchoResponse>, Status> {
        let request = request.into_inner();
        tokio::time::sleep(Duration::from_millis(request.interval_ms.min(600_000))).await;
        match request.fail_with {
            0 => Ok(tonic::Response::new(self.answer(request.message))),
            code => Err(Status::new(Code::from(code as i32), "as you wished")),
        }
    }

    type ServerStreamStream = Answers;

    async fn server_stream(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<tonic::Response<Answers>, Status> {
        let request = request.into_inner();
        let answer = self.answer(request.message);
        let interval = Duration::from_millis(request.interval_ms.min(600_000));
        let answers = stream::iter(0..request.count).then(move |_| {
            let answer = answer.clone();
            async move {
                tokio::time::sleep(interval).await;
                Ok(answer)
            }
        });
        Ok(tonic::Response::new(Box::pin(answers)))
    }

    async fn client_stream(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<tonic::Response<EchoResponse>, Status> {
        let mut requests = request.into_inner();
        let mut joined = String::new();
        while let Some(request) = requests.message().await? {
            joined.push_str(&request.message);
        }
        Ok(tonic::Response::new(self.answer(joined)))
    }

    type BidirectionalStreamStream = Answers;

    async fn bidirectional_stream(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<tonic::Response<Answers>, Status> {
        let name = self.name.clone();
        let answers = request.into_inner().map(move |request| {
            request.map(|request| EchoResponse {
                message: request.message,
                backend: name.clone(),
            })
        });
        Ok(tonic::Response::new(Box::pin(answers)))
    }
}
