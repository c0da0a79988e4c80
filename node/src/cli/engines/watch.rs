//! `weir engines watch`: the list again after each change, also of a node that is started anew.

use std::time::Duration;

use tokio::time::sleep;
use tonic::transport::Channel;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::provision_client::ProvisionClient;

use super::{notes, show};
use crate::cli::output::{Failure, Format, connect, note, print};

/// Between two tries to reach a node that ended.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Shows until it is interrupted.
pub(super) async fn run(
    channel: Channel,
    node: &str,
    mesh: bool,
    format: Format,
) -> Result<(), Failure> {
    // What is wrong with the question itself ends the command; what happens later is waited out.
    let mut lists = Some(follow(channel, mesh).await?);
    loop {
        if let Some(lists) = &mut lists {
            while let Ok(Some(list)) = lists.message().await {
                tell(&list, format)?;
            }
            note(&format!("node `{node}` ended; waiting for it"));
        }
        sleep(AGAIN_AFTER).await;
        lists = match connect(node).await {
            Ok(channel) => follow(channel, mesh).await.ok(),
            Err(_) => None,
        };
        if lists.is_some() {
            note(&format!("node `{node}` is back"));
        }
    }
}

async fn follow(
    channel: Channel,
    mesh: bool,
) -> Result<tonic::Streaming<pb::ListEnginesResponse>, tonic::Status> {
    let request = pb::ListEnginesRequest { mesh };
    let lists = ProvisionClient::new(channel).watch_engines(request).await;
    Ok(lists?.into_inner())
}

fn tell(list: &pb::ListEnginesResponse, format: Format) -> Result<(), Failure> {
    if format == Format::Text {
        return show(list, format);
    }
    notes(list);
    let line = serde_json::to_string(&list.engines);
    print(&line.map_err(|error| Failure::Other(error.to_string()))?)
}
