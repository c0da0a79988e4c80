//! The dashboard before a mesh that lives: traffic, a backend that dies, a node that dies, and nobody touches a mouse.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Browser, Tab};
use crate::common::{Backend, Weir, web};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;

const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];
/// Of the file; no profile may give a connection less than its streams.
const WINDOWS: &str = "h2_stream_window = \"8MiB\"\nh2_connection_window = \"9MiB\"\n";
/// Between two requests to a node.
const PACE: Duration = Duration::from_millis(20);

/// The page as it looks on a screen of this size, kept for whoever wants to see it.
async fn keep(tab: &mut Tab, name: &str, size: (u32, u32), scheme: &str) {
    let is_phone = size.0 < 500;
    let metrics = json!({
        "width": size.0, "height": size.1, "deviceScaleFactor": if is_phone { 2 } else { 1 }, "mobile": is_phone,
    });
    tab.call("Emulation.setDeviceMetricsOverride", metrics)
        .await;
    let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
    tab.call("Emulation.setEmulatedMedia", scheme).await;
    // Plots follow the size of their frames with the next picture.
    tab.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        .await;
    let fits = "document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(tab.run(fits).await, true, "{name} scrolls sideways");
    let overflowing = "[...document.querySelectorAll('.card .scroll')].filter(
        (one) => one.scrollWidth > one.clientWidth).length";
    assert_eq!(tab.run(overflowing).await, 0, "{name}: services scroll");
    let asked = json!({ "format": "png" });
    let picture = tab.call("Page.captureScreenshot", asked).await;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(picture["data"].as_str().unwrap())
        .unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("dashboard-{name}.png")), bytes).unwrap();
}

async fn press(tab: &mut Tab, key: &str, code: u32) {
    for kind in ["rawKeyDown", "keyUp"] {
        let key = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
        tab.call("Input.dispatchKeyEvent", key).await;
    }
}

/// Goes on with Tab until the focus is on what `selector` names.
async fn tab_to(tab: &mut Tab, selector: &str) {
    for _ in 0..60 {
        press(tab, "Tab", 9).await;
        let is_there = format!("document.activeElement.matches('{selector}')");
        if tab.run(&is_there).await == true {
            let ring = "document.activeElement.matches(':focus-visible')";
            assert_eq!(tab.run(ring).await, true, "{selector} shows its focus");
            return;
        }
    }
    panic!("Tab never comes to {selector}");
}

/// A request to each of them, again and again, for as long as it is held.
fn traffic(ingresses: Vec<SocketAddr>) -> JoinSet<()> {
    let mut all = JoinSet::new();
    for ingress in ingresses {
        all.spawn(async move {
            let mut pace = tokio::time::interval(PACE);
            loop {
                pace.tick().await;
                let Ok(mut stream) = TcpStream::connect(ingress).await else {
                    continue;
                };
                let head = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(head).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        });
    }
    all
}

async fn mesh(plane: &ControlPlane, backends: &[SocketAddr]) -> Vec<Node> {
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let checks = "health = { check = \"tcp\", interval = \"100ms\", timeout = \"100ms\" }";
    let config = format!(
        "[telemetry]\nstatus_cache_ttl = \"100ms\"\n{}",
        web(backends, checks)
    );
    let mut nodes = Vec::new();
    for id in NODES {
        nodes.push(Node::start_with(id, WINDOWS, &keys, &config).await);
    }
    for id in NODES {
        plane.sees_connected(id).await;
    }
    nodes
}

#[tokio::test]
async fn the_dashboard_shows_a_mesh_its_traffic_and_what_dies_in_it() {
    let plane = ControlPlane::start().await;
    let one = Backend::start("one").await;
    let mut two = Backend::start("two").await;
    let mut nodes = mesh(&plane, &[one.address, two.address]).await;
    let _traffic = traffic(nodes.iter().map(|node| node.ingress).collect());
    let browser = Browser::start().await;
    let mut tab = browser.dashboard(nodes[0].api).await;

    for id in NODES {
        let is_there = format!("document.getElementById('node.{id}') != null");
        tab.until(&is_there).await;
    }
    let rate = "parseFloat(document.querySelector('#plot-requests .headline').textContent) > 0";
    tab.until(rate).await;
    tab.until("document.querySelector('#plot-latency .line').getAttribute('d') != ''")
        .await;
    tab.until("document.getElementById('verdict').textContent == 'All is well'")
        .await;
    keep(&mut tab, "phone", (390, 844), "dark").await;
    keep(&mut tab, "light", (1440, 900), "light").await;
    keep(&mut tab, "dark", (1440, 900), "dark").await;

    picks_a_node_and_reads_a_plot_with_keys_only(&mut tab).await;

    names_what_is_offered_and_in_force(&mut tab, &plane).await;

    two.child.kill().await.unwrap();
    let row = format!("backend.web.{}", two.address).replacen(":", "%3A", 1);
    let row = format!("document.getElementById('{row}').querySelector('.standing')");
    tab.until(&format!("{row}.firstChild.className == 'badge bad'"))
        .await;
    let reason = tab.run(&format!("{row}.lastChild.textContent")).await;
    assert!(
        reason.as_str().is_some_and(|reason| reason.len() > 3),
        "{reason}"
    );
    let named = format!("troubles.textContent.includes('{}')", two.address);
    tab.until(&named).await;

    nodes[2].crash().await;
    tab.until("verdict.textContent.startsWith('Node node-c does not answer')")
        .await;
    let why = "document.getElementById('node.node-c').textContent.includes('no answer')";
    tab.until(why).await;
    keep(&mut tab, "trouble", (1440, 900), "dark").await;
    let own = |complaint: &&String| !complaint.contains("ERR_NETWORK_CHANGED");
    let complaints: Vec<_> = tab.complaints.iter().filter(own).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[tokio::test]
async fn a_place_and_a_password_in_the_address_are_understood() {
    let backends = ["127.0.0.1:1".parse().unwrap()];
    let weir = Weir::start(&web(&backends, "")).await;
    let browser = Browser::start().await;
    for place in ["nodes", "at=nodes"] {
        let page = format!("http://who:secret@{}/dashboard#{place}", weir.api);
        let mut tab = browser.tab(&page).await;
        tab.until("document.documentElement.dataset.state == 'live'")
            .await;
        tab.until("document.activeElement.id == 'nodes'").await;
        // As far below the top as the bar is high, unless the page ends before.
        let is_there = "(() => {
            const { top } = document.getElementById('nodes').getBoundingClientRect();
            const { bottom } = document.querySelector('.bar').getBoundingClientRect();
            const rest = document.documentElement.scrollHeight - scrollY - innerHeight;
            return top >= bottom && (top < bottom + 30 || rest < 2);
        })()";
        tab.until(is_there).await;
    }
}

/// By the scope and its revision, and why a node refuses.
async fn names_what_is_offered_and_in_force(tab: &mut Tab, plane: &ControlPlane) {
    plane.tune(&[("balancer.drain_timeout", "7s")]).await;
    let says = |text: &str| {
        format!("document.getElementById('node.node-b').textContent.includes('{text}')")
    };
    tab.until(&says("fleet@1 in force")).await;
    let refused = [("ingress.h2_connection_window", "1MiB")];
    plane.tune_scope("node/node-b", &refused).await;
    tab.until(&says("fleet@1, node/node-b@1 is offered")).await;
    tab.until(&says("refused: ingress.h2_connection_window"))
        .await;
    tab.until(&says("fleet@1 in force")).await;
    plane
        .weir(&["profile", "unset", "--all", "--node", "node-b"])
        .await
        .done();
    tab.until("document.getElementById('verdict').textContent == 'All is well'")
        .await;
}

async fn picks_a_node_and_reads_a_plot_with_keys_only(tab: &mut Tab) {
    tab_to(tab, "#scope").await;
    press(tab, "ArrowDown", 40).await;
    press(tab, "ArrowDown", 40).await;
    tab.until("location.hash == '#node=node-b'").await;
    tab.until("document.querySelectorAll('#node-list tbody tr').length == 1")
        .await;
    tab.until("document.getElementById('node.node-b') != null")
        .await;
    tab_to(tab, "#plot-requests .frame").await;
    let read = "document.activeElement.getAttribute('aria-valuenow')";
    // The node's own samples, of which one is left of the newest.
    tab.until(&format!("Number({read}) > 0")).await;
    let newest = tab.run(read).await;
    press(tab, "ArrowLeft", 37).await;
    assert_ne!(tab.run(read).await, newest, "the plot is read with arrows");
    let told = "document.activeElement.getAttribute('aria-valuetext').includes('2xx ')";
    assert_eq!(tab.run(told).await, true);
    tab.run("location.hash = ''").await;
    tab.until("document.querySelectorAll('#node-list tbody tr').length == 3")
        .await;
}
