//! Who may do what with jobs, and what the audit keeps.

use std::sync::Arc;

use tonic::Code;
use weir_control_plane::governance::audit::{ENTRIES_MAX, list};
use weir_control_plane::governance::identity::{Identity, Role};
use weir_control_plane::jobs::DEFAULT_QUEUE;
use weir_control_plane::keys::{DEFAULT_NAMESPACE, Keys};
use weir_proto::control::v1::jobs_client::JobsClient;
use weir_proto::control::v1::*;

use crate::support::{Home, NOW, holder, memory, new, serve};

fn identity(role: Role, subject: &str) -> Identity {
    Identity {
        name: Arc::from("ana"),
        role,
        subject: Arc::from(subject),
        ..Identity::local()
    }
}

fn enqueue(key: &str, node_id: &str) -> EnqueueJobRequest {
    EnqueueJobRequest {
        queue: DEFAULT_QUEUE.to_owned(),
        idempotency_key: key.to_owned(),
        spec: Some(new(key).spec),
        node_id: node_id.to_owned(),
        message: "by hand".to_owned(),
        ..EnqueueJobRequest::default()
    }
}

fn claim(node: &str) -> ClaimJobRequest {
    ClaimJobRequest {
        queue: DEFAULT_QUEUE.to_owned(),
        holder: Some(holder(node)),
        ..ClaimJobRequest::default()
    }
}

/// What the store's audit holds: who did what.
async fn audited(home: &Home) -> Vec<(String, String)> {
    let keys = Keys::new(DEFAULT_NAMESPACE).unwrap();
    let records = list(&*home.store, &keys, ENTRIES_MAX, NOW).await.unwrap();
    let told = records
        .into_iter()
        .map(|record| (record.author, record.action));
    told.collect()
}

#[tokio::test]
async fn a_node_works_as_itself_only_and_a_viewer_looks_only() {
    let home = Home::on(memory());
    let client = async |role, subject| {
        let jobs = home.local(&home.store, |_| {});
        JobsClient::new(serve(jobs, identity(role, subject)).await)
    };
    let mut node = client(Role::Node, "node-a").await;
    let mut viewer = client(Role::Viewer, "").await;
    let mut operator = client(Role::Operator, "").await;
    node.enqueue(enqueue("tv-1", "node-a")).await.unwrap();
    let denied = |outcome: Result<(), tonic::Status>| {
        assert_eq!(outcome.unwrap_err().code(), Code::PermissionDenied);
    };
    denied(node.enqueue(enqueue("tv-2", "node-b")).await.map(drop));
    denied(node.enqueue(enqueue("tv-2", "")).await.map(drop));
    denied(node.claim(claim("node-b")).await.map(drop));
    denied(viewer.claim(claim("node-a")).await.map(drop));
    denied(operator.claim(claim("node-a")).await.map(drop));
    let claimed = node.claim(claim("node-a")).await.unwrap().into_inner();
    let ticket = claimed.claim.unwrap().ticket.unwrap();
    let forged = JobTicket {
        node_id: "node-b".to_owned(),
        ..ticket.clone()
    };
    let complete = |ticket: &JobTicket| CompleteJobRequest {
        ticket: Some(ticket.clone()),
        ..CompleteJobRequest::default()
    };
    denied(node.complete(complete(&forged)).await.map(drop));
    denied(node.complete(CompleteJobRequest::default()).await.map(drop));
    let foreign = HoldRequest {
        queue: DEFAULT_QUEUE.to_owned(),
        name: "vpn-1".to_owned(),
        holder: Some(holder("node-b")),
    };
    denied(node.hold(foreign).await.map(drop));
    let asked = ListJobsRequest {
        queue: DEFAULT_QUEUE.to_owned(),
        ..ListJobsRequest::default()
    };
    assert_eq!(
        viewer
            .list(asked.clone())
            .await
            .unwrap()
            .into_inner()
            .jobs
            .len(),
        1
    );
    denied(node.list(asked).await.map(drop));
    let (queue, job_id) = (DEFAULT_QUEUE.to_owned(), ticket.job_id.clone());
    let cancel = CancelJobRequest {
        queue,
        job_id,
        ..CancelJobRequest::default()
    };
    denied(node.cancel(cancel.clone()).await.map(drop));
    denied(viewer.cancel(cancel.clone()).await.map(drop));
    assert_eq!(audited(&home).await, []);
    operator.cancel(cancel.clone()).await.unwrap();
    // Again it changes nothing, so there is nothing to keep.
    operator.cancel(cancel).await.unwrap();
    let refused = node.complete(complete(&ticket)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    operator.enqueue(enqueue("tv-2", "")).await.unwrap();
    let mut told = audited(&home).await;
    told.sort();
    let by_ana = ["job.cancel", "job.enqueue"].map(|action| ("ana".to_owned(), action.to_owned()));
    assert_eq!(told, by_ana);
}

#[tokio::test]
async fn a_node_lists_jobs_as_itself() {
    let home = Home::on(memory());
    let jobs = home.local(&home.store, |_| {});
    let channel = serve(jobs, identity(Role::Node, "node-a")).await;
    let mut node = JobsClient::new(channel);
    node.enqueue(enqueue("tv-1", "node-a")).await.unwrap();
    let as_node = |node_id: &str| ListJobsRequest {
        queue: DEFAULT_QUEUE.to_owned(),
        node_id: node_id.to_owned(),
        ..ListJobsRequest::default()
    };
    let listed = node.list(as_node("node-a")).await.unwrap();
    assert_eq!(listed.into_inner().jobs.len(), 1);
    let refused = node.list(as_node("node-b")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}
