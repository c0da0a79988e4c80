//! Whatever is wrong with the disk, a node starts, serves, and takes what it is told.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use weir_node::actors::config_agent::last_known_good::LastKnownGood;
use weir_proto::control::v1 as pb;

use super::Node;
use super::plane::{ControlPlane, is_connected};
use super::small_disk::SmallDisk;
use crate::steered::Steered;

const SLOTS: [&str; 2] = ["lkg-a", "lkg-b"];
/// Of a node whose file says nothing of it.
const DEFAULT: &str = "peak_ewma";

fn folder(node: &Node) -> PathBuf {
    node.data.path().join("last-known-good")
}

/// A node that has taken two profiles, one after the other, and whose control plane is away.
async fn node_with_two() -> (ControlPlane, Node) {
    let mut plane = ControlPlane::start().await;
    let backend = Steered::start("one").await;
    let mut node = Node::untuned("node-a", &plane, &[backend.address]).await;
    plane.sees_connected("node-a").await;
    for policy in ["random", "least_connections"] {
        plane.tune(&[("balancer.policy", policy)]).await;
        plane.sees_in_sync("node-a").await;
    }
    node.stop().await;
    plane.crash().await;
    (plane, node)
}

/// The slots, the one that was written last first.
fn slots(node: &Node) -> Vec<PathBuf> {
    let mut slots: Vec<(SystemTime, PathBuf)> = SLOTS
        .iter()
        .map(|name| folder(node).join(name))
        .map(|path| (path.metadata().unwrap().modified().unwrap(), path))
        .collect();
    slots.sort();
    slots.into_iter().rev().map(|(_, path)| path).collect()
}

fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn behind_a_damaged_slot_is_the_other_and_behind_both_the_file() {
    let (mut plane, mut node) = node_with_two().await;
    node.start_again().await;
    assert_eq!(node.policy().await, "least_connections", "{}", node.log());
    node.stop().await;
    let slots = slots(&node);
    damage(&slots[0]);
    node.start_again().await;
    assert_eq!(node.policy().await, "random", "{}", node.log());
    node.stop().await;
    damage(&slots[1]);
    node.start_again().await;
    assert_eq!(node.policy().await, DEFAULT, "{}", node.log());
    assert!(node.log().contains("last known good"), "{}", node.log());
    node.get("/").await;

    // What the control plane wants heals the disk.
    plane.start_again().await;
    plane.sees_in_sync("node-a").await;
    assert_eq!(node.policy().await, "least_connections");
    plane.crash().await;
    node.crash().await;
    node.start_again().await;
    assert_eq!(node.policy().await, "least_connections", "{}", node.log());
}

#[tokio::test]
async fn on_a_disk_that_takes_nothing_a_profile_is_in_force_until_the_next_start() {
    let plane = ControlPlane::start().await;
    let mut node = Node::untuned("node-a", &plane, &[]).await;
    plane.sees_in_sync("node-a").await;
    node.stop().await;
    std::fs::remove_dir_all(folder(&node)).unwrap();
    std::fs::write(folder(&node), "a file where a folder should be").unwrap();
    node.start_again().await;
    plane.tune(&[("balancer.policy", "random")]).await;
    plane.sees_in_sync("node-a").await;
    assert_eq!(node.policy().await, "random");
    assert!(node.log().contains("last known good"), "{}", node.log());
    node.crash().await;
    node.start_again().await;
    plane.sees_in_sync("node-a").await;
    crate::operator::wait_until(&node, "it has it again", async || {
        node.policy().await == "random"
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_keeps_the_older_content_and_the_node_goes_on() {
    let (mut plane, mut node) = node_with_two().await;
    let before: Vec<_> = SLOTS
        .map(|name| std::fs::read(folder(&node).join(name)).unwrap())
        .into();
    let disk = SmallDisk::at(&folder(&node)).await;
    for (name, bytes) in SLOTS.iter().zip(&before) {
        std::fs::write(disk.path().join(name), bytes).unwrap();
    }
    node.run_through(disk.enter());
    node.start_again().await;
    assert_eq!(node.policy().await, "least_connections");
    fill(&disk.path().join("other"));
    plane.start_again().await;
    plane.tune(&[("balancer.policy", "random")]).await;
    plane.sees_in_sync("node-a").await;
    assert_eq!(node.policy().await, "random");
    node.says("No space left on device").await;
    plane.crash().await;
    node.crash().await;
    node.start_again().await;
    assert_eq!(
        node.policy().await,
        "least_connections",
        "the older content is whole"
    );
}

fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    for size in [4096, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
}

/// Lets time pass for what a stopped node has in force, as half a minute would.
fn prove_good(node: &Node) {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let (mut disk, boot) = LastKnownGood::open(&folder(node), version, now);
    assert!(boot.start_from.is_some() && !boot.crashed, "{boot:?}");
    disk.look(now + Duration::from_secs(60), true).unwrap();
    disk.ended_well().unwrap();
}

#[tokio::test]
async fn a_profile_that_crashes_the_node_again_and_again_is_quarantined() {
    let plane = ControlPlane::start().await;
    let mut node = Node::untuned("node-a", &plane, &[]).await;
    plane.tune(&[("balancer.policy", "random")]).await;
    plane.sees_in_sync("node-a").await;
    node.stop().await;
    prove_good(&node);
    node.start_again().await;
    let good = plane.sees_in_sync("node-a").await.wanted_hash;

    plane
        .tune(&[("balancer.policy", "least_connections")])
        .await;
    let bad = plane.sees_in_sync("node-a").await.wanted_hash;
    for crash in 1..=3 {
        assert_eq!(node.policy().await, "least_connections", "crash {crash}");
        node.crash().await;
        node.start_again().await;
    }
    assert_eq!(node.policy().await, "random", "{}", node.log());
    let told = plane
        .sees("node-a", "refuses it", |node| {
            let profile = node.profile.clone().unwrap_or_default();
            is_connected(node)
                && profile.last_attempt() == pb::ApplyStatus::Rejected
                && profile.quarantined == [bad.clone()]
        })
        .await;
    let profile = told.profile.unwrap();
    assert_eq!(
        (&profile.offered_hash, &profile.effective_hash),
        (&bad, &good)
    );
    let out = plane
        .weir(&["nodes", "list", "--rejected", "-o", "json"])
        .await
        .json();
    assert_eq!(
        out[0]["profile"]["errors"][0]["code"], "quarantined",
        "{out}"
    );
    assert_eq!(out[0]["profile"]["origin"], "last-known-good");
    let out = plane.weir(&["nodes", "get", "node-a"]).await.done();
    assert!(out.contains("quarantined: "), "{out}");
    assert!(out.contains("crashed the node 3 times in a row"), "{out}");

    plane.tune(&[("balancer.policy", "round_robin")]).await;
    plane.sees_in_sync("node-a").await;
    assert_eq!(node.policy().await, "round_robin");
    // It is not forgotten: offered again, it is refused again.
    plane
        .tune(&[("balancer.policy", "least_connections")])
        .await;
    plane
        .sees("node-a", "refuses it again", |node| {
            let profile = node.profile.clone().unwrap_or_default();
            profile.last_attempt() == pb::ApplyStatus::Rejected && profile.offered_hash == bad
        })
        .await;
    assert_eq!(node.policy().await, "round_robin");
}
