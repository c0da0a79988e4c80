//! The ways of a node to its control plane and to Docker, at one point of which the test is told, and nothing passes.
//!
//! Whatever a job does outside of its node goes over one of these ways. So a test that kills the node there kills it
//! between two steps of the job, without knowing anything of the node's inside and without waiting for luck.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::stage::EVENTUALLY;

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Nobody has heard of it.
    Asked,
    /// It is done, and who called does not know.
    Done,
}

/// A point of the ways: which call, the how manieth of its kind, and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// How the call's method and path end, without version and names.
    pub call: &'static str,
    pub number: u32,
    pub at: At,
}

/// Both ways of one node.
pub struct Tap {
    /// The control plane, for the node.
    pub plane: SocketAddr,
    folder: tempfile::TempDir,
    points: Arc<Points>,
}

struct Points {
    point: Point,
    passed: AtomicU32,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waits,
    Reached,
    Passes,
}

impl Tap {
    /// Ways to this control plane and this Docker.
    pub async fn new(plane: SocketAddr, docker: &Path, point: Point) -> Self {
        let points = Arc::new(Points {
            point,
            passed: AtomicU32::new(0),
            state: watch::Sender::new(State::Waits),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = listener.local_addr().unwrap();
        tokio::spawn(to_plane(listener, plane, Arc::clone(&points)));
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        tokio::spawn(to_docker(listener, docker.to_owned(), Arc::clone(&points)));
        Self {
            plane: near,
            folder,
            points,
        }
    }

    /// Docker, for the node.
    pub fn docker(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// Waits until a call is at the point; it stays there.
    pub async fn reached(&self) {
        let mut state = self.points.state.subscribe();
        let reached = timeout(EVENTUALLY, state.wait_for(|state| *state == State::Reached));
        let reached = reached.await.map(|state| *state.unwrap());
        assert!(reached.is_ok(), "nothing came to {:?}", self.points.point);
    }

    /// Lets everything pass from now on.
    pub fn open(&self) {
        self.points.state.send_replace(State::Passes);
    }
}

impl Points {
    async fn pass(&self, call: &str, at: At) {
        let Point {
            call: wanted,
            number,
            at: place,
        } = self.point;
        if at != place || call != wanted {
            return;
        }
        let is_it = self.passed.fetch_add(1, Ordering::Relaxed) + 1 == number;
        if is_it && *self.state.borrow() == State::Waits {
            self.state.send_replace(State::Reached);
            let mut state = self.state.subscribe();
            // The sender is part of this: it cannot be gone.
            drop(state.wait_for(|state| *state == State::Passes).await);
        }
    }
}

/// `Jobs/Claim`, `POST /containers/start`: a call without what differs from one to the next.
fn name_of(request: &Request<Incoming>) -> String {
    let path = request.uri().path();
    if let Some(call) = path.strip_prefix("/weir.control.v1.") {
        return call.to_owned();
    }
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    let words = match words.first() {
        Some(version) if version.starts_with("v1.") => &words[1..],
        _ => &words[..],
    };
    let (first, last) = (words.first().unwrap_or(&""), words.last().unwrap_or(&""));
    format!("{} /{first}/{last}", request.method())
}

async fn to_plane(listener: TcpListener, plane: SocketAddr, points: Arc<Points>) {
    while let Ok((near, _)) = listener.accept().await {
        let points = Arc::clone(&points);
        tokio::spawn(async move { drop(calls_to_plane(near, plane, points).await) });
    }
}

async fn calls_to_plane(near: TcpStream, plane: SocketAddr, points: Arc<Points>) -> io::Result<()> {
    let far = TcpStream::connect(plane).await?;
    far.set_nodelay(true)?;
    near.set_nodelay(true)?;
    let executor = TokioExecutor::new();
    let shaken = hyper::client::conn::http2::handshake(executor.clone(), TokioIo::new(far)).await;
    let (sender, connection) = shaken.map_err(io::Error::other)?;
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (mut sender, points) = (sender.clone(), Arc::clone(&points));
        let path = request.uri().path_and_query().cloned().unwrap();
        *request.uri_mut() = format!("http://{plane}{path}").parse().unwrap();
        async move {
            let call = name_of(&request);
            points.pass(&call, At::Asked).await;
            let answer = sender.send_request(request).await;
            let answer: Response<Incoming> = answer.map_err(io::Error::other)?;
            points.pass(&call, At::Done).await;
            Ok::<_, io::Error>(answer)
        }
    });
    let server = hyper::server::conn::http2::Builder::new(executor);
    // When one side ends the other one is to know it.
    tokio::select! {
        ended = server.serve_connection(TokioIo::new(near), service) => ended.map_err(io::Error::other),
        ended = connection => ended.map_err(io::Error::other),
    }
}

async fn to_docker(listener: UnixListener, docker: PathBuf, points: Arc<Points>) {
    while let Ok((near, _)) = listener.accept().await {
        let (docker, points) = (docker.clone(), Arc::clone(&points));
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                call_to_docker(request, docker.clone(), Arc::clone(&points))
            });
            let server = hyper::server::conn::http1::Builder::new();
            drop(server.serve_connection(TokioIo::new(near), service).await);
        });
    }
}

async fn call_to_docker(
    request: Request<Incoming>,
    docker: PathBuf,
    points: Arc<Points>,
) -> io::Result<Response<Incoming>> {
    let call = name_of(&request);
    points.pass(&call, At::Asked).await;
    let far = TokioIo::new(UnixStream::connect(docker).await?);
    let shaken = hyper::client::conn::http1::handshake(far).await;
    let (mut sender, connection) = shaken.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let answer = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    points.pass(&call, At::Done).await;
    Ok(answer)
}
