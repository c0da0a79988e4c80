//! Engines in the network of a container that plays a VPN.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use weir_fakes::get;
use weir_proto::node::v1 as pb;

use super::stage::{EVENTUALLY, Stage, eventually, ids};
use super::vpn_tells::{TOKEN, told_by_its_command};
use crate::common::Weir;

/// Where the forwarded port is asked for.
const CONTROL: u16 = 8000;
/// Where the fake is told what to do.
const ADMIN: u16 = 8001;

/// A network with a VPN's container at an address that stays.
pub(super) struct Vpn {
    pub(super) stage: Stage,
    name: String,
    image: String,
    network: String,
    pub(super) address: String,
}

impl Vpn {
    /// With these ports that it forwards from the start.
    pub(super) fn new(test: &str, ports: &str) -> Self {
        let stage = Stage::new(test);
        let image = stage.docker.image_of("fake-gluetun").unwrap();
        let part = std::process::id() % 250;
        let config = json!([{ "Subnet": format!("10.219.{part}.0/24") }]);
        let network = format!("weir-net-{}", stage.service);
        let body = json!({ "Name": network, "IPAM": { "Config": config } });
        stage.ask("POST", "/networks/create", &body);
        let vpn = Self {
            name: format!("weir-vpn-{}", stage.service),
            address: format!("10.219.{part}.9"),
            stage,
            image,
            network,
        };
        vpn.run(ports);
        vpn
    }

    /// Makes its container; gives the container's id.
    fn run(&self, ports: &str) -> String {
        let endpoint = json!({ "IPAMConfig": { "IPv4Address": self.address } });
        let more = json!({
            "Image": self.image,
            "Cmd": ["auth=none", format!("ports={ports}")],
            "HostConfig": { "NetworkMode": self.network, "Init": true },
            "NetworkingConfig": { "EndpointsConfig": { self.network.as_str(): endpoint } },
        });
        self.stage.run(&self.name, more)
    }

    /// A node with three engines behind it; these further keys are the VPN's.
    pub(super) fn config(&self, vpn: &str) -> String {
        format!(
            "{}[port_cache]\nhealth_interval = \"200ms\"\nttl = \"2s\"\nrefresh_lead = \"1s\"\n\
             [vpns.v1]\ncontainer = \"{}\"\ncontrol_url = \"http://{}:{CONTROL}\"\n{vpn}\n{}",
            self.stage.node(self.stage.docker.socket()),
            self.name,
            self.address,
            self.stage.service(
                "command = [\"--bind-all\"]\nextra_ports = [\"https\", \"api\"]\nvpns = [\"v1\"]\n\
                     min = 3\nmax = 8"
            ),
        )
    }

    /// Tells the fake something.
    pub(super) async fn tell(&self, order: &str) {
        let target = format!("{}:{ADMIN}/admin/{order}", self.address);
        let deadline = Instant::now() + EVENTUALLY;
        while !put(&target).is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            assert!(Instant::now() < deadline, "{target}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// How often the fake was asked at this route.
    pub(super) fn calls(&self, route: &str) -> u64 {
        let answer = get(&format!("{}:{ADMIN}/admin/calls", self.address)).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let calls: Value = serde_json::from_str(body).unwrap();
        calls[route].as_u64().unwrap_or_default()
    }

    /// Waits until three engines serve in the network of the VPN's container as it is now, one with this port.
    pub(super) async fn until_served(&self, weir: &Weir, port: u16) -> Vec<pb::Engine> {
        let what = format!("three engines, one of which has port {port}");
        eventually(weir, &what, async || {
            let engines = self.stage.until_ready(weir, 3).await;
            let listened = engines.iter().flat_map(|engine| {
                let further = engine.extra_ports.values().copied();
                further.chain([engine.p2p_port, engine.port])
            });
            let ports: BTreeSet<u32> = listened.collect();
            let forwarded: Vec<_> = engines.iter().filter(|engine| engine.forwarded).collect();
            let has_it = forwarded.len() == 1 && forwarded[0].p2p_port == u32::from(port);
            // For clients, peers, HTTPS and API; all in one network.
            (has_it && ports.len() == 3 * 4).then_some(())?;
            for engine in &engines {
                self.check(engine)?;
            }
            Some(engines)
        })
        .await
    }

    /// Whether the engine is in the VPN's network and has been told what the node says that it was.
    fn check(&self, engine: &pb::Engine) -> Option<()> {
        assert_eq!(engine.address, format!("{}:{}", self.address, engine.port));
        let vpn = self.stage.inspect(&self.name)["Id"].as_str()?.to_owned();
        let container = self.stage.inspect(&engine.container_id);
        let mode = &container["HostConfig"]["NetworkMode"];
        (*mode == format!("container:{vpn}").as_str()).then_some(())?;
        let state = get(&format!("{}/admin/state", engine.address)).ok()?;
        let (_, body) = state.split_once("\r\n\r\n")?;
        let state: Value = serde_json::from_str(body).ok()?;
        assert_eq!(state["p2p_port"], engine.p2p_port);
        let told = |name: &str| state["environment"][name].as_str()?.parse::<u32>().ok();
        assert_eq!(told("P2P_PORT"), Some(engine.p2p_port));
        for (name, port) in &engine.extra_ports {
            assert_eq!(told(&format!("{}_PORT", name.to_uppercase())), Some(*port));
            let listens = std::net::TcpStream::connect(format!("{}:{port}", self.address));
            assert!(listens.is_ok(), "{name}: {engine:?}");
        }
        Some(())
    }
}

/// The further ports of each engine, as this command prints them.
async fn further_ports(weir: &Weir, engines: &[pb::Engine]) {
    let (code, text) = weir.command(&["engines", "list"]).await;
    let (json_code, json) = weir.command(&["engines", "list", "-o", "json"]).await;
    assert_eq!((code, json_code), (0, 0), "{text}{json}");
    let listed: Vec<Value> = serde_json::from_str(&json).unwrap();
    for engine in engines {
        let [api, https] = ["api", "https"].map(|name| engine.extra_ports[name]);
        assert!(
            text.contains(&format!("  api={api}, https={https}  ")),
            "{text}"
        );
        let one = listed.iter().find(|one| one["id"] == *engine.id).unwrap();
        assert_eq!(one["extra_ports"], json!({ "api": api, "https": https }));
    }
}

impl Drop for Vpn {
    fn drop(&mut self) {
        self.stage.clear();
        let network = format!("/networks/{}", self.network);
        let _ = self.stage.docker.ask("DELETE", &network, &[]);
    }
}

/// The answer to a PUT of `HOST:PORT/PATH`; `None` when nobody answers.
fn put(target: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let (host, path) = target.split_once('/')?;
    let mut stream = std::net::TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(EVENTUALLY)).ok()?;
    let request = format!(
        "PUT /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

pub(super) fn forwarded(engines: &[pb::Engine]) -> String {
    let one = engines.iter().find(|engine| engine.forwarded).unwrap();
    one.container_id.clone()
}

#[tokio::test]
async fn a_new_port_replaces_one_engine_and_a_new_network_all_of_them() {
    let vpn = Vpn::new("vpn", "5001");
    let mut weir = Weir::start(&vpn.config("")).await;
    let first = vpn.until_served(&weir, 5001).await;
    further_ports(&weir, &first).await;

    // The tunnel made anew in place: only the engine that listens on its port is another one.
    vpn.tell("restart?down_ms=0&ports=5002&public_ip=198.51.100.8")
        .await;
    let second = vpn.until_served(&weir, 5002).await;
    let kept = |before: &[pb::Engine], after: &[pb::Engine]| {
        let before: BTreeSet<String> = ids(before).into_iter().collect();
        let after: BTreeSet<String> = ids(after).into_iter().collect();
        before.intersection(&after).cloned().collect::<Vec<_>>()
    };
    let followers: Vec<String> = ids(&first)
        .into_iter()
        .filter(|id| *id != forwarded(&first))
        .collect();
    assert_eq!(kept(&first, &second), followers, "{}", weir.log());

    // The same container started again: its network is another one, and all engines in the old one are lost.
    let restart = format!("/containers/{}/restart?t=1", vpn.name);
    vpn.stage.ask("POST", &restart, &Value::Null);
    let third = eventually(&weir, "all engines are other ones", async || {
        let third = vpn.until_served(&weir, 5001).await;
        kept(&second, &third).is_empty().then_some(third)
    })
    .await;

    // Another container of its name.
    vpn.stage.remove(&vpn.name);
    vpn.run("5003");
    let fourth = vpn.until_served(&weir, 5003).await;
    assert_eq!(kept(&third, &fourth), [""; 0]);

    // Another container while no node saw it.
    weir.stop().await;
    vpn.stage.remove(&vpn.name);
    vpn.run("5004");
    let weir = Weir::start(&vpn.config("")).await;
    let fifth = vpn.until_served(&weir, 5004).await;
    assert_eq!(kept(&fourth, &fifth), [""; 0], "{}", weir.log());
}

#[tokio::test]
async fn a_late_port_gets_an_engine_and_a_vpn_that_stays_down_is_restarted_once() {
    let vpn = Vpn::new("down", "");
    let config = vpn.config("restart_after = \"1s\"");
    let weir = Weir::start_in("", &config, &[("API_KEY", TOKEN)]).await;
    // A port that comes after the engines gets one of them.
    let without = vpn.stage.until_ready(&weir, 3).await;
    assert!(
        without.iter().all(|engine| !engine.forwarded),
        "{without:?}"
    );
    vpn.tell("set?ports=5001").await;
    vpn.until_served(&weir, 5001).await;
    let started = || vpn.stage.inspect(&vpn.name)["State"]["StartedAt"].clone();
    let before = started();

    vpn.tell("set?status=crashed").await;
    eventually(&weir, "its container is restarted", async || {
        (started() != before).then_some(())
    })
    .await;
    let restarted = started();
    // It comes up well, and again the port comes later.
    vpn.tell("set?ports=5002").await;
    vpn.until_served(&weir, 5002).await;
    assert_eq!(started(), restarted, "{}", weir.log());
    assert_eq!(
        weir.log().matches("restarting the VPN's container").count(),
        1
    );
    told_by_its_command(&vpn, &weir).await;
}
