//! Operators and jobs: what failed for good is seen, tried again, or cancelled.

use weir_proto::control::v1 as pb;
use weir_proto::control::v1::jobs_client::JobsClient;

use super::plane::ControlPlane;
use crate::docs::commands_of_the_readme;

/// The job that the README shows.
const JOB: &str = "019c8d2f0a3b5e6f708192a3b4c5";

/// Adds the job, and fails it for good as a node would.
async fn add_a_dead_job(plane: &ControlPlane) {
    let mut jobs = JobsClient::new(plane.channel());
    let queue = || "engines".to_owned();
    let spec = pb::JobSpec {
        service: "tv".to_owned(),
        slot: "tv-3".to_owned(),
        reason: "scale up".to_owned(),
        ..pb::JobSpec::default()
    };
    let job = pb::EnqueueJobRequest {
        queue: queue(),
        job_id: JOB.to_owned(),
        idempotency_key: "tv-3".to_owned(),
        spec: Some(spec),
        ..pb::EnqueueJobRequest::default()
    };
    jobs.enqueue(job).await.unwrap();
    let holder = pb::JobHolder {
        node_id: "node-a".to_owned(),
        boot_id: "1".to_owned(),
    };
    let want = pb::ClaimJobRequest {
        queue: queue(),
        holder: Some(holder),
        ..pb::ClaimJobRequest::default()
    };
    let claimed = jobs.claim(want).await.unwrap().into_inner().claim.unwrap();
    let failed = pb::FailJobRequest {
        ticket: claimed.ticket,
        error: "no port is free".to_owned(),
        retryable: false,
    };
    let failed = jobs.fail(failed).await.unwrap().into_inner();
    assert_eq!(failed.retry_at_unix_ms, 0);
}

#[tokio::test]
async fn a_dead_job_is_listed_and_tried_again() {
    let plane = ControlPlane::start().await;
    let none = plane.weir(&["jobs"]).await.done();
    assert_eq!(none.lines().count(), 1, "{none}");
    add_a_dead_job(&plane).await;
    let list = plane
        .weir(&["jobs", "list", "--state", "dead"])
        .await
        .done();
    assert!(list.starts_with("JOB "), "{list}");
    let row = list.lines().nth(1).unwrap();
    for shown in [JOB, "tv-3", "dead", "1/3", "no port is free"] {
        assert!(row.contains(shown), "{list}");
    }
    let requeue = ["jobs", "requeue", JOB, "-m", "ports freed", "-o", "json"];
    let job = plane.weir(&requeue).await.json();
    assert_eq!(
        (&job["state"], &job["attempt"]),
        (&"ready".into(), &0.into())
    );
    let again = plane.weir(&["jobs", "requeue", JOB]).await;
    let told = format!("weir: job `{JOB}` is ready\n");
    assert_eq!((again.code, again.err), (1, told));
    // What is ready survives the control plane.
    let mut plane = plane;
    plane.crash().await;
    plane.start_again().await;
    let list = plane.weir(&["jobs", "-o", "json"]).await.json();
    assert_eq!(
        (&list[0]["job"], &list[0]["state"]),
        (&JOB.into(), &"ready".into())
    );
    plane.weir(&["jobs", "cancel", JOB]).await.done();
    assert_eq!(plane.weir(&["jobs"]).await.done().lines().count(), 1);
    let unknown = plane.weir(&["jobs", "get", &"0".repeat(28)]).await;
    assert_eq!(unknown.code, 4, "{}", unknown.err);
    let wrong = plane.weir(&["jobs", "get", "tv-3"]).await;
    assert_eq!(wrong.code, 2, "{}", wrong.err);
    let audit = plane.weir(&["control-plane", "audit"]).await.done();
    assert!(
        audit.contains("job.requeue") && audit.contains("ports freed"),
        "{audit}"
    );
}

#[tokio::test]
async fn every_command_of_the_readme_about_jobs_works() {
    let plane = ControlPlane::start().await;
    add_a_dead_job(&plane).await;
    let commands = commands_of_the_readme(&["jobs"]);
    assert!(commands.len() >= 4, "{commands:?}");
    for command in commands {
        let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        plane.weir(&arguments).await.done();
    }
}
