//! Lines as they are written, of this node or of every one.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::Stream;
use futures::future::ready;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use weir_core::logs::Query;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::logs_client::LogsClient;

use super::start::{Start, Told};
use super::{LogsApi, NODE_TIMEOUT, request_for};

/// Between two lists of one node at least.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Between two tries to reach a node that went away.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Between two looks for nodes that are new.
const NEW_NODES_INTERVAL: Duration = Duration::from_secs(1);
/// Lists of all nodes that wait for who reads them; the nodes wait then, and count what they lose.
const LISTS_WAITING_MAX: usize = 16;

struct Follower {
    api: LogsApi,
    query: Query,
    /// The number of the last line that was told; `None` before the first list.
    last: Option<u64>,
}

impl Follower {
    async fn next(&mut self) -> Option<pb::LogList> {
        let node = self.api.peers.node().to_owned();
        let Some(last) = self.last else {
            let found = self.api.logs.find(&node, &self.query).await;
            self.last = Some(found.last);
            return Some(pb::LogList {
                lines: found.lines,
                cut: found.is_cut,
                ..pb::LogList::default()
            });
        };
        let (mut news, mut last) = (self.api.logs.news(), last);
        loop {
            sleep(INTERVAL_MIN).await;
            news.wait_for(|newest| *newest > last).await.ok()?;
            let page = self.api.logs.after(&node, &self.query, last).await;
            last = page.last;
            self.last = Some(last);
            if !page.lines.is_empty() || page.missed > 0 {
                return Some(pb::LogList {
                    lines: page.lines,
                    missed: page.missed,
                    ..pb::LogList::default()
                });
            }
        }
    }
}

impl LogsApi {
    /// The newest lines that are wanted, of all nodes together, and then what is written, as each tells it.
    pub fn watch(&self, query: Query, mesh: bool) -> BoxStream<'static, pb::LogList> {
        if !mesh {
            return self.follow_own(query);
        }
        let own = self.peers.node().to_owned();
        let nodes = self.peers.others().into_iter().chain([own.clone()]);
        let start = Start::of(nodes, query.lines_max);
        let others = self.follow_others(&query);
        let own = self
            .follow_own(query)
            .enumerate()
            .map(move |(at, list)| Told {
                node: own.clone(),
                is_first: at == 0,
                list,
            });
        begun_with(start, stream::select(own, others).boxed()).boxed()
    }

    fn follow_own(&self, query: Query) -> BoxStream<'static, pb::LogList> {
        let follower = Follower {
            api: self.clone(),
            query,
            last: None,
        };
        let next = async |mut follower: Follower| {
            let list = follower.next().await?;
            Some((list, follower))
        };
        stream::unfold(follower, next).boxed()
    }

    /// Each other node, whenever it becomes known, until the stream ends.
    fn follow_others(&self, query: &Query) -> BoxStream<'static, Told> {
        let (sender, lists) = mpsc::channel(LISTS_WAITING_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(follow_all(self.clone(), request_for(query), sender));
        received(lists, tasks).boxed()
    }
}

/// The start, for which a node that is silent is waited for as long as for an answer, and then what is new.
fn begun_with(
    mut start: Start,
    mut lists: BoxStream<'static, Told>,
) -> impl Stream<Item = pb::LogList> + Send {
    let all = stream::once(async move {
        let until = Instant::now() + NODE_TIMEOUT;
        while !start.is_whole()
            && let Ok(Some(told)) = timeout_at(until, lists.next()).await
        {
            start.take(told);
        }
        let (first, after) = start.told();
        let news = lists.filter_map(move |told| ready(after.news(told)));
        stream::iter(first).chain(news)
    });
    all.flatten()
}

/// One task for each node that is known.
async fn follow_all(api: LogsApi, request: pb::LogsRequest, sender: mpsc::Sender<Told>) {
    let mut followed = BTreeSet::new();
    let mut tasks = JoinSet::new();
    loop {
        for node in api.peers.others() {
            if followed.insert(node.clone()) {
                let (api, request, sender) = (api.clone(), request.clone(), sender.clone());
                tasks.spawn(async move { follow(&api, &node, request, &sender).await });
            }
        }
        sleep(NEW_NODES_INTERVAL).await;
    }
}

fn received(lists: mpsc::Receiver<Told>, tasks: JoinSet<()>) -> impl Stream<Item = Told> + Send {
    stream::unfold((lists, tasks), async |(mut lists, tasks)| {
        let list = lists.recv().await?;
        Some((list, (lists, tasks)))
    })
}

/// Passes on what a node tells. While it is away that is told once, and tried again.
async fn follow(
    api: &LogsApi,
    node: &str,
    mut request: pb::LogsRequest,
    sender: &mpsc::Sender<Told>,
) {
    let mut is_away = false;
    let mut is_first = true;
    let told = |is_first, list| Told {
        node: node.to_owned(),
        is_first,
        list,
    };
    loop {
        if let Ok(channel) = api.peers.channel_to(node) {
            let mut client = LogsClient::new(channel);
            let opened = timeout(NODE_TIMEOUT, client.watch_logs(request.clone())).await;
            if let Ok(Ok(lists)) = opened {
                is_away = false;
                let mut lists = lists.into_inner();
                while let Ok(Some(list)) = lists.message().await {
                    // What was told is not told again after it was away.
                    request.since_ms = 1;
                    let told = told(std::mem::take(&mut is_first), list);
                    if sender.send(told).await.is_err() {
                        return;
                    }
                }
            }
            api.peers.is_silent(node);
        }
        if !std::mem::replace(&mut is_away, true) {
            let away = pb::LogList {
                unreachable_nodes: vec![node.to_owned()],
                ..pb::LogList::default()
            };
            if sender.send(told(is_first, away)).await.is_err() {
                return;
            }
        }
        sleep(AGAIN_AFTER).await;
    }
}
