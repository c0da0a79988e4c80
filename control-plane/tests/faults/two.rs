//! Two instances on one store; the one that leads is killed or frozen.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use weir_control_plane::election::Fence;
use weir_control_plane::store::{Op, Txn};
use weir_proto::control::v1 as pb;

use crate::api::{Api, Writer};
use crate::etcd::Etcd;
use crate::instance::{Instance, PATIENCE, Plan, connect};
use crate::node::Node;
use crate::watcher::Shown;

/// Two instances, the one that leads first, and nodes of both.
struct Pair {
    etcd: Etcd,
    leader: Instance,
    other: Instance,
    /// Nodes that come to the leader first.
    movers: Vec<Node>,
    /// Nodes that know the other alone.
    stayers: Vec<Node>,
    shown: Shown,
}

impl Pair {
    async fn start() -> Self {
        let etcd = Etcd::start().await;
        let members = [etcd.endpoint()];
        let leader = Plan::new("cp-1", &members).start().await;
        let mut standing = leader.standing();
        let leads = standing.wait_for(|standing| standing.is_self.is_some());
        timeout(PATIENCE, leads).await.unwrap().unwrap();
        let other = Plan::new("cp-2", &members).start().await;
        let both = [leader.address(), other.address()];
        let movers: Vec<Node> = (0..5)
            .map(|at| Node::start(&format!("mover-{at}"), &both))
            .collect();
        let stayers: Vec<Node> = (0..5)
            .map(|at| Node::start(&format!("stayer-{at}"), &both[1..]))
            .collect();
        let api = Api::to(other.address());
        api.set(1_000).await;
        for node in movers.iter().chain(&stayers) {
            node.at(1_000).await;
        }
        let is_there = |node: &pb::NodeInfo| node.presence() == pb::Presence::Connected;
        for at in 0..5 {
            api.until_node(&format!("mover-{at}"), "there", is_there)
                .await;
            api.until_node(&format!("stayer-{at}"), "there", is_there)
                .await;
        }
        let shown = Shown::by(&api).await;
        Self {
            etcd,
            leader,
            other,
            movers,
            stayers,
            shown,
        }
    }

    fn fence(&self) -> Fence {
        self.leader.standing().borrow().is_self.clone().unwrap()
    }

    /// The other one leads, and what the old leader would do is refused.
    async fn other_leads(&self, old: &Fence) {
        let mut standing = self.other.standing();
        let leads = standing.wait_for(|standing| standing.is_self.is_some());
        timeout(PATIENCE, leads).await.unwrap().unwrap();
        let store = connect(&[self.etcd.endpoint()]).await;
        let zombie = Txn {
            when: vec![old.guard()],
            then: vec![Op::Delete(
                b"/weir/v1/default/cfg/meta/epoch".to_vec().into(),
            )],
            or_else: Vec::new(),
        };
        let outcome = store.txn(zombie).await.unwrap();
        assert!(!outcome.succeeded, "an old leader's write was made");
    }

    fn ways(&self) -> [Api; 2] {
        [
            Api::to(self.leader.address()),
            Api::to(self.other.address()),
        ]
    }

    /// All nodes end on the last of these values, and none of them ever went back.
    async fn all_well_with(&self, history: &[u64]) {
        for node in self.movers.iter().chain(&self.stayers) {
            let seen = node.at(*history.last().unwrap()).await;
            assert_eq!(seen.mismatches, 0);
            let mut rest = history.iter();
            let told = seen.values.iter().filter(|value| **value != 0);
            let in_order = told
                .clone()
                .all(|value| rest.any(|written| written == value));
            assert!(in_order, "{:?} of {history:?}", seen.values);
        }
        for node in &self.stayers {
            assert_eq!(node.now().welcomes, 1, "it noticed");
        }
        self.shown.never_away();
    }
}

/// Writes through both until told to stop; what was acknowledged.
fn writing(ways: &[Api; 2], stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<Vec<(u64, u64)>> {
    let (ways, stop) = (ways.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let [one, two] = &ways;
        let mut here = Writer::new(&[one.clone(), two.clone()], "here");
        let mut there = Writer::new(&[two.clone(), one.clone()], "there");
        let mut acknowledged = Vec::new();
        let mut value = 2_000;
        while !stop.load(Ordering::Relaxed) {
            value += 2;
            let both = tokio::join!(here.write(value), there.write(value + 1));
            acknowledged.extend([(both.0, value), (both.1, value + 1)]);
            sleep(Duration::from_millis(150)).await;
        }
        acknowledged
    })
}

/// Every acknowledged write is there once, at the revision that was told.
async fn all_written_once(api: &Api, mut acknowledged: Vec<(u64, u64)>) -> Vec<u64> {
    acknowledged.sort_unstable();
    let history = api.history().await;
    let written: Vec<_> = history.iter().skip(1).copied().collect();
    assert_eq!(written, acknowledged);
    let values: Vec<u64> = history.iter().map(|(_, value)| *value).collect();
    let distinct: BTreeSet<&u64> = values.iter().collect();
    assert_eq!(distinct.len(), values.len(), "one was made twice");
    values
}

#[tokio::test]
async fn nodes_and_writers_of_an_instance_that_is_killed_go_on_at_the_other() {
    let mut pair = Pair::start().await;
    let (fence, ways) = (pair.fence(), pair.ways());
    let stop = Arc::new(AtomicBool::new(false));
    let writers = writing(&ways, &stop);
    sleep(Duration::from_millis(500)).await;
    pair.leader.kill();
    let moved = async {
        for node in &pair.movers {
            node.connected_to("cp-2").await;
        }
    };
    let moved = timeout(Duration::from_secs(4), moved).await;
    moved.expect("nodes move over within a few seconds");
    pair.other_leads(&fence).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged = writers.await.unwrap();
    assert!(acknowledged.len() > 20, "{acknowledged:?}");
    let history = all_written_once(&ways[1], acknowledged).await;
    pair.all_well_with(&history).await;
}

#[tokio::test]
async fn an_instance_that_was_frozen_wakes_up_without_leadership_and_harms_nothing() {
    let pair = Pair::start().await;
    let (fence, ways) = (pair.fence(), pair.ways());
    let stop = Arc::new(AtomicBool::new(false));
    let writers = writing(&ways, &stop);
    sleep(Duration::from_millis(300)).await;
    let thaw = pair.leader.freeze();
    for node in &pair.movers {
        node.connected_to("cp-2").await;
    }
    pair.other_leads(&fence).await;
    drop(thaw);
    let mut standing = pair.leader.standing();
    let knows = standing.wait_for(|s| s.leader.as_deref() == Some("cp-2"));
    timeout(PATIENCE, knows).await.unwrap().unwrap();
    assert!(!pair.leader.is_leader());
    stop.store(true, Ordering::Relaxed);
    let acknowledged = writers.await.unwrap();
    let history = all_written_once(&ways[0], acknowledged).await;
    pair.all_well_with(&history).await;
    for at in 0..5 {
        let is_at_other = |node: &pb::NodeInfo| {
            node.presence() == pb::Presence::Connected && node.instance == "cp-2"
        };
        let id = format!("mover-{at}");
        ways[0]
            .until_node(&id, "the frozen one knows", is_at_other)
            .await;
    }
}
