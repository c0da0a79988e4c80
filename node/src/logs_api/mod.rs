//! Log lines as gRPC and HTTP show them: of this node, or of every node that answers.

mod start;
mod watch;

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use tokio::time::timeout;
use tonic::transport::Channel;
use weir_core::logs::{BadQuery, LINES_MAX, Query};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::logs_client::LogsClient;

use crate::peers::Peers;
use crate::snapshot::Snapshot;
use crate::telemetry::logs::{LogCounts, Logs};
use crate::wiring::Wired;

/// For one node to tell its lines.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);
/// For all nodes, however many they are.
const MESH_TIMEOUT: Duration = Duration::from_secs(8);
/// Nodes that are asked at a time: each may tell 1 MiB.
const ASKED_MAX: usize = 16;
/// Bytes of messages and values of one answer, so that callers take it.
const ANSWER_BYTES_MAX: usize = 2 << 20;

/// Lines of this node and of others. Cheap to clone.
#[derive(Clone)]
pub struct LogsApi {
    logs: Logs,
    peers: Peers,
    lines_max: Snapshot<usize>,
}

impl LogsApi {
    /// The lines of this process, and the way to others.
    pub fn new(wired: &Wired, logs: &Logs) -> Self {
        Self {
            logs: logs.clone(),
            peers: wired.peers.clone(),
            lines_max: wired.logs.lines_max.clone(),
        }
    }

    /// What became of lines.
    pub fn counts(&self) -> &LogCounts {
        self.logs.counts()
    }

    /// What a request asks for.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn query(&self, request: &pb::LogsRequest) -> Result<Query, BadQuery> {
        let since = (request.since_ms > 0).then(|| Duration::from_millis(request.since_ms));
        let lines_max = LINES_MAX.min(*self.lines_max.load());
        let lines = usize::try_from(request.lines_max).unwrap_or(usize::MAX);
        Query::new(since, &request.level, &request.grep, lines, lines_max)
    }

    /// The newest lines that are wanted.
    pub async fn list(&self, query: &Query, mesh: bool) -> pb::LogList {
        let found = self.logs.find(self.peers.node(), query).await;
        let mut list = pb::LogList {
            lines: found.lines,
            cut: found.is_cut,
            ..pb::LogList::default()
        };
        if mesh {
            self.add_others(&mut list, query).await;
        }
        list
    }

    async fn add_others(&self, list: &mut pb::LogList, query: &Query) {
        let others = self.peers.channels();
        let mut silent: Vec<String> = others.iter().map(|(node, _)| node.clone()).collect();
        let asked = others.into_iter().map(|(node, channel)| async move {
            let told = self.lines_of(&node, channel, query).await;
            (node, told)
        });
        let mut answers = stream::iter(asked).buffer_unordered(ASKED_MAX);
        let all = async {
            while let Some((node, told)) = answers.next().await {
                if let Some(told) = told {
                    silent.retain(|one| *one != node);
                    list.cut |= told.cut;
                    list.lines.extend(told.lines);
                    keep_newest(list, query.lines_max);
                }
            }
        };
        let _ = timeout(MESH_TIMEOUT, all).await;
        silent.sort();
        list.unreachable_nodes = silent;
    }

    /// What a node tells; `None` when it does not answer.
    async fn lines_of(
        &self,
        node: &str,
        channel: Option<Channel>,
        query: &Query,
    ) -> Option<pb::LogList> {
        let mut client = LogsClient::new(channel?);
        let request = request_for(query);
        let Ok(answer) = timeout(NODE_TIMEOUT, client.list_logs(request)).await else {
            self.peers.is_silent(node);
            return None;
        };
        Some(answer.ok()?.into_inner())
    }
}

/// The same question to one other node.
fn request_for(query: &Query) -> pb::LogsRequest {
    let since_ms = query.since.map_or(0, |since| since.as_millis().max(1));
    pb::LogsRequest {
        since_ms: u64::try_from(since_ms).unwrap_or(u64::MAX),
        level: query
            .level
            .map(|level| level.to_string())
            .unwrap_or_default(),
        grep: query.grep().to_owned(),
        // Its bound may be another one; what is too much is left out here.
        lines_max: 0,
        mesh: false,
    }
}

/// Sorts lines by time, and leaves out the oldest of too many.
fn keep_newest(list: &mut pb::LogList, lines_max: usize) {
    // Of one node they are in order already, and stay so.
    list.lines.sort_by_key(|line| line.at_unix_ms);
    let mut bytes = 0;
    let fits = |line: &&pb::LogLine| {
        let of_attributes = |(name, value): (&String, &String)| name.len() + value.len();
        let attributes: usize = line.attributes.iter().map(of_attributes).sum();
        bytes += line.message.len() + line.target.len() + attributes;
        bytes <= ANSWER_BYTES_MAX
    };
    let newest = list.lines.iter().rev().take(lines_max);
    let kept = newest.take_while(fits).count();
    let gone = list.lines.len() - kept;
    list.cut |= gone > 0;
    list.lines.drain(..gone);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at_unix_ms: u64, node: &str, bytes: usize) -> pb::LogLine {
        pb::LogLine {
            at_unix_ms,
            node: node.to_owned(),
            message: "x".repeat(bytes),
            ..pb::LogLine::default()
        }
    }

    #[test]
    fn of_several_nodes_the_newest_lines_are_kept_in_the_order_of_time() {
        let mut list = pb::LogList {
            lines: vec![
                line(1, "a", 1),
                line(4, "a", 1),
                line(2, "b", 1),
                line(3, "b", 1),
            ],
            ..pb::LogList::default()
        };
        keep_newest(&mut list, 9);
        assert!(!list.cut);
        keep_newest(&mut list, 3);
        let times: Vec<u64> = list.lines.iter().map(|line| line.at_unix_ms).collect();
        assert_eq!((times, list.cut), (vec![2, 3, 4], true));
    }

    #[test]
    fn an_answer_is_bounded_in_bytes() {
        let mut list = pb::LogList {
            lines: (0..10).map(|at| line(at, "a", 500_000)).collect(),
            ..pb::LogList::default()
        };
        keep_newest(&mut list, 1_000);
        assert_eq!((list.lines.len(), list.cut), (4, true));
        assert_eq!(list.lines[0].at_unix_ms, 6);
    }
}
