//! One engine is one trace, seen by a real OTLP receiver.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use tonic::Request;
use weir_proto::node::v1 as pb;

use super::{ask, client, engines, json, seen};
use crate::common::{PATIENCE, Weir};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;
use crate::tracing::{CALLER, TRACE, attribute, hex, receiver};

const STEPS: [&str; 8] = [
    "job.claim",
    "slot.hold",
    "port.reserve",
    "gate.wait",
    "driver.start",
    "readiness.probe",
    "engine.register",
    "job.complete",
];

/// Takes spans until this one is there; all of its trace, by name.
async fn until(spans: &mut UnboundedReceiver<Span>, last: &str) -> BTreeMap<String, Span> {
    let mut by_name = BTreeMap::new();
    while !by_name.contains_key(last) {
        let span = timeout(PATIENCE, spans.recv()).await;
        let span = span
            .unwrap_or_else(|_| panic!("no {last}: {by_name:#?}"))
            .unwrap();
        by_name.insert(span.name.clone(), span);
    }
    by_name
}

fn is_within(inner: &Span, outer: &Span) -> bool {
    inner.start_time_unix_nano >= outer.start_time_unix_nano
        && inner.end_time_unix_nano <= outer.end_time_unix_nano
}

#[tokio::test]
async fn an_engine_is_one_trace_from_who_asked_one_node_to_what_another_one_did() {
    let (otlp, mut spans) = receiver().await;
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let telemetry = format!("[telemetry]\notlp = \"http://{otlp}\"\nsample_ratio = 0.0\n");
    // There is no Docker, so this one knows the service and starts no engine of it.
    let idle = "[provision]\ndocker_socket = \"unix:///nowhere/docker.sock\"\n\
                [services.web.engines]\nimage = \"web:1\"\nmax = 2\n[[routes]]\nservice = \"web\"\n";
    let a = Node::start_as("node-a", &keys, &format!("{telemetry}{idle}")).await;
    let b = Node::start_as("node-b", &keys, &format!("{telemetry}{}", engines(0, 2))).await;
    for node in [&a, &b] {
        plane.sees_connected(&node.id).await;
    }
    let mut request = Request::new(pb::ProvisionRequest {
        service: "web".to_owned(),
        idempotency_key: String::new(),
    });
    let caller = format!("00-{TRACE}-{CALLER}-01");
    request
        .metadata_mut()
        .insert("traceparent", caller.parse().unwrap());
    client(&a).await.provision(request).await.unwrap();

    let tree = until(&mut spans, "engine.provision").await;
    assert_eq!(tree.len(), STEPS.len() + 3, "{:?}", tree.keys());
    assert!(
        tree.values().all(|span| hex(&span.trace_id) == TRACE),
        "{tree:#?}"
    );
    let (call, wish, whole) = (
        &tree["Provision"],
        &tree["job.enqueue"],
        &tree["engine.provision"],
    );
    assert_eq!(hex(&call.parent_span_id), CALLER);
    assert_eq!(wish.parent_span_id, call.span_id);
    assert_eq!(whole.parent_span_id, wish.span_id);
    assert_eq!(attribute(call, "service.instance.id"), "node-a");
    assert_eq!(attribute(whole, "service.instance.id"), "node-b");
    assert_eq!(attribute(whole, "weir.job"), attribute(wish, "weir.job"));
    assert_eq!(attribute(whole, "weir.attempt"), "1");
    assert!(attribute(whole, "weir.engine").starts_with("web-"));
    assert!(attribute(whole, "weir.job.age_ms").parse::<u64>().is_ok());
    let mut before = None;
    for name in STEPS {
        let step = &tree[name];
        assert_eq!(
            step.parent_span_id, whole.span_id,
            "{name} is under the whole"
        );
        assert!(is_within(step, whole), "{name} is within the whole");
        assert!(
            before.is_none_or(|before| before <= step.start_time_unix_nano),
            "{name}"
        );
        before = Some(step.end_time_unix_nano);
    }
    assert_eq!(attribute(&tree["driver.start"], "weir.driver"), "process");
    assert!(
        attribute(&tree["readiness.probe"], "weir.probes")
            .parse::<u64>()
            .unwrap()
            > 0
    );
    seen(&b, false, "it is ready", |list| list.engines.len() == 1).await;
}

#[tokio::test]
async fn a_try_that_failed_is_told_though_nobody_sampled_it() {
    let (otlp, mut spans) = receiver().await;
    let telemetry = format!("[telemetry]\notlp = \"http://{otlp}\"\nsample_ratio = 0.0\n");
    let broken = engines(0, 2).replace("\"--listen\"", "\"--no-such-flag\"");
    let weir = Weir::start(&format!("{telemetry}{broken}")).await;
    let job = json(
        &ask(
            &weir,
            "POST",
            "/api/provision",
            "",
            "{\"service\": \"web\"}",
        )
        .await,
    );
    let tree = until(&mut spans, "engine.provision").await;
    let whole = &tree["engine.provision"];
    assert_eq!(attribute(whole, "weir.job"), job["job_id"]);
    let status = whole.status.as_ref().unwrap();
    assert!(status.code == 2 && !status.message.is_empty(), "{status:?}");
    assert!(!tree.contains_key("Provision"), "{:?}", tree.keys());
}

#[tokio::test]
async fn an_engine_that_a_command_asks_for_belongs_to_the_trace_that_the_command_names() {
    let (otlp, mut spans) = receiver().await;
    let telemetry = format!("[telemetry]\notlp = \"http://{otlp}\"\nsample_ratio = 0.0\n");
    let weir = Weir::start(&format!("{telemetry}{}", engines(0, 1))).await;
    let ask = ["engines", "provision", "web", "--traceparent"];
    let (code, text) = weir.command(&[&ask[..], &["00-1-1-01"]].concat()).await;
    assert!(
        code == 2 && text.contains("--traceparent: `00-1-1-01` is no span"),
        "{text}"
    );
    let caller = format!("00-{TRACE}-{CALLER}-01");
    let (code, text) = weir.command(&[&ask[..], &[&*caller]].concat()).await;
    assert_eq!(code, 0, "{text}");
    let tree = until(&mut spans, "engine.provision").await;
    assert!(
        tree.values().all(|span| hex(&span.trace_id) == TRACE),
        "{tree:#?}"
    );
    assert_eq!(hex(&tree["Provision"].parent_span_id), CALLER);
}

#[tokio::test]
async fn a_node_that_traces_stops_as_soon_as_its_spans_are_sent() {
    let (otlp, mut spans) = receiver().await;
    let telemetry = format!("[telemetry]\notlp = \"http://{otlp}\"\nsample_ratio = 1.0\n");
    let mut weir = Weir::start(&format!("{telemetry}{}", engines(1, 1))).await;
    until(&mut spans, "engine.provision").await;
    let began = tokio::time::Instant::now();
    weir.stop().await;
    assert!(
        began.elapsed() < std::time::Duration::from_millis(1_900),
        "{:?}",
        began.elapsed()
    );
}
