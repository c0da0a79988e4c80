//! What an instance shows of a node over time.

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use weir_proto::control::v1 as pb;

use crate::api::Api;

/// Keeps what was shown. Ends when this is dropped.
pub(crate) struct Shown {
    seen: watch::Receiver<Vec<(Instant, String, pb::Presence)>>,
    task: JoinHandle<()>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shown {
    /// Watches the nodes through this instance.
    pub(crate) async fn by(api: &Api) -> Self {
        let (tell, seen) = watch::channel(Vec::new());
        let request = pb::WatchNodesRequest {};
        let lists = api.nodes().watch_nodes(request).await.unwrap();
        let mut lists = lists.into_inner();
        let task = tokio::spawn(async move {
            while let Ok(Some(list)) = lists.message().await {
                let at = Instant::now();
                let shown = list.nodes.into_iter();
                let shown = shown.map(|node| (at, node.node_id.clone(), node.presence()));
                tell.send_modify(|seen| seen.extend(shown));
            }
        });
        Self { seen, task }
    }

    /// Asserts that no node was ever shown as away after it was connected.
    pub(crate) fn never_away(&self) {
        let seen = self.seen.borrow();
        let away: Vec<_> = seen
            .iter()
            .filter(|(_, _, presence)| *presence == pb::Presence::Away)
            .collect();
        assert!(!seen.is_empty() && away.is_empty(), "{away:?}");
    }

    /// Asserts that every node was always shown as connected.
    pub(crate) fn always_connected(&self) {
        let seen = self.seen.borrow();
        let other: Vec<_> = seen
            .iter()
            .filter(|(_, _, presence)| *presence != pb::Presence::Connected)
            .collect();
        assert!(!seen.is_empty() && other.is_empty(), "{other:?}");
    }
}
