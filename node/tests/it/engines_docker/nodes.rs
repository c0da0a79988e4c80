//! Two nodes with one control plane and one Docker: whatever becomes of one of them, every engine has one owner.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::life::served_by;
use super::stage::{Seen, Stage, engines_of, eventually, ids, range_of_ports, until_jobs_are_done};
use crate::common::Weir;
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;

/// What a killed node holds is free for others after this time; then it takes a look and a probe.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(25);

struct Pair {
    stage: Stage,
    plane: ControlPlane,
    nodes: Vec<Node>,
    service: String,
}

impl Pair {
    async fn start() -> Self {
        let (stage, plane) = (Stage::new("pair"), ControlPlane::start().await);
        let keys = format!("endpoints = [\"{}\"]\n", plane.address);
        let service = stage.service("network = \"host\"\nmin = 2\nmax = 6");
        let mut nodes = Vec::new();
        for id in ["node-a", "node-b"] {
            let provision = stage.provision(stage.docker.socket(), range_of_ports());
            nodes.push(Node::start_as(id, &keys, &(provision + &service)).await);
        }
        for node in &nodes {
            plane.sees_connected(&node.id).await;
        }
        Self {
            stage,
            plane,
            nodes,
            service,
        }
    }

    /// Waits until so many engines serve in all, each of which is one node's and one container.
    async fn until_ready(&self, asked: &Node, count: usize) -> Vec<Seen> {
        let what = format!("{count} engines, each of one node");
        eventually(asked, &what, async || {
            let mut all = Vec::new();
            for node in &self.nodes {
                // One that was killed has none.
                all.extend(engines_of(node).await.unwrap_or_default());
            }
            let names: BTreeSet<&str> = all.iter().map(|engine| &*engine.id).collect();
            let here = self.stage.engines();
            let containers: BTreeSet<&str> = here.iter().map(|one| &*one.id).collect();
            let owned = all.iter().map(|engine| &*engine.container_id).collect();
            let ready = all.iter().all(|engine| engine.state == "ready");
            let exact = [all.len(), names.len(), here.len()] == [count; 3];
            (exact && ready && containers == owned).then_some(here)
        })
        .await
    }
}

/// How many engines this node has itself; none while it does not answer.
async fn own(node: &Node) -> usize {
    engines_of(node).await.unwrap_or_default().len()
}

/// Waits until each of so many engines has answered through this node.
async fn all_serve(node: &Weir, count: usize) {
    let mut served = BTreeSet::new();
    eventually(node, "each of them answers", async || {
        served.extend(served_by(node).await);
        (served.len() == count).then_some(())
    })
    .await;
}

/// Waits until the survivor has both engines, which nobody touches and which serve all the time.
async fn taken_over(pair: &Pair, survivor: &Node, before: &[Seen]) {
    let killed = Instant::now();
    let mut refused = 0;
    eventually(survivor, "it has both", async || {
        assert_eq!(pair.stage.engines(), before, "{}", survivor.log());
        refused += u32::from(served_by(survivor).await.is_none());
        let ready = engines_of(survivor).await?;
        let ready = ready.iter().filter(|engine| engine.state == "ready");
        (ready.count() == 2).then_some(())
    })
    .await;
    let took = killed.elapsed();
    assert!(took < TAKEN_OVER_WITHIN, "{took:?}");
    assert_eq!(refused, 0, "they serve all the time: {}", survivor.log());
}

/// A node that is back starts what is asked of it, and leaves what serves elsewhere where it is.
async fn takes_nothing(pair: &Pair, back: &Node, survivor: &Node, before: &[Seen]) {
    all_serve(back, 2).await;
    let add = ["engines", "provision", &pair.stage.service, "--wait"];
    let (code, text) = back.command(&add).await;
    assert_eq!(code, 0, "{text}");
    let three = pair.until_ready(back, 3).await;
    let stays = before.iter().all(|one| three.contains(one));
    assert!(stays, "{before:?} {three:?}");
    let survivors = ids(&engines_of(survivor).await.unwrap());
    let are_there = before.iter().all(|one| survivors.contains(&one.id));
    assert!(are_there, "{survivors:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_on_one_docker_each_engine_has_one_and_a_killed_ones_go_to_the_other() {
    let mut pair = Pair::start().await;
    let before = pair.until_ready(&pair.nodes[0], 2).await;
    for node in &pair.nodes {
        all_serve(node, 2).await;
        until_jobs_are_done(node).await;
    }
    // The one that has most dies.
    if own(&pair.nodes[1]).await > own(&pair.nodes[0]).await {
        pair.nodes.swap(0, 1);
    }
    pair.nodes[0].crash().await;
    taken_over(&pair, &pair.nodes[1], &before).await;

    pair.nodes[0].start_again().await;
    pair.plane.sees_connected(&pair.nodes[0].id).await;
    takes_nothing(&pair, &pair.nodes[0], &pair.nodes[1], &before).await;

    for node in &pair.nodes {
        node.mend(&pair.service, "");
    }
    eventually(&pair.nodes[0], "no container is left", async || {
        pair.stage.engines().is_empty().then_some(())
    })
    .await;
}
