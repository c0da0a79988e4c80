//! Where new streams go among engines, whatever the policy.

use std::time::Duration;

use tokio::time::sleep;

use super::Stream;
use crate::common::Weir;
use crate::engines_face::{engines, ready};
use crate::vpns::engines::{node, ready as count_ready};
use crate::vpns::gluetun;

const POLICIES: [&str; 4] = ["random", "peak_ewma", "least_connections", "round_robin"];

/// With the policy of a service at the end of the file.
fn with_policy(config: &str, service: &str, policy: &str) -> String {
    format!("{config}\n[services.{service}.balance]\npolicy = \"{policy}\"\n")
}

async fn takes_policy(weir: &Weir, policy: &str) {
    let named = format!("\"policy\":\"{policy}\"");
    weir.until("the policy is in force", async || {
        let (_, text) = weir.get_api("/api/services").await.unwrap();
        text.replace(' ', "").contains(&named)
    })
    .await;
}

#[tokio::test]
async fn streams_are_spread_evenly_over_vpns() {
    let (one, two) = (gluetun(&[]), gluetun(&[("ports", "7914")]));
    let mesh = node(&[("v1", &one), ("v2", &two)], "min = 4\nmax = 4").await;
    let weir = &mesh.weir;
    let engines = weir
        .runs("two behind each", |engines| count_ready(engines) == 4)
        .await;
    let config = std::fs::read_to_string(weir.config_path()).unwrap();
    let config = &config[config.find("[node]").unwrap()..];
    let mut streams: Vec<Stream> = Vec::new();
    for policy in POLICIES {
        weir.edit(&with_policy(config, "tv", policy));
        takes_policy(weir, policy).await;
        for _ in 0..if policy == "random" { 100 } else { 30 } {
            streams.push(weir.stream().await);
        }
        let mut in_flight = weir.in_flight("tv").await;
        weir.until("all run", async || {
            in_flight = weir.in_flight("tv").await;
            in_flight.values().sum::<u64>() == streams.len() as u64
        })
        .await;
        let behind = |vpn: &str| -> u64 {
            let there = engines.iter().filter(|engine| engine.vpn == vpn);
            there.map(|engine| in_flight[&engine.id]).sum()
        };
        let [one, two] = ["v1", "v2"].map(behind);
        assert!(
            one.abs_diff(two) <= 6,
            "{policy}: {one} and {two}, {in_flight:?}"
        );
    }
}

#[tokio::test]
async fn a_new_engine_gets_no_burst() {
    let config = |policy: &str, engines_min: usize, base: &str| {
        let base = base.replace("min = 2", &format!("min = {engines_min}\nsettle = \"2s\""));
        with_policy(&base, "web", policy)
    };
    let base = engines(2, 4);
    let weir = Weir::start(&config("least_connections", 2, &base)).await;
    ready(&weir, 2).await;
    let mut streams: Vec<Stream> = Vec::new();
    for _ in 0..10 {
        streams.push(weir.running_stream("web").await);
    }
    for (policy, count) in [("least_connections", 3), ("peak_ewma", 4)] {
        weir.edit(&config(policy, count, &base));
        takes_policy(&weir, policy).await;
        ready(&weir, count).await;
        weir.until("it gets work", async || {
            weir.in_flight("web").await.len() == count
        })
        .await;
        // The others have settled.
        sleep(Duration::from_millis(2_100)).await;
        let new = weir.in_flight("web").await;
        let (new, _) = new.iter().find(|(_, streams)| **streams == 0).unwrap();
        for _ in 0..count + 2 {
            streams.push(weir.running_stream("web").await);
        }
        let in_flight = weir.in_flight("web").await;
        let got = in_flight[new];
        assert!((1..=2).contains(&got), "{policy}: {new} of {in_flight:?}");
    }
}
