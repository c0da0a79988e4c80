//! The system's clock is set, forward and back, while engines run and between two lives of a node.

use std::path::{Path, PathBuf};

use tokio::time::Instant;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::port_cache_client::PortCacheClient;

use super::{engines, ready};
use crate::common::Weir;
use crate::grpc::channel;
use crate::vpns::{self, FAST, gluetun, vpn};

/// The system's clock as a node reads it.
pub struct SystemClock {
    offset: PathBuf,
}

impl SystemClock {
    pub fn new(folder: &Path) -> Self {
        let clock = Self {
            offset: folder.join("offset"),
        };
        clock.set("+0");
        clock
    }

    /// Sets it so far from the right time, such as `-1d`.
    pub fn set(&self, offset: &str) {
        // Whole or not at all: a node may read it at any time.
        let next = self.offset.with_extension("next");
        std::fs::write(&next, offset).unwrap();
        std::fs::rename(next, &self.offset).unwrap();
    }

    /// For a process to read this one. Timers go on as they are: no step moves the monotonic clock.
    pub fn environment(&self) -> Vec<(&str, &str)> {
        vec![
            ("LD_PRELOAD", library()),
            ("FAKETIME_TIMESTAMP_FILE", self.offset.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }
}

fn library() -> &'static str {
    let folder = format!("/usr/lib/{}-linux-gnu/faketime", std::env::consts::ARCH);
    let path = format!("{folder}/libfaketimeMT.so.1");
    assert!(
        Path::new(&path).exists(),
        "{path}: apt-get install libfaketime"
    );
    path.leak()
}

/// Engines by id, with the process that each is.
fn processes(engines: &[pb::Engine]) -> Vec<(String, u32)> {
    let mut all: Vec<_> = engines
        .iter()
        .map(|one| (one.id.clone(), one.pid))
        .collect();
    all.sort();
    all
}

/// The year of the newest line of the log.
fn year(weir: &Weir) -> u32 {
    let log = weir.log();
    let line = log.lines().last().expect("it logs");
    let year = line.split('-').next().unwrap();
    year.parse().unwrap_or_else(|_| panic!("{line}"))
}

#[tokio::test]
async fn a_clock_that_is_set_forward_or_back_neither_loses_nor_doubles_an_engine() {
    let folder = tempfile::tempdir().unwrap();
    let clock = SystemClock::new(folder.path());
    let config = engines(1, 4);
    let mut weir = Weir::start_in("", &config, &clock.environment()).await;
    let mut before = processes(&ready(&weir, 1).await);
    let this_year = year(&weir);

    for (offset, min) in [("+400d", 2), ("-800d", 3)] {
        clock.set(offset);
        weir.edit(&config.replace("min = 1", &format!("min = {min}")));
        let after = processes(&ready(&weir, min).await);
        assert!(
            before.iter().all(|one| after.contains(one)),
            "{offset}: {after:?}, {}",
            weir.log()
        );
        before = after;
    }
    assert!(
        year(&weir) < this_year,
        "the clock was not set: {}",
        weir.log()
    );

    for offset in ["+400d", "-800d"] {
        // Processes end with their node; their slots and jobs are in the store.
        weir.crash().await;
        clock.set(offset);
        weir.start_again().await;
        let after = processes(&ready(&weir, 3).await);
        let ids = |all: &[(String, u32)]| all.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&after), ids(&before), "{offset}: {}", weir.log());
        before = after;
    }
    weir.edit(&config.replace("min = 1", "min = 4"));
    let after = processes(&ready(&weir, 4).await);
    assert!(
        before.iter().all(|one| after.contains(one)),
        "{after:?}, {}",
        weir.log()
    );
}

/// Of this node's VPN.
async fn port(weir: &Weir) -> pb::VpnPort {
    let mut client = PortCacheClient::new(channel(weir.grpc).await);
    let listed = client.list_ports(pb::ListPortsRequest {}).await.unwrap();
    listed.into_inner().ports.remove(0)
}

/// What a clock that is set must not move: epoch, health, the port, whether it is believed, and what replaces engines.
fn level(port: &pb::VpnPort) -> (u64, &str, &str, u32, bool, u64) {
    let tunnels = port.picture.as_ref().map_or(0, |picture| picture.tunnels);
    (
        port.epoch,
        &port.state,
        &port.health,
        port.port,
        port.stale,
        tunnels,
    )
}

const PORT_ROUTE: &str = "GET /v1/portforward";
const STEPS: [&str; 4] = ["+400d", "-800d", "+1h", "+0"];

#[tokio::test]
async fn a_clock_that_is_set_moves_neither_port_nor_epoch_nor_health_of_a_vpn_and_replaces_no_engine()
 {
    let folder = tempfile::tempdir().unwrap();
    let clock = SystemClock::new(folder.path());
    let fake = gluetun(&[]);
    let keys = format!("ports = \"{}\"", vpns::engines::ports());
    let service =
        vpns::engines::service(&["v1"], "min = 2\nmax = 4\nreplacement_cooldown = \"0s\"");
    // A time to live of two seconds less half a one, and then of an hour.
    let config = service + &vpn("v1", &fake, &keys) + FAST;
    let weir = Weir::start_in("", &config, &clock.environment()).await;
    let all_there = |engines: &[pb::Engine]| {
        vpns::engines::ready(engines) == 2 && vpns::engines::forwarded(engines, "v1").is_some()
    };
    let before = processes(&weir.runs("two, one with the port", all_there).await);
    let is_up = |port: &pb::VpnPort| port.state == "ready" && port.health == "healthy";
    let known = weir.knows("v1", "up", is_up).await;

    let (calls, since) = (fake.calls(PORT_ROUTE), Instant::now());
    for offset in STEPS {
        clock.set(offset);
        weir.asks_health(&fake, 4).await;
        let now = port(&weir).await;
        assert_eq!(
            level(&now),
            level(&known),
            "{offset}: {now:#?}\n{}",
            weir.log()
        );
        assert!(now.age_ms < 2_000, "{offset}: {now:#?}");
    }
    let (took, asked) = (since.elapsed(), fake.calls(PORT_ROUTE) - calls);
    // One that was about to be made, and one in the time to live less the lead.
    let most = 1 + took.as_millis().div_ceil(1_500);
    assert!(
        (1..=most).contains(&u128::from(asked)),
        "{asked} calls in {took:?}"
    );

    weir.edit(&config.replace("ttl = \"2s\"", "ttl = \"1h\"\nwatch_interval = \"1h\""));
    // By the old time to live it would be asked for by then.
    let mut quiet = 0;
    while quiet < 2 {
        let calls = fake.calls(PORT_ROUTE);
        weir.asks_health(&fake, 8).await;
        quiet = if fake.calls(PORT_ROUTE) == calls {
            quiet + 1
        } else {
            0
        };
    }
    let calls = fake.calls(PORT_ROUTE);
    for offset in STEPS {
        clock.set(offset);
        weir.asks_health(&fake, 3).await;
        let now = port(&weir).await;
        assert_eq!(
            level(&now),
            level(&known),
            "{offset}: {now:#?}\n{}",
            weir.log()
        );
    }
    assert_eq!(fake.calls(PORT_ROUTE), calls, "an hour did not pass");
    let after = processes(&weir.runs("two, one with the port", all_there).await);
    assert_eq!(after, before, "{}", weir.log());
}
