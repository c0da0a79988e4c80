//! Lines of all nodes are followed through any of them.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::Node;
use super::plane::ControlPlane;
use crate::common::PATIENCE;
use crate::operator::wait_until;

/// The next line that says this.
async fn next(lines: &mut Lines<BufReader<ChildStdout>>, said: &str) -> String {
    let found = timeout(PATIENCE, async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it goes on");
            if line.contains(said) {
                return line;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("nobody says {said}"))
}

fn follow(node: &Node, arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["logs", "--follow", "--node", &node.grpc.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

#[tokio::test]
async fn a_follower_is_first_told_what_a_list_tells_of_all_nodes_and_then_what_is_new() {
    let plane = ControlPlane::start().await;
    let mut nodes = Vec::new();
    for id in ["node-a", "node-b"] {
        nodes.push(Node::untuned(id, &plane, &[]).await);
        plane.sees_connected(id).await;
    }
    let ready = ["--grep", "node ready", "--lines", "1"];
    wait_until(&nodes[0], "each node knows the other", async || {
        let (code, text) = nodes[0].command(&[&["logs"][..], &ready].concat()).await;
        code == 0 && text.contains(" node-b ")
    })
    .await;
    let (_child, mut lines) = follow(&nodes[0], &ready);
    let line = next(&mut lines, "node ready").await;
    assert!(line.contains(" node-b "), "the newest of all: {line}");
    let _late = Node::untuned("node-c", &plane, &[]).await;
    let line = next(&mut lines, "node ready").await;
    assert!(line.contains(" node-c "), "and then what is new: {line}");
}

#[tokio::test]
async fn lines_of_all_nodes_are_followed_through_one_also_of_a_node_that_comes_later() {
    let plane = ControlPlane::start().await;
    let mut nodes = Vec::new();
    for id in ["node-a", "node-b"] {
        nodes.push(Node::untuned(id, &plane, &[]).await);
        plane.sees_connected(id).await;
    }
    // As soon as the one that is asked knows the other, its lines are told.
    let (_child, mut lines) = follow(&nodes[0], &["--level", "info"]);
    next(&mut lines, " node-a ").await;
    for node in &nodes {
        node.mend("[[routes]]", "[[routez]]");
        let line = next(&mut lines, "routez").await;
        assert!(line.contains(&format!(" {} ", node.id)), "{line}");
        node.mend("[[routez]]", "[[routes]]");
    }
    let late = Node::untuned("node-c", &plane, &[]).await;
    next(&mut lines, " node-c ").await;
    late.mend("[[routes]]", "[[routez]]");
    let line = next(&mut lines, "routez").await;
    assert!(line.contains(" node-c "), "{line}");
}
