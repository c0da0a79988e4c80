//! From the first start to the end of a service, through ends of the node of both kinds.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::stage::{Stage, engines_of, eventually, ids, stop_engine, until_jobs_are_done};
use crate::common::Weir;

/// What a killed node holds is free for others after this time.
const LEASE: Duration = Duration::from_secs(15);

/// The port that answered a request through the ingress.
pub async fn served_by(weir: &Weir) -> Option<u64> {
    let answer = weir.get("/admin/state").await;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let state: serde_json::Value = serde_json::from_str(body).ok()?;
    head.starts_with("HTTP/1.1 200").then_some(())?;
    state["http_port"].as_u64()
}

#[tokio::test]
async fn containers_serve_are_replaced_when_killed_and_removed_when_stopped() {
    let stage = Stage::new("life");
    let weir = Weir::start(&stage.two_engines()).await;
    let engines = stage.until_ready(&weir, 2).await;
    for engine in &engines {
        let container = stage.inspect(&engine.container_id);
        let labels = &container["Config"]["Labels"];
        assert_eq!(labels["weir.service"], stage.service);
        assert_eq!(labels["weir.node"], stage.service);
        assert_eq!(labels["weir.port"], engine.port.to_string());
        assert_eq!(container["Name"], format!("/weir-{}", engine.id));
        assert_eq!(container["Image"], engine.image_digest);
        assert_eq!((&engine.image, &*engine.driver), (&stage.image, "docker"));
    }
    let ports: BTreeSet<u64> = engines.iter().map(|engine| engine.port.into()).collect();
    let mut served = BTreeSet::new();
    eventually(&weir, "both get traffic", async || {
        served.extend(served_by(&weir).await);
        (served == ports).then_some(())
    })
    .await;

    stage.kill(&engines[0].container_id);
    let replaced = replaced(&stage, &weir, &engines[0].container_id).await;
    assert!(replaced.contains(&engines[1].container_id), "{replaced:?}");

    stop_engine(&weir, &engines[1].id).await;
    self::replaced(&stage, &weir, &engines[1].container_id).await;

    weir.edit(&stage.node(stage.docker.socket()));
    eventually(&weir, "no engine outlives its service", async || {
        let none = engines_of(&weir).await?.is_empty() && stage.engines().is_empty();
        none.then_some(())
    })
    .await;
}

/// Waits until another container has taken the place of this one.
async fn replaced(stage: &Stage, weir: &Weir, id: &str) -> Vec<String> {
    eventually(weir, "another container takes its place", async || {
        let engines = stage.until_ready(weir, 2).await;
        let ids = ids(&engines);
        (!ids.iter().any(|one| one == id)).then_some(ids)
    })
    .await
}

#[tokio::test]
async fn containers_outlive_their_node_and_the_next_one_takes_them_over() {
    let stage = Stage::new("over");
    let mut weir = Weir::start(&stage.two_engines()).await;
    let before = ids(&stage.until_ready(&weir, 2).await);
    // What a job has started and was not done with is rightly removed by the next life.
    until_jobs_are_done(&weir).await;
    let containers = stage.engines();

    for crash in [true, false] {
        match crash {
            true => weir.crash().await,
            false => weir.stop().await,
        }
        assert_eq!(stage.engines(), containers, "crash: {crash}");
        let begun = Instant::now();
        weir.start_again().await;
        let after = eventually(&weir, "both are taken over", async || {
            // Whatever is begun in between shows as a container that was not there.
            assert_eq!(stage.engines(), containers, "{}", weir.log());
            let engines = engines_of(&weir).await?;
            let ready = engines.iter().filter(|engine| engine.state == "ready");
            (ready.count() == 2).then(|| ids(&engines))
        })
        .await;
        assert_eq!(after, before, "crash: {crash}");
        assert!(begun.elapsed() < LEASE, "{:?}", begun.elapsed());
        eventually(&weir, "they serve", async || served_by(&weir).await).await;
    }
    stage.until_ready(&weir, 2).await;
}

#[tokio::test]
async fn engines_whose_service_left_while_the_node_was_away_are_removed() {
    let stage = Stage::new("left");
    let mut weir = Weir::start(&stage.two_engines()).await;
    stage.until_ready(&weir, 2).await;
    weir.crash().await;
    weir.edit(&stage.node(stage.docker.socket()));
    weir.start_again().await;
    eventually(&weir, "no container is left", async || {
        stage.engines().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn engines_that_were_starting_when_their_node_was_killed_are_not_started_twice() {
    let stage = Stage::new("half");
    let hanging = stage.two_engines().replace(
        "min = 2",
        "min = 2\ncommand = [\"--fake-status-hangs=true\"]",
    );
    let mut weir = Weir::start(&hanging.replace("\"10s\"", "\"60s\"")).await;
    eventually(&weir, "both run", async || {
        let here = stage.engines();
        (here.len() == 2 && here.iter().all(|engine| engine.runs)).then_some(())
    })
    .await;
    weir.crash().await;
    weir.edit(&stage.two_engines());
    weir.start_again().await;
    // The claims of the killed node end, and their jobs come to this one.
    eventually(&weir, "both are ready", async || {
        assert!(stage.engines().len() <= 2, "{}", weir.log());
        let engines = engines_of(&weir).await?;
        let ready = engines.iter().filter(|engine| engine.state == "ready");
        (ready.count() == 2).then_some(())
    })
    .await;
    stage.until_ready(&weir, 2).await;
}
