//! The control plane goes away in the middle of a job, for a moment and for long.

use weir_proto::control::v1 as control;

use super::stage::{Stage, all_jobs, engines_of, eventually};
use super::tap::{At, Point, Tap};
use crate::common::Weir;
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;

const NEVER_READY: &str = "command = [\"--fake-status-hangs=true\"]";

/// Its engine has just been started when the control plane goes away.
async fn away_while_it_starts(test: &str, engine: &str) -> (Stage, ControlPlane, Tap, Node) {
    let mut plane = ControlPlane::start().await;
    let stage = Stage::new(test);
    let point = Point {
        call: "POST /containers/start",
        number: 1,
        at: At::Done,
    };
    let tap = Tap::new(plane.address, stage.docker.socket(), point).await;
    let keys = format!("endpoints = [\"{}\"]\n", tap.plane);
    let config = stage.provision(&tap.docker(), stage.ports)
        + &stage.service(&format!("network = \"host\"\nmin = 1\nmax = 3\n{engine}"));
    let config = config.replace("ready_timeout = \"10s\"", "ready_timeout = \"60s\"");
    let node = Node::start_as(&stage.service, &keys, &config).await;
    tap.reached().await;
    plane.crash().await;
    tap.open();
    (stage, plane, tap, node)
}

/// What an operator reads beside the list of engines.
async fn operator_reads(node: &Weir, what: &str) {
    eventually(node, what, async || {
        let (code, text) = node.command(&["engines", "list"]).await;
        (code == 0 && text.contains(what)).then_some(())
    })
    .await;
}

/// The job that was under way is done, and there never was another one.
async fn done_once(plane: &ControlPlane, node: &Node) -> control::Job {
    eventually(node, "the job is done", async || {
        let jobs = all_jobs(plane, &node.id).await;
        assert_eq!(jobs.len(), 1, "{jobs:#?}\n{}", node.log());
        jobs.into_iter()
            .find(|job| job.state() == control::JobState::Done)
    })
    .await
}

async fn events(node: &Weir, kind: &str) -> usize {
    let (_, text) = node
        .get_api(&format!("/api/events?kind={kind}"))
        .await
        .unwrap();
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    told["events"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_for_a_moment_costs_a_job_nothing() {
    let (stage, mut plane, _tap, node) = away_while_it_starts("blink", "").await;
    let started = eventually(&node, "it is ready without", async || {
        let engines = engines_of(&node).await?;
        engines.into_iter().find(|engine| engine.state == "ready")
    })
    .await;
    operator_reads(&node, "jobs cannot be reached").await;
    plane.start_again().await;
    let job = done_once(&plane, &node).await;
    assert_eq!(
        (&job.result, job.attempt),
        (&started.id, 1),
        "{}",
        node.log()
    );
    let after = stage.until_ready(&node, 1).await;
    assert_eq!(after[0].container_id, started.container_id);
    eventually(&node, "both are told", async || {
        let told = [
            events(&node, "store.away").await,
            events(&node, "store.back").await,
        ];
        told.iter().all(|told| *told >= 1).then_some(())
    })
    .await;
    let (_, text) = node.command(&["engines", "list"]).await;
    assert!(!text.contains("jobs cannot be reached"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_for_longer_than_a_claim_lives_costs_a_job_one_try() {
    let (stage, mut plane, _tap, node) = away_while_it_starts("long", NEVER_READY).await;
    eventually(&node, "its claim is believed to be lost", async || {
        let gone = node.log().contains("the claim was lost") && stage.engines().is_empty();
        gone.then_some(())
    })
    .await;
    node.mend(NEVER_READY, "");
    plane.start_again().await;
    let job = done_once(&plane, &node).await;
    let engines = stage.until_ready(&node, 1).await;
    assert_eq!(job.result, engines[0].id, "{}", node.log());
}
