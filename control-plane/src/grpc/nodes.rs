//! `weir.control.v1.Nodes`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::nodes_server;

use super::page::Asked;
use super::{actor_of, read, status};
use crate::fleet;
use crate::governance::guard::allow;
use crate::governance::identity::Action;
use crate::orders::{By, Order, forget, order};
use crate::store::Store;
use crate::sync::Parts;

/// A watch tells at most this often.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// How long whoever has a node forgotten waits until it is not shown any more.
const FORGOTTEN_LIMIT: Duration = Duration::from_secs(2);

/// How long a watcher may take to read a list.
const WATCH_SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Watches of nodes at one instance.
pub(crate) const WATCHERS_MAX: usize = 32;

/// Shows nodes and orders them about.
#[derive(Clone)]
pub(super) struct NodesService {
    parts: Arc<Parts>,
    store: Arc<dyn Store>,
}

impl NodesService {
    /// A service over an instance; it belongs behind a guard.
    pub(super) fn new(parts: Arc<Parts>, store: Arc<dyn Store>) -> Self {
        Self { parts, store }
    }

    async fn node(&self, id: &str) -> Result<pb::NodeInfo, Status> {
        read(self.parts.view.is_complete())?;
        let found = fleet::one(&self.parts, id).await;
        found.ok_or_else(|| Status::not_found(format!("no node is called `{id}`")))
    }
}

impl NodesService {
    /// Ends when the view does not know the node any more.
    async fn gone(&self, id: &str) {
        let (mut records, mut orders) = (
            self.parts.view.nodes.clone(),
            self.parts.view.orders.clone(),
        );
        let _ = records.wait_for(|nodes| !nodes.contains_key(id)).await;
        let _ = orders.wait_for(|orders| !orders.contains_key(id)).await;
    }
}

type Lists = Pin<Box<dyn Stream<Item = Result<pb::ListNodesResponse, Status>> + Send>>;

#[tonic::async_trait]
impl nodes_server::Nodes for NodesService {
    async fn list_nodes(
        &self,
        request: Request<pb::ListNodesRequest>,
    ) -> Result<Response<pb::ListNodesResponse>, Status> {
        allow(&request, &Action::ReadAll)?;
        read(self.parts.view.is_complete())?;
        let pb::ListNodesRequest {
            rejected,
            page_size,
            page_token,
        } = request.get_ref();
        let filter = if *rejected { "rejected" } else { "" };
        let asked = Asked::of(*page_size, page_token, filter)?;
        let wanted = |node: &pb::NodeInfo| !rejected || fleet::has_refused(node);
        let after = asked.after.as_deref();
        let mut nodes = fleet::some(&self.parts, after, asked.size + 1, wanted).await;
        let next_page_token = asked.cut(&mut nodes, |node| node.node_id.clone());
        Ok(Response::new(pb::ListNodesResponse {
            nodes,
            next_page_token,
        }))
    }

    async fn get_node(
        &self,
        request: Request<pb::GetNodeRequest>,
    ) -> Result<Response<pb::NodeInfo>, Status> {
        allow(&request, &Action::ReadAll)?;
        Ok(Response::new(self.node(&request.get_ref().node_id).await?))
    }

    type WatchNodesStream = Lists;

    async fn watch_nodes(
        &self,
        request: Request<pb::WatchNodesRequest>,
    ) -> Result<Response<Lists>, Status> {
        allow(&request, &Action::ReadAll)?;
        read(self.parts.view.is_complete())?;
        let watchers = Arc::clone(&self.parts.watchers);
        let watcher = watchers.try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{WATCHERS_MAX} watch nodes here already"))
        })?;
        // One list waits at most: a slow reader gets the newest when it is ready.
        let (out, lists) = mpsc::channel(1);
        let parts = Arc::clone(&self.parts);
        tokio::spawn(async move {
            watch(parts, out).await;
            drop(watcher);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(lists))))
    }

    async fn order(
        &self,
        request: Request<pb::OrderRequest>,
    ) -> Result<Response<pb::NodeInfo>, Status> {
        let actor = actor_of(&request, &Action::OrderNode, &request.get_ref().author)?;
        let asked = request.get_ref();
        self.node(&asked.node_id).await?;
        let wanted = Order {
            cordoned: asked.cordoned,
            draining: asked.draining,
        };
        let by = By {
            actor: &actor,
            message: &asked.message,
            now_unix_ms: self.parts.clock.unix_ms_now(),
            audit_id: fastrand::u64(..),
        };
        let given = order(&*self.store, &self.parts.keys, &asked.node_id, wanted, by).await;
        let orders = given.map_err(|error| status::orders(&error))?;
        let mut node = self.node(&asked.node_id).await?;
        node.orders = Some(orders);
        Ok(Response::new(node))
    }

    async fn forget(
        &self,
        request: Request<pb::ForgetRequest>,
    ) -> Result<Response<pb::ForgetResponse>, Status> {
        let actor = actor_of(&request, &Action::OrderNode, &request.get_ref().author)?;
        let by = By {
            actor: &actor,
            message: "",
            now_unix_ms: self.parts.clock.unix_ms_now(),
            audit_id: fastrand::u64(..),
        };
        let id = &request.get_ref().node_id;
        let forgotten = forget(&*self.store, &self.parts.keys, id, by).await;
        forgotten.map_err(|error| status::orders(&error))?;
        // Done it is in any case.
        let _ = timeout(FORGOTTEN_LIMIT, self.gone(id)).await;
        Ok(Response::new(pb::ForgetResponse {}))
    }
}

/// Tells the list, and again after each change, until nobody reads.
async fn watch(parts: Arc<Parts>, out: mpsc::Sender<Result<pb::ListNodesResponse, Status>>) {
    let mut changes = parts.sessions.changes();
    let mut records = parts.view.nodes.clone();
    let mut orders = parts.view.orders.clone();
    let mut profiles = parts.view.profiles.clone();
    let mut stop = parts.stop.clone();
    loop {
        let nodes = fleet::all(&parts).await;
        let list = Ok(pb::ListNodesResponse {
            nodes,
            next_page_token: String::new(),
        });
        // Who reads nothing for so long is gone, or holds the list for nothing.
        if out.send_timeout(list, WATCH_SEND_TIMEOUT).await.is_err() {
            return;
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = out.closed() => return,
            Ok(()) = changes.changed() => {}
            Ok(()) = records.changed() => {}
            Ok(()) = orders.changed() => {}
            Ok(()) = profiles.changed() => {}
        }
    }
}
