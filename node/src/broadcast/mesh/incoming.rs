//! Another node's link to this one: what it asks, and what is written to it.

use std::pin::Pin;
use std::rc::Rc;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use weir_broadcast::{Connection, Writing};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::link_told::What;

use super::hub::Said;
use super::outgoing::SILENT_MAX;
use super::{Mesh, OPEN_TIMEOUT};

/// Messages that may be on their way to a node that does not take them.
const AHEAD_MAX: usize = 64;

/// What another node is told.
pub type Linked = Pin<Box<dyn Stream<Item = Result<pb::LinkTold, Status>> + Send>>;
pub(super) type Out = mpsc::Sender<Result<pb::LinkTold, Status>>;

/// Serves a link. What is said on it is the hub's; this only carries it there.
pub(super) fn serve(mesh: &Mesh, asked: Streaming<pb::LinkAsked>) -> Linked {
    let (out, told) = mpsc::channel(AHEAD_MAX);
    let mesh = mesh.clone();
    tokio::spawn(async move {
        let id = mesh.next_number();
        let why = read(&mesh, id, asked, out).await;
        tracing::debug!(
            id,
            why = why.err().unwrap_or_default(),
            "a link from a node ended"
        );
        let _ = mesh.0.said.send(Said::Left { id }).await;
    });
    Box::pin(ReceiverStream::new(told))
}

async fn read(
    mesh: &Mesh,
    id: u64,
    mut asked: Streaming<pb::LinkAsked>,
    out: Out,
) -> Result<(), String> {
    let silent = |_| "it says nothing".to_owned();
    let said = |status: Status| status.message().to_owned();
    let ended = |_| "this node ends".to_owned();
    let first = timeout(OPEN_TIMEOUT, asked.message()).await;
    let Some(first) = first.map_err(silent)?.map_err(said)? else {
        return Ok(());
    };
    let Some(hello) = first.hello.clone() else {
        let status = Status::invalid_argument("hello is missing in the first message");
        let _ = out.send(Err(status)).await;
        return Ok(());
    };
    let linked = Said::Linked { id, hello, out };
    mesh.0.said.send(linked).await.map_err(ended)?;
    let mut next = Some(first);
    while let Some(asked_now) = next {
        let said_now = Said::Asked {
            id,
            asked: Box::new(asked_now),
        };
        mesh.0.said.send(said_now).await.map_err(ended)?;
        let message = timeout(SILENT_MAX, asked.message()).await;
        next = message.map_err(silent)?.map_err(said)?;
    }
    Ok(())
}

/// Writes a link until the other side is gone or the connection is to end.
pub(super) async fn write(
    mesh: Mesh,
    connection: Rc<Connection>,
    mut queue: mpsc::Receiver<pb::LinkTold>,
    out: Out,
) {
    let mut writing = Writing::new();
    loop {
        // What is told of a subscription goes before its messages.
        tokio::select! {
            biased;
            told = queue.recv() => {
                let Some(told) = told else { return };
                if out.send(Ok(told)).await.is_err() {
                    return;
                }
            }
            () = connection.ready() => {
                if let Err(reason) = connection.take(&mut writing, || mesh.now()) {
                    tracing::info!(reason = reason.as_str(), "a link to a node is cut");
                    return;
                }
                while let Some(frame) = writing.pop() {
                    let told = pb::LinkTold { what: Some(What::Delivery(frame)) };
                    if out.send(Ok(told)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
