//! Lines of all nodes are followed through any of them.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

use super::Node;
use super::plane::ControlPlane;
use crate::common::PATIENCE;

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

#[tokio::test]
async fn lines_of_all_nodes_are_followed_through_one_also_of_a_node_that_comes_later() {
    let plane = ControlPlane::start().await;
    let mut nodes = Vec::new();
    for id in ["node-a", "node-b"] {
        nodes.push(Node::untuned(id, &plane, &[]).await);
        plane.sees_connected(id).await;
    }
    // As soon as the one that is asked knows the other, its lines are told.
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["logs", "--follow", "--level", "info", "--node"])
        .arg(nodes[0].grpc.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
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
