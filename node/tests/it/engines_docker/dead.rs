//! Engines that never come up: whoever looks is told why, the job is kept as a dead letter, and it can be tried again.

use serde_json::Value;

use super::stage::{Stage, eventually};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;

struct Case {
    stage: Stage,
    /// What is wrong with it.
    bad: String,
    good: String,
    why: &'static str,
}

fn case(test: &str, spoil: impl Fn(&Stage, &str) -> String, why: &'static str) -> Case {
    let stage = Stage::new(test);
    let good = stage.unrouted("network = \"host\"\nmin = 0\nmax = 1");
    let good = good.replace("ready_timeout = \"10s\"", "ready_timeout = \"2s\"");
    Case {
        bad: spoil(&stage, &good),
        stage,
        good,
        why,
    }
}

fn cases() -> Vec<Case> {
    let command = |flag: &str| {
        let more = format!("min = 0\ncommand = [\"{flag}\"]");
        move |_: &Stage, text: &str| text.replace("min = 0", &more)
    };
    vec![
        case(
            "deada",
            |stage, text| text.replace(&stage.image, "weir-test/nothing:1"),
            "docker: image `weir-test/nothing:1` is not on this machine; pull it first",
        ),
        case(
            "deadb",
            command("--fake-exit-at-once=3"),
            "docker: it ended at once with code 3",
        ),
        case(
            "deadc",
            command("--fake-status-hangs=true"),
            "not ready after 2s",
        ),
    ]
}

/// Waits until the jobs of this state are as many, and no container is left or all of them serve.
async fn jobs(plane: &ControlPlane, node: &Node, state: &str, count: usize) -> Vec<Value> {
    eventually(node, &format!("{count} jobs are {state}"), async || {
        let list = ["jobs", "list", "--state", state, "-o", "json"];
        let jobs = plane.weir(&list).await.json();
        let jobs = jobs.as_array().unwrap().clone();
        (jobs.len() == count).then_some(jobs)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_never_comes_up_ends_as_a_dead_letter_with_its_reason_and_can_be_tried_again()
 {
    let (plane, cases) = (ControlPlane::start().await, cases());
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let stage = &cases[0].stage;
    let head = stage.provision(stage.docker.socket(), stage.ports)
        + "attempts_max = 2\nbreaker_failures = 1000\n";
    let text = |pick: fn(&Case) -> &str| -> String { cases.iter().map(pick).collect() };
    let bad = text(|case| &case.bad);
    let node = Node::start_as("node-a", &keys, &(head + &bad)).await;
    plane.sees_connected(&node.id).await;
    for case in &cases {
        let wish = ["engines", "provision", &case.stage.service];
        let (code, said) = node.command(&wish).await;
        assert_eq!(code, 0, "{said}");
    }
    let dead = jobs(&plane, &node, "dead", cases.len()).await;
    let (_, list) = node.command(&["engines", "list"]).await;
    let (_, told) = node.get_api("/api/events?kind=job.dead").await.unwrap();
    for case in &cases {
        let service = &case.stage.service;
        let job = dead
            .iter()
            .find(|job| job["service"] == service.as_str())
            .unwrap();
        let why = job["last_error"].as_str().unwrap();
        assert!(why.contains(case.why), "{job:#}");
        assert_eq!(job["attempt"], 2, "{job:#}");
        let line = format!("node-a: service `{service}`: {}", case.why);
        assert!(list.contains(&line), "{line}\n{list}");
        assert!(told.contains(case.why), "{told}");
        assert_eq!(case.stage.engines(), [], "{}", node.log());
    }

    node.mend(&bad, &text(|case| &case.good));
    for job in &dead {
        let requeue = [
            "jobs",
            "requeue",
            job["job"].as_str().unwrap(),
            "-m",
            "mended",
        ];
        plane.weir(&requeue).await.done();
    }
    let done = jobs(&plane, &node, "done", cases.len()).await;
    assert_eq!(done.len(), cases.len());
    for case in &cases {
        assert_eq!(case.stage.engines().len(), 1, "{}", node.log());
    }
    let (_, list) = node.command(&["engines", "list"]).await;
    assert!(!list.contains(": service `"), "{list}");
}
