//! A Docker that is killed, started again and held up below a node whose engines run.

use std::sync::Arc;

use weir_fakes::containers::Docker;
use weir_fakes::get;
use weir_proto::node::v1 as pb;

use super::life::served_by;
use super::stage::{Stage, engines_of, eventually, until_jobs_are_done};
use crate::common::Weir;

/// What `weir engines list` prints, beside the list as well.
async fn list(weir: &Weir) -> String {
    let (code, text) = weir.command(&["engines", "list"]).await;
    assert_eq!(code, 0, "{text}");
    text
}

/// Waits until an operator reads why nothing is known of what runs. Every request until then is answered.
async fn told_while_it_serves(weir: &Weir, what: &str) {
    let what = format!("{}: docker: {what}", node_name(weir).await);
    eventually(weir, &what, async || {
        assert!(served_by(weir).await.is_some(), "{}", weir.log());
        list(weir).await.contains(&what).then_some(())
    })
    .await;
}

async fn node_name(weir: &Weir) -> String {
    let (_, text) = weir.get_api("/api/status").await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    status["node"].as_str().unwrap().to_owned()
}

/// Waits until it is known again, with both engines in traffic and nothing beside them.
async fn recovered(stage: &Stage, weir: &Weir) -> Vec<pb::Engine> {
    eventually(weir, "what runs is known again", async || {
        (!list(weir).await.contains("docker: ")).then_some(())
    })
    .await;
    let engines = stage.until_ready(weir, 2).await;
    until_jobs_are_done(weir).await;
    engines
}

/// How often a driver was told to be away, and to be back.
async fn told(weir: &Weir) -> [usize; 2] {
    let (_, text) = weir.get_api("/api/events?kind=driver.*").await.unwrap();
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    let events = told["events"].as_array().unwrap();
    ["driver.away", "driver.back"]
        .map(|kind| events.iter().filter(|one| one["kind"] == kind).count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_serve_on_below_a_docker_that_is_away_and_what_ended_meanwhile_is_replaced_once() {
    let stage = Stage::on(Arc::new(Docker::own().unwrap()), "away");
    let weir = Weir::start(&stage.two_engines()).await;
    let before = stage.until_ready(&weir, 2).await;
    until_jobs_are_done(&weir).await;

    stage.docker.crash().unwrap();
    // One ends where nobody hears of it.
    let (ended, lives) = (&before[0], &before[1]);
    let _ = get(&format!("{}/admin/exit?code=3", ended.address));
    eventually(
        &weir,
        "it is out of traffic, and it is told why",
        async || {
            let engines = engines_of(&weir).await?;
            let seen = engines.iter().find(|engine| engine.id == ended.id)?;
            (seen.state != "ready" && !seen.reason.is_empty()).then_some(())
        },
    )
    .await;
    told_while_it_serves(&weir, "").await;
    stage.docker.come_back().unwrap();
    let after = recovered(&stage, &weir).await;
    assert!(
        after
            .iter()
            .any(|one| one.container_id == lives.container_id),
        "{after:#?}"
    );
    assert!(
        after
            .iter()
            .all(|one| one.container_id != ended.container_id),
        "{after:#?}"
    );
    assert_eq!(told(&weir).await, [1, 1], "{}", weir.log());

    stage.docker.pause().unwrap();
    told_while_it_serves(&weir, "listing containers took longer than").await;
    stage.docker.go_on().unwrap();
    let last = recovered(&stage, &weir).await;
    assert_eq!(super::stage::ids(&last), super::stage::ids(&after));
    assert_eq!(told(&weir).await, [2, 2], "{}", weir.log());
}
