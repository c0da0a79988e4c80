//! Nodes with traffic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::processes::{Api, Instance};
use crate::common::{Backend, Weir, web};

/// A node, its backend, and a client that never pauses for long.
pub(super) struct Node {
    pub(super) id: String,
    pub(super) weir: Weir,
    _backend: Backend,
    traffic: Traffic,
}

impl Node {
    /// A node that knows these instances, in this order.
    pub(super) async fn start(id: &str, instances: &[&Instance]) -> Self {
        let backend = Backend::start(id).await;
        let endpoints: Vec<String> = instances
            .iter()
            .map(|instance| format!("\"http://{}\"", instance.address))
            .collect();
        let config = format!(
            "[node]\nname = \"{id}\"\n[control_plane]\nendpoints = [{}]\n{}",
            endpoints.join(", "),
            web(&[backend.address], "")
        );
        let weir = Weir::start(&config).await;
        Self {
            id: id.to_owned(),
            traffic: Traffic::to(weir.ingress),
            weir,
            _backend: backend,
        }
    }

    /// Waits until the node has in force what this instance wants there.
    pub(super) async fn has_newest(&self, api: &Api) {
        let has = |node: &weir_proto::control::v1::NodeInfo| {
            let profile = node.profile.clone().unwrap_or_default();
            profile.effective_hash == node.wanted_hash
        };
        api.until_node(&self.id, "has what is wanted", has).await;
    }

    /// Ends the traffic; each request must have been answered well.
    pub(super) async fn carried_everything(self) {
        let (requests, failures) = self.traffic.stop().await;
        assert!(requests > 20, "{requests} requests");
        assert_eq!(failures, 0, "of {requests}: {}", self.weir.log());
    }
}

struct Traffic {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
    counts: Arc<[AtomicU64; 2]>,
}

impl Traffic {
    fn to(ingress: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let counts: Arc<[AtomicU64; 2]> = Arc::default();
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&counts));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let answer = get(ingress).await.unwrap_or_default();
                counted[0].fetch_add(1, Ordering::Relaxed);
                if !answer.starts_with("HTTP/1.1 200 OK\r\n") {
                    counted[1].fetch_add(1, Ordering::Relaxed);
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        Self { stop, task, counts }
    }

    async fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        let count = |at: usize| self.counts[at].load(Ordering::Relaxed);
        (count(0), count(1))
    }
}

async fn get(ingress: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(ingress).await?;
    let request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
