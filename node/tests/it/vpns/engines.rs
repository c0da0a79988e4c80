//! Engines behind a VPN: whatever happens to it, only what has to be replaced is replaced.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use weir_fakes::gluetun::FakeGluetun;
use weir_proto::node::v1::Engine;

use super::{FAST, gluetun, vpn};
use crate::common::{Weir, read_until};

/// A node with engines behind VPNs, and where it keeps them.
pub struct Mesh {
    pub weir: Weir,
    _data: TempDir,
}

/// A node with a service `tv` whose engines are behind these VPNs; these are its further keys.
pub async fn node(vpns: &[(&str, &FakeGluetun)], keys: &str) -> Mesh {
    node_with(vpns, "", keys).await
}

/// The same with keys of each VPN.
pub async fn node_with(vpns: &[(&str, &FakeGluetun)], vpn_keys: &str, keys: &str) -> Mesh {
    let data = tempfile::tempdir().unwrap();
    let sections: String = vpns
        .iter()
        .map(|(name, fake)| vpn(name, fake, &format!("ports = \"{}\"\n{vpn_keys}", ports())))
        .collect();
    let names: Vec<&str> = vpns.iter().map(|(name, _)| *name).collect();
    let config = format!(
        "[node]\ndata_dir = \"{}\"\n{}{sections}{FAST}",
        data.path().display(),
        service(&names, keys),
    );
    Mesh {
        weir: Weir::start(&config).await,
        _data: data,
    }
}

/// A service `tv` whose engines are this program, behind these VPNs.
pub fn service(vpns: &[&str], keys: &str) -> String {
    let vpns: Vec<String> = vpns.iter().map(|name| format!("\"{name}\"")).collect();
    format!(
        "[services.tv.engines]\nvpns = [{}]\n\
         command = [\"{}\", \"demo-backend\", \"--listen\", \"127.0.0.1:{{port}}\", \
         \"--name\", \"{{id}}:{{p2p_port}}\"]\nprobe.interval = \"200ms\"\n{keys}\n\
         [[routes]]\nservice = \"tv\"\n[provision]\ninterval_min = \"0ms\"\n",
        vpns.join(", "),
        env!("CARGO_BIN_EXE_weir"),
    )
}

/// Ports that no other test's engines have, above those that the kernel gives to clients.
pub fn ports() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id() * 3 + NEXT.fetch_add(1, Ordering::Relaxed);
    let first = 61_000 + number % 290 * 15;
    format!("{first}-{}", first + 14)
}

pub fn ready(engines: &[Engine]) -> usize {
    engines
        .iter()
        .filter(|engine| engine.state == "ready")
        .count()
}

/// Id and process of each.
pub fn pids(engines: &[Engine]) -> Vec<(String, u32)> {
    let pid = |engine: &Engine| (engine.id.clone(), engine.pid);
    engines.iter().map(pid).collect()
}

/// The one that has the VPN's port, if exactly one has.
pub fn forwarded<'a>(engines: &'a [Engine], vpn: &str) -> Option<&'a Engine> {
    let mut with = engines
        .iter()
        .filter(|engine| engine.forwarded && engine.vpn == vpn);
    with.next().filter(|_| with.next().is_none())
}

fn has_port(engines: &[Engine], port: u32) -> bool {
    forwarded(engines, "v1")
        .is_some_and(|engine| engine.p2p_port == port && engine.state == "ready")
}

/// The words that a process was started with.
fn words(pid: u32) -> String {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).replace('\0', " ")
}

#[tokio::test]
async fn a_change_of_port_replaces_the_engine_that_has_it_and_no_other() {
    let fake = gluetun(&[]);
    let mesh = node(
        &[("v1", &fake)],
        "min = 3\nmax = 3\nreplacement_cooldown = \"0s\"",
    )
    .await;
    let weir = &mesh.weir;
    let before = weir
        .runs("three engines, one with the port", |engines| {
            ready(engines) == 3 && has_port(engines, 5914)
        })
        .await;
    let leader = forwarded(&before, "v1").unwrap().clone();
    assert!(
        words(leader.pid).contains(&format!("{}:5914", leader.id)),
        "{}",
        words(leader.pid)
    );
    for engine in before.iter().filter(|engine| engine.id != leader.id) {
        assert!(engine.p2p_port >= 50_000, "{engine:#?}");
        assert!(words(engine.pid).contains(&engine.p2p_port.to_string()));
    }
    let others: Vec<_> = pids(&before)
        .into_iter()
        .filter(|(id, _)| *id != leader.id)
        .collect();

    // Another tunnel in the same container, without an unhealthy moment.
    fake.restart(Duration::ZERO, &[("ports", "6021")]).unwrap();
    let mut churn = Vec::new();
    let after = weir
        .runs("three engines, one with the new port", |engines| {
            let of_others = |id: &String| engines.iter().find(|engine| engine.id == *id);
            for (id, pid) in &others {
                let engine = of_others(id);
                if engine.is_none_or(|engine| engine.pid != *pid || engine.state != "ready") {
                    churn.push((id.clone(), engine.cloned()));
                }
            }
            ready(engines) == 3 && has_port(engines, 6021)
        })
        .await;
    assert!(churn.is_empty(), "{churn:#?}");
    let next = forwarded(&after, "v1").unwrap();
    assert_ne!(next.pid, leader.pid);
    assert!(words(next.pid).contains(":6021"));
    assert_eq!(words(leader.pid), "", "the one before is gone");

    // Without a port for a while, and then with the same one.
    fake.set("ports", "").unwrap();
    weir.knows("v1", "no port", |port| port.state == "not_ready")
        .await;
    weir.asks(&fake, 3).await;
    assert_eq!(pids(&weir.engines().await), pids(&after));
    fake.set("ports", "6021").unwrap();
    weir.knows("v1", "the port again", |port| port.port == 6021)
        .await;
    weir.asks(&fake, 3).await;
    assert_eq!(pids(&weir.engines().await), pids(&after));
}

#[tokio::test]
async fn a_port_that_flaps_is_an_alarm_and_replaces_nothing() {
    let fake = gluetun(&[]);
    let mesh = node(
        &[("v1", &fake)],
        "min = 2\nmax = 2\nreplacement_cooldown = \"0s\"",
    )
    .await;
    let weir = &mesh.weir;
    weir.runs("two engines, one with the port", |engines| {
        ready(engines) == 2 && has_port(engines, 5914)
    })
    .await;
    fake.set("flap_ports", "7001,7002,7003").unwrap();
    fake.set("flap_every_ms", "700").unwrap();
    let is_flapping = |port: &weir_proto::node::v1::VpnPort| {
        port.alarms
            .iter()
            .any(|alarm| alarm.contains("changes so often"))
    };
    weir.knows("v1", "flapping", is_flapping).await;
    // A change that was settled before may still be under way.
    let settled = weir.port("v1").await.picture.unwrap().settled_port;
    let before = weir
        .runs("two engines, one with the settled port", |engines| {
            ready(engines) == 2 && has_port(engines, settled)
        })
        .await;
    weir.asks(&fake, 6).await;
    assert_eq!(pids(&weir.engines().await), pids(&before));
    assert_eq!(weir.port("v1").await.picture.unwrap().settled_port, settled);
}

#[tokio::test]
async fn engines_of_a_lost_vpn_get_no_traffic_and_serve_again_when_it_is_stable() {
    let fake = gluetun(&[]);
    let mesh = node(&[("v1", &fake)], "min = 3\nmax = 6").await;
    let weir = &mesh.weir;
    let before = weir
        .runs("three engines", |engines| ready(engines) == 3)
        .await;
    assert!(weir.get("/").await.starts_with("HTTP/1.1 200"));
    for status in ["stopped", "crashed"] {
        fake.set("status", status).unwrap();
        let hidden = weir
            .runs("all are hidden", |engines| {
                engines.iter().all(|engine| engine.state == "hidden")
            })
            .await;
        assert_eq!(pids(&hidden), pids(&before));
        crate::operator::wait_until(weir, "nobody gets traffic", async || {
            weir.get("/").await.starts_with("HTTP/1.1 503")
        })
        .await;
        // Long enough that engines that are missing would be asked for; there may be more than these.
        weir.asks(&fake, 4).await;
        fake.set("status", "running").unwrap();
        let after = weir
            .runs("all serve again", |engines| ready(engines) == 3)
            .await;
        assert_eq!(pids(&after), pids(&before), "{}", weir.log());
        weir.asks(&fake, 3).await;
        assert_eq!(pids(&weir.engines().await), pids(&before), "{}", weir.log());
        let known = weir.ports().await.remove(0);
        assert!(
            ["stable", "healthy"].contains(&known.health.as_str()),
            "{known:#?}"
        );
        crate::operator::wait_until(weir, "they get traffic", async || {
            weir.get("/").await.starts_with("HTTP/1.1 200")
        })
        .await;
    }
}

#[tokio::test]
async fn a_port_that_comes_late_is_given_to_one_engine() {
    let fake = gluetun(&[("ports", "")]);
    let mesh = node(
        &[("v1", &fake)],
        "min = 2\nmax = 2\nreplacement_cooldown = \"0s\"",
    )
    .await;
    let weir = &mesh.weir;
    let before = weir
        .runs("two engines", |engines| ready(engines) == 2)
        .await;
    assert!(before.iter().all(|engine| !engine.forwarded), "{before:#?}");
    fake.set("ports", "5914").unwrap();
    let after = weir
        .runs("one has the port", |engines| {
            ready(engines) == 2 && has_port(engines, 5914)
        })
        .await;
    let stayed = pids(&before)
        .iter()
        .filter(|one| pids(&after).contains(one))
        .count();
    assert_eq!(stayed, 1, "{before:#?} {after:#?}");
}

#[tokio::test]
async fn an_engine_that_is_busy_when_its_port_changes_leaves_it_to_the_next_one() {
    let fake = gluetun(&[]);
    let keys = "min = 2\nmax = 4\nreplacement_cooldown = \"0s\"\n\
                [services.tv]\ndrain_timeout = \"4s\"";
    let mesh = node(&[("v1", &fake)], keys).await;
    let weir = &mesh.weir;
    let before = weir
        .runs("two engines, one with the port", |engines| {
            ready(engines) == 2 && has_port(engines, 5914)
        })
        .await;
    // Some of these are on the engine that has the port.
    let mut busy = Vec::new();
    for _ in 0..8 {
        let mut client = weir.connect().await;
        let head = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\npi";
        client.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut client, "\r\n\r\npi").await;
        busy.push(client);
    }
    fake.restart(Duration::ZERO, &[("ports", "6021")]).unwrap();
    let leader = forwarded(&before, "v1").unwrap();
    let other = before.iter().find(|engine| engine.id != leader.id).unwrap();
    let mut drained = false;
    let after = weir
        .runs("one has the new port", |engines| {
            drained |= engines.iter().any(|engine| engine.state == "draining");
            ready(engines) == 2 && engines.len() == 2 && has_port(engines, 6021)
        })
        .await;
    assert!(drained, "it was busy");
    assert!(
        pids(&after).contains(&(other.id.clone(), other.pid)),
        "{after:#?}"
    );
    assert!(!pids(&after).contains(&(leader.id.clone(), leader.pid)));
}
