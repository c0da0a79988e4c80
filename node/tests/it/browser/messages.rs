//! Two tabs on two nodes.

use super::{Browser, Tab};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;

/// The page and the messages are of one origin, as of any site.
async fn node(id: &str, plane: &ControlPlane, site: &std::path::Path) -> Node {
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let config = format!(
        "[broadcaster]\nanonymous = \"all\"\ndeflate_bytes_min = \"64B\"\n\
         [services.site.files]\nroot = \"{}\"\n\
         [[routes]]\npath = \"/live\"\nbroadcast = true\n\
         [[routes]]\nservice = \"site\"\n",
        site.display()
    );
    let node = Node::start_as(id, &keys, &config).await;
    plane.sees_connected(&node.id).await;
    node
}

/// Everything that comes over a WebSocket is in `got`; `send` publishes.
const WITH_WEBSOCKET: &str = "
    window.got = [];
    const socket = new WebSocket(`ws://${location.host}/live?topic=news`, 'weir.v1.json');
    socket.onmessage = (event) => {
        const told = JSON.parse(event.data);
        if (told.batch) for (const one of told.batch.messages) got.push(one.data.n);
        if (told.published) window.published = (window.published || 0) + 1;
    };
    window.extensions = () => socket.extensions;
    const text = 'again and '.repeat(50);
    window.send = (n) => socket.send(JSON.stringify({publish: {topic: 'news', data: {n, text}, id: n}}));
    new Promise((done) => { socket.onopen = () => done(true); })";

/// The same with nothing but what `EventSource` does by itself.
const WITH_EVENTS: &str = "
    window.got = [];
    window.gaps = [];
    window.source = new EventSource('/live?topic=news');
    source.onmessage = (event) => {
        const told = JSON.parse(event.data);
        for (const one of told.batch.messages) got.push(one.data.n);
    };
    source.addEventListener('gap', (event) => gaps.push(event.data));
    source.addEventListener('recovered', (event) => {
        if (!JSON.parse(event.data).recovered.ok) gaps.push(event.data);
    });
    new Promise((done) => { source.onopen = () => done(true); })";

async fn has(tab: &mut Tab, up_to: u32) {
    let expected: Vec<u32> = (1..=up_to).collect();
    tab.until(&format!(
        "JSON.stringify(got) == '{}'",
        serde_json::json!(expected)
    ))
    .await;
}

#[tokio::test]
async fn two_tabs_on_two_nodes_see_the_same_and_one_resumes_by_itself_after_its_node_was_killed() {
    let plane = ControlPlane::start().await;
    let site = tempfile::tempdir().unwrap();
    let page = "<!doctype html><title>news</title><p>news";
    std::fs::write(site.path().join("index.html"), page).unwrap();
    let a = node("node-a", &plane, site.path()).await;
    let mut b = node("node-b", &plane, site.path()).await;
    // Before that each takes itself for the one that numbers messages.
    for node in [&a, &b] {
        node.wait_for_metric("weir_broadcast_nodes", |count| count == 2.0)
            .await;
    }

    let browser = Browser::start().await;
    let mut first = browser.tab(&format!("http://{}/", a.ingress)).await;
    let mut second = browser.tab(&format!("http://{}/", b.ingress)).await;
    assert_eq!(first.run(WITH_WEBSOCKET).await, true);
    assert_eq!(second.run(WITH_EVENTS).await, true);
    // What the browser and the node compress for each other, the other one reads.
    let extensions = first.run("extensions()").await;
    assert!(
        extensions
            .as_str()
            .is_some_and(|all| all.starts_with("permessage-deflate")),
        "{extensions}"
    );
    for n in 1..=3 {
        first.run(&format!("send({n})")).await;
    }
    has(&mut first, 3).await;
    has(&mut second, 3).await;

    b.crash().await;
    for n in 4..=6 {
        first.run(&format!("send({n})")).await;
    }
    has(&mut first, 6).await;
    b.start_again().await;
    has(&mut second, 6).await;
    first.run("send(7)").await;
    has(&mut first, 7).await;
    has(&mut second, 7).await;
    assert_eq!(second.run("gaps").await, serde_json::json!([]));
    assert_eq!(first.run("published").await, 7);
}
