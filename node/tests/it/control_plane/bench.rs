//! Two profiles compared on a mesh that lives: each in turn on every node, and in the end what was there before.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::Node;
use super::plane::ControlPlane;
use crate::common::{Backend, PATIENCE};

const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];
const KNOB: &str = "balancer.drain_timeout";

/// Two presets in turn on the whole fleet; a round is four steps of 100 ms.
fn duel(node: &Node, plane: &ControlPlane, rounds: &str) -> Command {
    let url = format!("http://{}/", node.ingress);
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command
        .args(["bench", &url, "--rate", "50", "--duration", "100ms"])
        .args(["--connections", "4", "--scope", "fleet", "-o", "json"])
        .args(["--profile-a", "standard", "--profile-b", "high-traffic"])
        .args(["--rounds", rounds])
        .env("WEIR_CONTROL_PLANE", plane.address.to_string())
        .env_remove("WEIR_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Messages of the fleet's revisions, the oldest first.
async fn written(plane: &ControlPlane) -> Vec<String> {
    let told = plane.weir(&["profile", "history", "--limit", "100", "-o", "json"]);
    let told = told.await.json();
    let revisions = told["revisions"].as_array().or(told.as_array());
    let revisions = revisions.unwrap_or_else(|| panic!("{told}"));
    let messages = revisions.iter().map(|one| one["message"].as_str().unwrap());
    messages.rev().map(str::to_owned).collect()
}

/// How often a node took a profile.
async fn taken(node: &Node) -> u64 {
    let (_, metrics) = node.get_api("/metrics").await.unwrap();
    let name = "weir_events_total{kind=\"profile.applied\"} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().parse().unwrap()
}

async fn all_are_as_before(nodes: &[Node], plane: &ControlPlane) {
    for node in nodes {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while node.effective(plane, KNOB).await["value"] != "7s" {
            assert!(tokio::time::Instant::now() < deadline, "{} is not", node.id);
            sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn profiles_alternate_on_every_node_of_a_mesh_and_what_was_there_is_put_back_also_by_ctrl_c()
{
    let (plane, backend) = (ControlPlane::start().await, Backend::start("one").await);
    let mut nodes = Vec::new();
    for id in NODES {
        nodes.push(Node::untuned(id, &plane, &[backend.address]).await);
        plane.sees_connected(id).await;
    }
    let before = format!("{KNOB}=7s");
    plane
        .weir(&["profile", "set", &before, "-m", "before"])
        .await
        .done();

    let run = duel(&nodes[0], &plane, "4").output();
    let output = timeout(PATIENCE, run).await.expect("it ends").unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let steps = report["steps"].as_array().unwrap().iter();
    let turns: Vec<&str> = steps
        .map(|step| step["profile"].as_str().unwrap())
        .collect();
    assert_eq!(turns, ["A", "B", "B", "A"].repeat(4));
    assert_eq!(report["comparison"]["pairs"], 8, "{report}");
    // A, then B and A in turn: each on all three nodes, and then what was there.
    let messages = written(&plane).await;
    let names = messages
        .iter()
        .map(|message| message.split(": ").nth(1).unwrap_or("before"));
    let names: Vec<&str> = names.collect();
    assert_eq!(names.len(), 1 + 9 + 1, "{messages:?}");
    assert_eq!(
        names[..4],
        ["before", "standard", "high-traffic", "standard"]
    );
    assert_eq!(names[10], "as it was before");
    all_are_as_before(&nodes, &plane).await;
    for node in &nodes {
        assert_eq!(taken(node).await, 11, "{}", node.id);
    }

    let child = duel(&nodes[0], &plane, "10").spawn().unwrap();
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    timeout(PATIENCE, async {
        while written(&plane).await.len() < 11 + 2 {
            sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it writes both profiles");
    kill_process(pid, Signal::INT).unwrap();
    let ended = timeout(PATIENCE, child.wait_with_output()).await;
    let ended = ended.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        ended.status.code() == Some(1) && said.contains("is put back"),
        "{said}"
    );
    let messages = written(&plane).await;
    assert!(
        messages.last().unwrap().ends_with("as it was before"),
        "{messages:?}"
    );
    all_are_as_before(&nodes, &plane).await;
}
