//! A profile change is one trace: from the command through the control plane to every actor of every node.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use super::Node;
use super::plane::ControlPlane;
use crate::common::PATIENCE;
use crate::tracing::{attribute, hex, receiver};

const NODES: [&str; 2] = ["node-a", "node-b"];
/// Step and what it is under, on each node.
const STEPS: [(&str, &str); 10] = [
    ("profile.take", "profile.push"),
    ("last_known_good.announce", "profile.take"),
    ("profile.give", "profile.take"),
    ("config_agent.take", "profile.give"),
    ("config_agent.check", "config_agent.take"),
    ("load_balancer.configure", "config_agent.take"),
    ("port_cache.configure", "config_agent.take"),
    ("provision_supervisor.configure", "config_agent.take"),
    ("cache_tier.configure", "config_agent.take"),
    ("cache_warmer.configure", "config_agent.take"),
];

async fn node(id: &str, plane: &ControlPlane, otlp: SocketAddr) -> Node {
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let config = format!("[telemetry]\notlp = \"http://{otlp}\"\nsample_ratio = 0.0\n");
    let node = Node::start_as(id, &keys, &config).await;
    plane.sees_connected(id).await;
    node
}

/// Spans of a trace by who told them and their name.
async fn tree(
    spans: &mut mpsc::UnboundedReceiver<Span>,
    trace: &str,
) -> BTreeMap<(String, String), Span> {
    let deadline = Instant::now() + PATIENCE;
    let mut tree = BTreeMap::new();
    while tree.len() < 2 + NODES.len() * (1 + STEPS.len()) {
        let Ok(span) = timeout_at(deadline, spans.recv()).await else {
            panic!("not all of {trace} is told: {:#?}", tree.keys());
        };
        let span = span.unwrap();
        if hex(&span.trace_id) != trace {
            continue;
        }
        let whose = match &*span.name {
            "profile.push" => attribute(&span, "weir.node"),
            _ => attribute(&span, "service.instance.id"),
        };
        let twice = tree.insert((whose, span.name.clone()), span);
        assert!(twice.is_none(), "{twice:?}");
    }
    tree
}

/// What a node tells of it, once it knows the other one.
async fn shown(node: &Node, trace: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (code, shown) = node.command(&["trace", trace]).await;
        assert_eq!(code, 0, "{shown}");
        if NODES.iter().all(|id| shown.contains(&format!(" {id} "))) {
            return shown;
        }
        assert!(Instant::now() < deadline, "{shown}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_profile_change_is_one_tree_from_the_command_to_every_actor_of_every_node() {
    let (otlp, mut spans) = receiver().await;
    let url = format!("http://{otlp}");
    let plane = ControlPlane::start_with(&["--name", "cp-1", "--otlp", &url]).await;
    let mut nodes = Vec::new();
    for id in NODES {
        nodes.push(node(id, &plane, otlp).await);
    }
    let set = ["profile", "set", "balancer.drain_timeout=10s", "-m", "why"];
    let said = plane.weir(&set).await.done();
    let trace = said
        .split("trace: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();

    let tree = tree(&mut spans, trace).await;
    let of = |whose: &str, name: &str| &tree[&(whose.to_owned(), name.to_owned())];
    let write = of("cp-1", "profile.write");
    let command = of("cp-1", "command");
    assert!(command.parent_span_id.is_empty());
    assert_eq!(attribute(command, "weir.command"), "weir profile set");
    assert_eq!(write.parent_span_id, command.span_id);
    assert_eq!(attribute(write, "weir.profile.scope"), "fleet");
    assert_eq!(attribute(write, "weir.profile.revision"), "1");
    assert_eq!(attribute(write, "weir.profile.settings_changed"), "1");
    for id in NODES {
        let push = of(id, "profile.push");
        assert_eq!(push.parent_span_id, write.span_id);
        assert_eq!(attribute(push, "service.instance.id"), "cp-1");
        assert_eq!(attribute(push, "weir.profile.status"), "applied");
        for (name, above) in STEPS {
            let span = of(id, name);
            assert_eq!(span.parent_span_id, of(id, above).span_id, "{name} of {id}");
            assert!(span.end_time_unix_nano <= push.end_time_unix_nano + 1_000_000_000);
            if name == "config_agent.take" || name.ends_with(".configure") {
                assert!(attribute(span, "mailbox.wait_us").parse::<u64>().is_ok());
            }
        }
    }
    // Without a collector: any node puts all of it together, and no part stands beside it.
    let shown = shown(&nodes[0], trace).await;
    let tops = shown
        .lines()
        .skip(2)
        .filter(|line| !line.starts_with(['├', '└', '│', ' ']));
    let tops: Vec<&str> = tops
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(tops, ["command"], "{shown}");
    for (name, _) in STEPS.into_iter().chain([("profile.push", "")]) {
        assert_eq!(
            shown.matches(name).count(),
            NODES.len(),
            "{name} in {shown}"
        );
    }
    assert!(
        shown.contains("└─ profile.write") && shown.contains("weir profile set"),
        "{shown}"
    );
    // Nodes name what they have as commands do.
    let (_, told) = nodes[0].command(&["status", "--mesh"]).await;
    assert_eq!(told.matches("fleet@1").count(), NODES.len(), "{told}");
    // Without its id nothing of it is told again: who comes back is in no trace of a write that it has.
    assert!(plane.weir(&set).await.done().contains("nothing to change"));
}
