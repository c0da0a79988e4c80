//! Changes of values on every node, as one stream.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::time::Duration;

use futures::stream;
use futures::{Stream, StreamExt as _};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tonic::{Code, Status};
use weir_core::aside::{Watched, check_key, check_tags};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::watch_values_request::Of;

use super::super::{CacheApi, Error};
use super::forward::hop;
use super::here::Here;
use super::streams::{Item, Streams};

/// Between two looks at which nodes there are.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// For another node to begin with its changes.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// Nodes from which somebody may go on.
const POSITIONS_MAX: usize = 4_096;

/// Changes as they leave.
pub type ChangeStream = Pin<Box<dyn Stream<Item = Result<pb::ValueChange, Status>> + Send>>;

impl CacheApi {
    /// Changes of values on every node; of this one alone if another one asks.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Busy`].
    pub fn watch_values(
        &self,
        request: pb::WatchValuesRequest,
        is_hop: bool,
    ) -> Result<ChangeStream, Error> {
        let namespace = self.value_namespace("namespace", &request.namespace)?;
        let watched = watched(&request)?;
        if request.since.len() > POSITIONS_MAX {
            let why = format!("{} nodes, at most {POSITIONS_MAX}", request.since.len());
            return Err(Error::invalid("since", why));
        }
        let own = request.since.iter().find(|at| *at.node == *self.node);
        let here = Here::begin(self, namespace, watched, own)?;
        let here = stream::unfold(here, |mut here| async {
            let change = here.next().await?;
            Some((change, here))
        });
        if is_hop {
            return Ok(here.boxed());
        }
        let all = Everywhere::begin(self.clone(), request, here.boxed());
        Ok(stream::unfold(all, |mut all| async {
            let change = all.next().await?;
            Some((change, all))
        })
        .boxed())
    }
}

fn watched(request: &pb::WatchValuesRequest) -> Result<Watched, Error> {
    match &request.of {
        Some(Of::Key(key)) => {
            check_key("key", key)?;
            Ok(Watched::Key(key.clone()))
        }
        Some(Of::Prefix(prefix)) => {
            check_key("prefix", prefix)?;
            Ok(Watched::Prefix(prefix.clone()))
        }
        Some(Of::Tag(tag)) => {
            check_tags(std::slice::from_ref(tag))?;
            Ok(Watched::Tag(tag.clone()))
        }
        None => Err(Error::invalid("of", "one of key, prefix, tag is wanted")),
    }
}

/// Changes of all nodes.
struct Everywhere {
    api: CacheApi,
    request: pb::WatchValuesRequest,
    streams: Streams<Result<pb::ValueChange, Status>>,
    positions: BTreeMap<String, pb::WatchPosition>,
    is_first_look: bool,
    looks: Interval,
    first: VecDeque<pb::ValueChange>,
    is_over: bool,
}

impl Everywhere {
    fn begin(api: CacheApi, request: pb::WatchValuesRequest, here: ChangeStream) -> Self {
        let mut streams = Streams::default();
        streams.open(&api.node, || here.boxed());
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let since = request.since.iter();
        Self {
            positions: since.map(|at| (at.node.clone(), at.clone())).collect(),
            streams,
            is_first_look: true,
            looks,
            first: VecDeque::new(),
            is_over: false,
            api,
            request,
        }
    }

    async fn next(&mut self) -> Option<Result<pb::ValueChange, Status>> {
        while !self.is_over {
            if let Some(first) = self.first.pop_front() {
                return Some(Ok(first));
            }
            tokio::select! {
                biased;
                _ = self.looks.tick() => self.look(),
                Some((node, item)) = self.streams.next() => match item {
                    Item::Came(Ok(change)) => {
                        if let Some(at) = &change.at {
                            self.positions.insert(node, at.clone());
                        }
                        return Some(Ok(change));
                    }
                    Item::Came(Err(status)) if is_for_the_client(&status) || *node == *self.api.node => {
                        self.is_over = true;
                        return Some(Err(status));
                    }
                    Item::Came(Err(_)) | Item::Ended => {}
                },
            }
        }
        None
    }

    /// Watches nodes that are new or whose stream broke, and tells of those that have left.
    fn look(&mut self) {
        let others = self.api.tier.peers().others();
        for node in &others {
            let since = self.since(node);
            self.streams.open(node, || {
                let request = pb::WatchValuesRequest {
                    since,
                    ..self.request.clone()
                };
                remote(self.api.clone(), node.clone(), request)
            });
        }
        self.is_first_look = false;
        let is_there = |node: &str| *node == *self.api.node || others.iter().any(|one| one == node);
        let mut left = self.streams.drop_unless(is_there);
        let known = self.positions.keys();
        left.extend(known.filter(|node| !is_there(node)).cloned());
        for node in left {
            let at = self
                .positions
                .remove(&node)
                .unwrap_or_else(|| from_the_beginning(&node));
            self.first.push_back(pb::ValueChange {
                kind: "gap".to_owned(),
                at: Some(at),
                reason: "the node has left".to_owned(),
                ..pb::ValueChange::default()
            });
        }
    }

    /// Where to go on with a node: with one that came later, from its beginning.
    fn since(&self, node: &str) -> Vec<pb::WatchPosition> {
        match self.positions.get(node) {
            Some(at) => vec![at.clone()],
            None if self.is_first_look => Vec::new(),
            None => vec![from_the_beginning(node)],
        }
    }
}

fn from_the_beginning(node: &str) -> pb::WatchPosition {
    pb::WatchPosition {
        node: node.to_owned(),
        ..pb::WatchPosition::default()
    }
}

/// Whether whoever watches is the reason.
fn is_for_the_client(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::ResourceExhausted | Code::InvalidArgument
    )
}

/// Changes of another node.
fn remote(api: CacheApi, node: String, request: pb::WatchValuesRequest) -> ChangeStream {
    let changes = stream::once(async move {
        let mut client = api.client_of(&node).ok()?;
        let opened = timeout(OPEN_TIMEOUT, client.watch(hop(request))).await;
        if opened.is_err() {
            api.tier.peers().is_silent(&node);
        }
        opened.ok()?.ok()
    });
    changes
        .flat_map(|opened| match opened {
            Some(answer) => answer.into_inner().left_stream(),
            None => stream::empty().right_stream(),
        })
        .boxed()
}
