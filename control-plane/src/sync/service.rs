//! `weir.control.v1.NodeSync`: lets a node in and starts its session.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::node_sync_server::NodeSync;

use super::hello::Hello;
use super::session::{Ended, HEARTBEAT_INTERVAL, OUT_WAITING_MAX, Session, message};
use super::sessions::{Closed, Place};
use super::{Parts, presence};
use crate::governance::identity::{Action, Identity};

/// How long a node may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a node waits for an instance that has just started.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// Waits of a node that is told to come back.
const CROWDED_RETRY_MS: u64 = 1_000;
const SUPERSEDED_RETRY_MS: u64 = 60_000;

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct NodeSyncService(Arc<Parts>);

impl NodeSyncService {
    /// Serves nodes from these parts.
    pub fn new(parts: Arc<Parts>) -> Self {
        Self(parts)
    }
}

type Messages = ReceiverStream<Result<pb::ControlMessage, Status>>;

#[tonic::async_trait]
impl NodeSync for NodeSyncService {
    type SyncStream = Messages;

    async fn sync(
        &self,
        request: Request<Streaming<pb::NodeMessage>>,
    ) -> Result<Response<Messages>, Status> {
        let identity = request.extensions().get::<Identity>().cloned();
        let identity = identity.ok_or_else(|| Status::unauthenticated("no identity"))?;
        let (out, messages) = mpsc::channel(OUT_WAITING_MAX);
        let parts = Arc::clone(&self.0);
        tokio::spawn(async move {
            match serve(&parts, identity, request.into_inner(), &out).await {
                Ok(None) => {}
                Ok(Some(hello)) => {
                    // The answer ends now, whatever becomes of the node.
                    drop(out);
                    presence::suspect(parts, hello).await;
                }
                Err(status) => drop(out.try_send(Err(status))),
            }
        });
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

/// Serves a node to the end of its stream; returns its hello if it may come back.
async fn serve(
    parts: &Arc<Parts>,
    identity: Identity,
    mut inbound: Streaming<pb::NodeMessage>,
    out: &mpsc::Sender<Result<pb::ControlMessage, Status>>,
) -> Result<Option<Hello>, Status> {
    let now_unix_ms = parts.clock.unix_ms_now();
    let hello = first(&mut inbound, now_unix_ms).await?;
    let action = Action::SyncAs(hello.node_id());
    let allowed = identity.may(&action);
    allowed.map_err(|denied| Status::permission_denied(denied.to_string()))?;
    let epoch = read_store(parts).await?;
    let place = match enter(parts, &hello, now_unix_ms).await {
        Ok(place) => place,
        Err(closed) => {
            let _ = out.try_send(Ok(message(pb::control_message::Message::GoAway(away(
                closed,
            )))));
            return Ok(None);
        }
    };
    let _ = out.try_send(Ok(message(welcome(parts, &epoch, now_unix_ms))));
    let serial = place.serial;
    presence::assert(parts, &hello).await;
    presence::put_first_status(parts, &hello, now_unix_ms).await;
    let session = Session::new(Arc::clone(parts), hello.clone(), epoch, place, out.clone());
    let ended = tokio::select! {
        biased;
        refused = parts.tokens.ended(&identity, &parts.now) => {
            let _ = out.try_send(Err(Status::unauthenticated(refused.to_string())));
            Ended::Broken
        }
        ended = session.run(inbound) => ended,
    };
    let is_gone = parts.sessions.leave(hello.node_id(), serial).await;
    match ended {
        Ended::ByNode if is_gone => presence::withdraw(parts, &hello).await,
        Ended::Broken if is_gone => return Ok(Some(hello)),
        _ => {}
    }
    Ok(None)
}

/// The epoch, once all of the store was read: of a part that was not, a node would be told that nothing is there.
async fn read_store(parts: &Parts) -> Result<Arc<str>, Status> {
    let mut view = parts.view.clone();
    let mut epoch = parts.epoch.clone();
    let read = async {
        view.complete().await;
        let epoch = epoch.wait_for(Option::is_some).await;
        epoch.ok().and_then(|epoch| epoch.clone())
    };
    let read = timeout(STORE_TIMEOUT, read).await.ok().flatten();
    read.ok_or_else(|| Status::unavailable("the store was not read yet"))
}

async fn first(
    inbound: &mut Streaming<pb::NodeMessage>,
    now_unix_ms: u64,
) -> Result<Hello, Status> {
    let first = timeout(HELLO_TIMEOUT, inbound.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no hello came in time"))??;
    match first.and_then(|first| first.message) {
        Some(pb::node_message::Message::Hello(hello)) => Hello::checked(hello, now_unix_ms),
        _ => Err(Status::invalid_argument(
            "the first message must be a hello",
        )),
    }
}

async fn enter(parts: &Parts, hello: &Hello, now_unix_ms: u64) -> Result<Place, Closed> {
    let boot_id = &hello.wire.boot_id;
    // Of two processes with one id the younger stays, wherever the other is connected.
    let is_superseded = {
        let nodes = parts.view.nodes.borrow();
        let presence = nodes
            .get(hello.node_id())
            .and_then(|node| node.presence.clone());
        presence.is_some_and(|presence| {
            presence.suspect_since_unix_ms == 0
                && presence.instance != *parts.instance
                && presence.boot_id > *boot_id
        })
    };
    if is_superseded {
        return Err(Closed::Superseded);
    }
    let state = hello.wire.profile.clone().unwrap_or_default();
    let sessions = &parts.sessions;
    sessions
        .enter(hello.node_id(), boot_id, state, Instant::now(), now_unix_ms)
        .await
}

fn away(closed: Closed) -> pb::GoAway {
    let (reason, retry_after_ms) = match closed {
        Closed::Superseded => ("a younger process has this id", SUPERSEDED_RETRY_MS),
        Closed::Crowded => ("too many nodes come at once", CROWDED_RETRY_MS),
        Closed::Full => (
            "this instance has as many nodes as it may have",
            SUPERSEDED_RETRY_MS,
        ),
    };
    pb::GoAway {
        reason: reason.to_owned(),
        retry_after_ms,
        superseded: closed == Closed::Superseded,
    }
}

fn welcome(parts: &Parts, epoch: &str, now_unix_ms: u64) -> pb::control_message::Message {
    pb::control_message::Message::Welcome(pb::Welcome {
        epoch: epoch.to_owned(),
        instance: parts.instance.to_string(),
        heartbeat_interval_ms: u64::try_from(HEARTBEAT_INTERVAL.as_millis()).unwrap_or(u64::MAX),
        server_time_unix_ms: now_unix_ms,
        leader_term: parts.leader_term(),
    })
}
