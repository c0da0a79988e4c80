//! Backends in this process whose health and answers a test steers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::common::{Weir, scripted_backend};
use crate::faulty::read_head;
use crate::operator::wait_until;

/// A backend that answers with its name.
#[derive(Clone)]
pub struct Steered {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    name: &'static str,
    /// What it answers to `/health` and to everything else.
    health: AtomicU16,
    status: AtomicU16,
    requests: AtomicUsize,
    /// Lets requests for `/hold` go on.
    release: Semaphore,
}

impl Steered {
    pub async fn start(name: &'static str) -> Self {
        let state = Arc::new(State {
            name,
            health: AtomicU16::new(200),
            status: AtomicU16::new(200),
            requests: AtomicUsize::new(0),
            release: Semaphore::new(0),
        });
        let served = Arc::clone(&state);
        let address = scripted_backend(move |stream| serve(stream, Arc::clone(&served))).await;
        Self { address, state }
    }

    /// Starts `N` of them.
    pub async fn start_all<const N: usize>(names: [&'static str; N]) -> [Self; N] {
        let mut backends = Vec::new();
        for name in names {
            backends.push(Self::start(name).await);
        }
        backends.try_into().ok().unwrap()
    }

    pub fn set_health(&self, status: u16) {
        self.state.health.store(status, Ordering::Relaxed);
    }

    pub fn set_status(&self, status: u16) {
        self.state.status.store(status, Ordering::Relaxed);
    }

    /// Requests other than checks.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// Lets one request for `/hold` be answered.
    pub fn release(&self) {
        self.state.release.add_permits(1);
    }

    /// Waits until the node says that it stands so.
    pub async fn stands(&self, weir: &Weir, standing: &str) {
        let id = self.address.to_string();
        wait_until(weir, &format!("{id} is {standing}"), async || {
            weir.backend(&id).await["standing"] == standing
        })
        .await;
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    while let Some(head) = read_head(&mut stream).await {
        let path = head.split(' ').nth(1).unwrap();
        let status = if path == "/health" {
            state.health.load(Ordering::Relaxed)
        } else {
            state.requests.fetch_add(1, Ordering::Relaxed);
            if path == "/hold" {
                state.release.acquire().await.unwrap().forget();
            }
            state.status.load(Ordering::Relaxed)
        };
        let answer = format!(
            "HTTP/1.1 {status} Steered\r\nContent-Length: {}\r\n\r\n{}",
            state.name.len(),
            state.name
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
