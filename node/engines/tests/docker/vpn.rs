//! The container whose network engines join.

use std::time::Duration;

use serde_json::json;
use weir_engines::containers::{Containers, Health};
use weir_engines::driver::{Driver, EngineSpec, Error, Network, State};

use crate::stage::{Stage, eventually};

#[tokio::test]
async fn an_engine_whose_vpn_was_made_anew_is_told_by_ids() {
    let stage = Stage::new("recreated");
    let vpn = stage.name("vpn");
    stage.foreign("vpn", &json!({}));
    let spec = EngineSpec {
        network: Network::Container(vpn.clone()),
        ..stage.spec("a", 1)
    };
    stage.driver.start(spec).await.unwrap();
    let now = stage.driver.look(&vpn).await.unwrap().unwrap();
    assert_eq!(
        stage.only().await.network_container_id,
        Some(now.id.clone())
    );

    stage.remove(&vpn);
    assert_eq!(stage.driver.look(&vpn).await.unwrap(), None);
    stage.foreign("vpn", &json!({}));
    let anew = stage.driver.look(&vpn).await.unwrap().unwrap();
    let engine = stage.only().await;
    assert_eq!(
        (engine.state, engine.network_container_id.as_ref()),
        (State::Running, Some(&now.id))
    );
    assert_ne!(anew.id, now.id);
}

#[tokio::test]
async fn a_restart_keeps_the_id_and_moves_the_start() {
    let stage = Stage::new("restart");
    let vpn = stage.name("vpn");
    stage.foreign("vpn", &json!({}));
    let before = stage.driver.look(&vpn).await.unwrap().unwrap();
    stage
        .driver
        .restart(&vpn, Duration::from_secs(5))
        .await
        .unwrap();
    let after = stage.driver.look(&vpn).await.unwrap().unwrap();
    assert_eq!((&after.id, after.running), (&before.id, true));
    assert!(after.started_unix_ms > before.started_unix_ms);

    stage.ask(
        "POST",
        &format!("/containers/{vpn}/kill"),
        &serde_json::Value::Null,
    );
    let killed = eventually("it has ended", async || {
        stage
            .driver
            .look(&vpn)
            .await
            .unwrap()
            .filter(|container| !container.running)
    });
    assert_eq!(killed.await.started_unix_ms, after.started_unix_ms);
    let nobody = stage
        .driver
        .restart(&stage.name("nobody"), Duration::ZERO)
        .await;
    assert!(
        matches!(
            nobody,
            Err(Error::Missing {
                what: "container",
                ..
            })
        ),
        "{nobody:?}"
    );
}

#[tokio::test]
async fn health_is_what_the_containers_own_check_says() {
    let stage = Stage::new("health");
    let check = |code: u8, interval_ms: u64| {
        json!({ "Healthcheck": {
            "Test": ["CMD", "/fake-engine", format!("--fake-exit-at-once={code}")],
            "Interval": interval_ms * 1_000_000, "Timeout": 10_000_000_000_u64, "Retries": 1,
        }})
    };
    stage.foreign("unchecked", &json!({}));
    stage.foreign("early", &check(0, 3_600_000));
    stage.foreign("good", &check(0, 100));
    stage.foreign("bad", &check(1, 100));
    let expected = [
        ("unchecked", Health::None),
        ("early", Health::Starting),
        ("good", Health::Healthy),
        ("bad", Health::Unhealthy),
    ];
    for (of, health) in expected {
        eventually(of, async || {
            let found = stage.driver.look(&stage.name(of)).await.unwrap().unwrap();
            (found.health == health).then_some(())
        })
        .await;
    }
}
