//! Keeps links to the other nodes: one task on the control thread owns all that is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use weir_broadcast::{Changes, Shard, Topics};
use weir_core::broadcast::{Pattern, TopicName, may_go_on};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::link_told::What;

use super::following::Followed;
use super::forward::{self, WAITING_MAX};
use super::incoming::Out;
use super::passing::Passing;
use super::peer::{LOST_GRACE, Link, Peer, Task};
use super::{Mesh, View, outgoing};
use crate::peers::Peers;

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(50);
/// The same while there is no other node.
const ALONE_TICK: Duration = Duration::from_millis(500);
/// Between two signs of life on each link.
const STAMP_INTERVAL: Duration = Duration::from_millis(200);
/// What is looked at before other tasks have their turn.
const AT_ONCE_MAX: usize = 256;

/// What links and publishers say.
pub(super) enum Said {
    /// This node's link to another one is up.
    Up {
        node: String,
        process: u64,
        asks: mpsc::Sender<pb::LinkAsked>,
    },
    /// Something came on it.
    Told { node: String, what: What },
    /// It ended, or did not come up.
    Lost {
        node: String,
        is_silent: bool,
        is_gone: bool,
    },
    /// Another node's link to this one.
    Linked {
        id: u64,
        hello: pb::LinkHello,
        out: Out,
    },
    /// What it asks.
    Asked { id: u64, asked: Box<pb::LinkAsked> },
    /// It ended.
    Left { id: u64 },
    /// A subscriber waits for a topic.
    Follow {
        topic: TopicName,
        in_step: oneshot::Sender<()>,
    },
    /// This node goes.
    Leave { done: oneshot::Sender<()> },
}

/// What the hub knows.
pub(super) struct Hub {
    pub(super) mesh: Mesh,
    pub(super) topics: Arc<Topics>,
    peers: Peers,
    pub(super) shard: Rc<Shard>,
    pub(super) began: Instant,
    pub(super) nodes: BTreeMap<String, Peer>,
    /// Which node's link it is.
    links: BTreeMap<u64, String>,
    pub(super) followed: BTreeMap<TopicName, Followed>,
    pub(super) patterns: BTreeSet<Pattern>,
    /// Patterns changed that others do not know of yet, and when they were told last.
    pub(super) patterns_changed: bool,
    pub(super) patterns_told_at: Duration,
    pub(super) passing: Passing,
    stamped_at: Duration,
    /// When copies of what nobody wants were looked for last, and those that were taken from other nodes then.
    pub(super) tidied_at: Duration,
    pub(super) tidied: Vec<TopicName>,
    /// Since when this node numbers nothing any more, and who waits for that.
    leaving: Option<(Duration, Option<oneshot::Sender<()>>)>,
}

/// Runs the hub for as long as it is polled.
pub(super) async fn run(
    mesh: Mesh,
    peers: Peers,
    shard: Rc<Shard>,
    mut hears: mpsc::Receiver<Said>,
) {
    let topics = Arc::clone(mesh.topics());
    let mut hub = Hub {
        mesh,
        topics: Arc::clone(&topics),
        peers,
        shard,
        began: Instant::now(),
        nodes: BTreeMap::new(),
        links: BTreeMap::new(),
        followed: BTreeMap::new(),
        patterns: BTreeSet::new(),
        patterns_changed: false,
        patterns_told_at: Duration::ZERO,
        passing: Passing::default(),
        stamped_at: Duration::ZERO,
        tidied_at: Duration::ZERO,
        tidied: Vec::new(),
        leaving: None,
    };
    hub.looks(Changes {
        all: true,
        patterns: true,
        ..Changes::default()
    });
    let mut tick = Instant::now();
    loop {
        let pass = hub.passes_at();
        tokio::select! {
            said = hears.recv() => {
                let Some(said) = said else { return };
                hub.hears(said);
                for _ in 0..AT_ONCE_MAX {
                    let Ok(said) = hears.try_recv() else { break };
                    hub.hears(said);
                }
            }
            () = sleep_until(pass.unwrap_or(tick)), if pass.is_some() => hub.passes(),
            () = topics.changed() => hub.looks(topics.take_changes()),
            () = sleep_until(tick) => {
                hub.ticks();
                let wait = if hub.nodes.is_empty() { ALONE_TICK } else { TICK };
                tick = Instant::now() + wait;
            }
        }
    }
}

impl Hub {
    /// The time by a clock that only rises.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn hears(&mut self, said: Said) {
        match said {
            Said::Up {
                node,
                process,
                asks,
            } => self.is_up(&node, process, asks),
            Said::Told { node, what } => self.is_told(&node, what),
            Said::Lost {
                node,
                is_silent,
                is_gone,
            } => self.is_lost(&node, is_silent, is_gone),
            Said::Linked { id, hello, out } => {
                self.links.insert(id, hello.node.clone());
                self.is_linked(id, &hello, out);
            }
            Said::Asked { id, asked } => {
                if let Some(node) = self.links.get(&id).cloned() {
                    self.is_asked(&node, id, *asked);
                }
            }
            Said::Left { id } => self.is_left(id),
            Said::Follow { topic, in_step } => self.follow(&topic, in_step),
            Said::Leave { done } => {
                self.leaving = Some((self.now(), Some(done)));
                self.renew();
                self.leaves();
            }
        }
    }

    fn is_left(&mut self, id: u64) {
        let Some(node) = self.links.remove(&id) else {
            return;
        };
        if let Some(peer) = self.nodes.get_mut(&node)
            && peer.down.as_ref().is_some_and(|down| down.id == id)
        {
            peer.down = None;
            peer.replication.freeze();
        }
    }

    fn is_up(&mut self, node: &str, process: u64, asks: mpsc::Sender<pb::LinkAsked>) {
        let (now, mesh, peers) = (self.now(), self.mesh.clone(), self.peers.clone());
        let peer = self.nodes.entry(node.to_owned());
        let peer = peer.or_insert_with(|| Peer::new(now));
        if peer.process.replace(process) != Some(process) {
            peer.has_left = false;
        }
        peer.link = Link::Up;
        peer.in_step.clear();
        peer.stamp = None;
        peer.asks = Some(asks);
        if peer.way.is_none() {
            let (way, jobs) = mpsc::channel(WAITING_MAX);
            let sends = forward::run(peers, node.to_owned(), jobs);
            peer.way = Some((way, spawn(sends)));
        }
        tracing::info!(node, "messages of a node are heard");
        drop(mesh);
        self.greet(node);
        self.renew();
    }

    fn is_lost(&mut self, node: &str, is_silent: bool, is_gone: bool) {
        let now = self.now();
        let Some(peer) = self.nodes.get_mut(node) else {
            return;
        };
        let at = match peer.link {
            Link::Lost { at, .. } => at,
            Link::New { since } if !is_gone => since,
            _ if is_silent => now.saturating_sub(LOST_GRACE),
            _ => now,
        };
        if matches!(peer.link, Link::Up) {
            tracing::info!(node, is_gone, "messages of a node are not heard any more");
        }
        if is_gone || !matches!(peer.link, Link::New { .. }) {
            peer.link = Link::Lost { at, is_gone };
        }
        (peer.asks, peer.way) = (None, None);
        for followed in self.followed.values_mut() {
            followed.lost(node);
        }
        if is_gone {
            self.opens_all(node);
        }
        self.renew();
    }

    /// What changed of topics and interest on this node.
    fn looks(&mut self, changes: Changes) {
        self.patterns_changed |= changes.patterns;
        self.changes_patterns();
        let all = changes.all.then(|| self.all_topics());
        for topic in all.iter().flatten().chain(&changes.topics) {
            self.wants(topic);
            self.settles(topic);
            self.replicates(topic);
        }
    }

    fn ticks(&mut self) {
        let now = self.now();
        self.lists();
        self.renew();
        self.changes_patterns();
        if now.saturating_sub(self.stamped_at) >= STAMP_INTERVAL {
            self.stamped_at = now;
            let stamp_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            for peer in self.nodes.values_mut() {
                peer.ask(pb::LinkAsked {
                    stamp_ms,
                    ..pb::LinkAsked::default()
                });
            }
        }
        self.checks_replicas();
        self.expires();
        self.tidies();
        self.leaves();
        for peer in self.nodes.values_mut() {
            if peer.down.as_ref().is_some_and(|down| down.is_full) {
                peer.down = None;
                peer.replication.freeze();
            }
        }
    }

    /// Takes up which nodes the control plane knows.
    fn lists(&mut self) {
        let (now, listed) = (self.now(), self.peers.others());
        let listed: BTreeSet<String> = listed.into_iter().collect();
        for node in &listed {
            let peer = self.nodes.entry(node.clone());
            let peer = peer.or_insert_with(|| Peer::new(now));
            peer.is_listed = true;
            if peer.task.is_none() {
                let keeps = outgoing::run(self.mesh.clone(), self.peers.clone(), node.clone());
                peer.task = Some(spawn(keeps));
            }
        }
        self.nodes.retain(|node, peer| {
            peer.is_listed = listed.contains(node);
            if !peer.is_listed && !peer.is_live(now) {
                (peer.task, peer.asks, peer.way) = (None, None, None);
                if peer.down.is_none() {
                    peer.replication.freeze();
                }
            }
            // What waits for it goes out in time.
            let owes = !peer.replication.is_empty();
            peer.is_listed || peer.is_live(now) || peer.down.is_some() || owes
        });
    }

    /// Takes up who lives, and what that moves.
    pub(super) fn renew(&mut self) {
        let now = self.now();
        let live = self.nodes.iter().filter(|(_, peer)| peer.is_live(now));
        let mut live: Vec<String> = live.map(|(node, _)| node.clone()).collect();
        if self.leaving.is_none() || live.is_empty() {
            live.push(self.mesh.0.node.to_string());
        }
        live.sort();
        let ways = self.nodes.iter().filter_map(|(node, peer)| {
            let (way, _) = peer.way.as_ref()?;
            Some((node.clone(), way.clone()))
        });
        let ways: BTreeMap<_, _> = ways.collect();
        let before = self.mesh.view();
        let same_ways = ways.len() == before.ways.len()
            && ways.iter().all(|(node, way)| {
                before
                    .ways
                    .get(node)
                    .is_some_and(|old| old.same_channel(way))
            });
        if live == before.live && same_ways {
            return;
        }
        let next = View {
            node: Arc::clone(&self.mesh.0.node),
            live,
            ways,
        };
        let moved = next.live != before.live;
        let topics = if moved { self.all_topics() } else { Vec::new() };
        if moved {
            tracing::info!(live = next.live.join(", "), "nodes that number messages");
        }
        // Before anybody publishes by it.
        for topic in &topics {
            self.moves(topic, &before, &next);
        }
        self.mesh.0.view.publish(next);
        for topic in &topics {
            self.settles(topic);
        }
        if moved {
            self.tells_copies(&topics, &before);
            self.follows_again();
        }
    }

    /// A topic's owner or replica is another node.
    fn moves(&mut self, topic: &TopicName, before: &View, next: &View) {
        let (was, is) = (before.owner(topic), next.owner(topic));
        let here = &*self.mesh.0.node;
        if is == here && self.topics.is_mirror(topic) {
            let now = self.now();
            let epoch = self.topics.position(topic).map(|position| position.epoch);
            // Others do not wait any more for a node that leaves.
            let stays = self.leaving.is_none();
            let goes_on = stays
                && self.nodes.get(was).is_some_and(|peer| {
                    let in_step = epoch.is_some() && peer.in_step.get(topic).copied() == epoch;
                    may_go_on(in_step, peer.gone(), peer.stamp, now)
                });
            tracing::debug!(%topic, was, goes_on, "this node numbers a topic from now on");
            // Else the first who publishes to it or wants it from here begins its next life: a node that is alone for a
            // while, and to which nothing happens, has what it had.
            if goes_on {
                self.topics.go_on(topic);
            }
        }
        if was == here
            && self.leaving.is_none()
            && (is != here || before.replica(topic) != next.replica(topic))
            && let Some(peer) = before
                .replica(topic)
                .and_then(|node| self.nodes.get_mut(node))
            && peer.replication.sent_up_to(topic).is_some()
        {
            peer.replication.freeze();
        }
    }

    /// Says goodbye once nothing waits for a replica any more.
    fn leaves(&mut self) {
        let now = self.now();
        let Some((since, done)) = &mut self.leaving else {
            return;
        };
        let late = now.saturating_sub(*since) >= super::ACK_TIMEOUT / 2;
        if done.is_none() || (!late && self.topics.is_holding()) {
            return;
        }
        let done = done.take();
        for peer in self.nodes.values_mut() {
            if let Some(down) = &mut peer.down {
                down.tell(What::Goodbye(true));
            }
        }
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    pub(super) fn all_topics(&self) -> Vec<TopicName> {
        let stats = self.topics.stats().into_iter();
        stats.map(|stat| stat.topic).collect()
    }
}

pub(super) fn spawn(task: impl Future<Output = ()> + 'static) -> Task {
    Task(tokio::task::spawn_local(task).abort_handle())
}
