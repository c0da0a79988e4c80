//! The dashboard before a node of which every name and every text is an attack.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{Browser, Tab};
use crate::common::{Weir, read_until, scripted_backend, web};

const ATTACK: &str = "<img src=x onerror=\"window.owned=1\"><script>window.owned=1</script>";

/// When it is there, in milliseconds since 1970 and as HTTP says it.
const NOW_UNIX_MS: u64 = 1_790_000_000_000;
const NOW: &str = "Mon, 21 Sep 2026 14:13:20 GMT";

/// The node, except that its overview is another one.
async fn with_overview(node: SocketAddr, overview: Value) -> SocketAddr {
    scripted_backend(move |mut browser| {
        let document = overview.to_string();
        async move {
            let head = read_until(&mut browser, "\r\n\r\n").await;
            let line = head.lines().next().unwrap_or_default();
            if line.starts_with("GET /api/overview?") {
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ndate: {NOW}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                     connection: close\r\n\r\n{document}",
                    document.len()
                );
                let _ = browser.write_all(answer.as_bytes()).await;
                return;
            }
            let mut node = TcpStream::connect(node).await.unwrap();
            let asked = format!("{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            node.write_all(asked.as_bytes()).await.unwrap();
            let _ = tokio::io::copy(&mut node, &mut browser).await;
        }
    })
    .await
}

/// Every text of it is the attack.
fn overview() -> Value {
    let now = NOW_UNIX_MS;
    let event = json!({
        "seq": 1, "at_unix_ms": now, "kind": ATTACK, "severity": "error", "node": ATTACK, "subject_kind": ATTACK,
        "subject": ATTACK, "attributes": { ATTACK: ATTACK }, "count": 2,
    });
    let profile = json!({
        "state": ATTACK, "offered": "a", "effective": ATTACK, "origin": ATTACK, "problems": [ATTACK],
        "pending_restart": [ATTACK], "unsupported": [ATTACK], "offered_layers": [ATTACK],
        "effective_layers": [ATTACK],
    });
    let alert = json!({ "name": ATTACK, "state": "pending", "of": ATTACK, "limit": 1 });
    let on_node = json!({
        "node": ATTACK, "weight": 1, "standing": "ejected", "reason": ATTACK, "in_flight": 0, "requests": 1,
        "failures": 0, "latency_us": 1,
    });
    let backend = json!({ "id": ATTACK, "address": ATTACK, "zone": ATTACK, "nodes": [on_node] });
    let engine = json!({
        "id": ATTACK, "service": ATTACK, "node": ATTACK, "state": ATTACK, "address": ATTACK, "driver": ATTACK,
        "vpn": ATTACK, "reason": ATTACK,
    });
    let series =
        json!({ "name": "own_answers", "labels": { "reason": ATTACK }, "values": [1, null, 3] });
    json!({
        "node": ATTACK, "at_unix_ms": now,
        "nodes": [{
            "node": ATTACK, "events": [event], "profile": profile, "problems": [ATTACK],
            "alerts": [alert],
            "status": { "state": ATTACK, "zone": ATTACK, "version": ATTACK, "uptime_s": 1 },
        }],
        "services": [{
            "name": ATTACK, "policy": ATTACK, "healthy": 0, "total": 1, "requests": 1, "success_rate": 1,
            "backends": [backend],
        }],
        "engines": [engine],
        "ports": [{
            "vpn": ATTACK, "state": ATTACK, "health": "unhealthy", "alarms": [ATTACK], "owner": ATTACK,
            "public_ip": ATTACK, "forwarded_engine": ATTACK, "age_ms": 1, "engines": 1,
        }],
        "history": { "interval_ms": 1000, "first_slot": now / 1000 - 3, "next_slot": now / 1000, "series": [series] },
        "unreachable_nodes": [{ "node": format!("gone {ATTACK}"), "why": ATTACK }],
        "unmerged_nodes": [{ "node": ATTACK, "why": ATTACK }],
    })
}

#[tokio::test]
async fn hostile_names_and_texts_are_shown_as_text_and_do_nothing() {
    let weir = Weir::start(&web(&["127.0.0.1:1".parse().unwrap()], "")).await;
    let site = with_overview(weir.api, overview()).await;
    let browser = Browser::start().await;
    let mut tab = browser.dashboard(site).await;
    for place in [
        "#troubles a",
        "#services h3",
        "#services tbody th b",
        "#nodes tbody th a",
        "#engines tbody th b",
        "#event-list b",
        "#plot-errors .legend span",
        "#scope option:last-child",
    ] {
        let shown = "document.querySelector('PLACE')?.textContent.includes('<img src=x')";
        tab.until(&shown.replace("PLACE", place)).await;
    }
    let made = "document.querySelectorAll('img, body script, [onerror]').length";
    assert_eq!(tab.run(made).await, 0);
    assert_eq!(tab.run("window.owned === undefined").await, true);
    is_not_styled_from_within(&mut tab).await;
}

/// What the policy is for: were there a way in, what comes through it would not run.
async fn is_not_styled_from_within(tab: &mut Tab) {
    let injected = "(() => {
        document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.owned=1\">');
        const script = document.createElement('script');
        script.textContent = 'window.owned=1';
        document.body.append(script);
    })()";
    assert!(tab.complaints.is_empty(), "{:?}", tab.complaints);
    tab.run(injected).await;
    tab.run("new Promise((done) => setTimeout(done, 100))")
        .await;
    assert_eq!(tab.run("window.owned === undefined").await, true);
    let refused = tab.complaints.join("\n");
    assert!(refused.contains("Content Security Policy"), "{refused}");
}

#[tokio::test]
async fn the_dashboard_lets_a_browser_run_and_load_only_what_is_its_own() {
    let weir = Weir::start(&web(&["127.0.0.1:1".parse().unwrap()], "")).await;
    for (path, content_type) in [
        ("/dashboard", "text/html"),
        ("/dashboard/app.js", "text/javascript"),
        ("/dashboard/app.css", "text/css"),
    ] {
        let mut stream = TcpStream::connect(weir.api).await.unwrap();
        let asked = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(asked.as_bytes()).await.unwrap();
        let head = read_until(&mut stream, "\r\n\r\n").await;
        for field in [
            &format!("content-type: {content_type}; charset=utf-8\r\n"),
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n",
            "x-content-type-options: nosniff\r\n",
            "referrer-policy: no-referrer\r\n",
            "cache-control: no-cache\r\n",
            "etag: \"",
        ] {
            assert!(head.contains(field), "{path}: {field} is not in {head}");
        }
    }
}
