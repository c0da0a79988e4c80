//! The part of a trace that instances of the control plane have: who wrote a profile, and its way to each node.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use tokio::time::timeout;
use tonic::{Code, Request};
use weir_proto::control::v1::control_plane_client::ControlPlaneClient;
use weir_proto::node::v1 as pb;

use crate::config::ControlPlane;
use crate::control_link::Calls;
use crate::engine_room::channel;

/// For one instance to tell what it has.
const INSTANCE_TIMEOUT: Duration = Duration::from_secs(1);
/// Instances that are asked at a time.
const ASKED_MAX: usize = 16;

/// What each instance that the node knows has of a trace, under its address; `None` of one that does not answer.
pub(super) async fn ask(settings: &ControlPlane, id: &str) -> Vec<(String, Option<pb::Trace>)> {
    let calls = match Calls::of(settings) {
        Ok(Some(calls)) => calls,
        Ok(None) => return Vec::new(),
        Err(error) => {
            tracing::warn!(%error, "the control plane cannot be asked for its part of a trace");
            return Vec::new();
        }
    };
    let asked = calls.endpoints.clone().into_iter().map(|endpoint| {
        let (id, instance) = (id.to_owned(), endpoint.to_string());
        let only = Calls {
            endpoints: vec![endpoint],
            ..calls.clone()
        };
        async move { (instance, ask_one(&only, id).await) }
    });
    stream::iter(asked)
        .buffer_unordered(ASKED_MAX)
        .collect()
        .await
}

async fn ask_one(calls: &Calls, id: String) -> Option<pb::Trace> {
    let mut client = ControlPlaneClient::new(channel(calls));
    let mut request = Request::new(pb::GetTraceRequest { id, local: true });
    if let Some(bearer) = &calls.bearer {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", bearer.clone());
    }
    match timeout(INSTANCE_TIMEOUT, client.get_trace(request)).await {
        Ok(Ok(told)) => Some(told.into_inner()),
        // One of an earlier version keeps none.
        Ok(Err(status)) if matches!(status.code(), Code::NotFound | Code::Unimplemented) => {
            Some(pb::Trace::default())
        }
        Ok(Err(_)) | Err(_) => None,
    }
}
