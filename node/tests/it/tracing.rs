//! One request is one trace, seen by a real OTLP receiver.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use weir_proto::node::v1::SetWeightRequest;
use weir_proto::node::v1::load_balancer_client::LoadBalancerClient;

use crate::common::{Backend, LOOK_INTERVAL, PATIENCE, Weir, web};

pub const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub const CALLER: &str = "00f067aa0ba902b7";

struct Receiver(mpsc::UnboundedSender<Span>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        for of_node in resources {
            let node = of_node.resource.unwrap_or_default().attributes;
            let spans = of_node.scope_spans.into_iter().flat_map(|s| s.spans);
            for mut span in spans {
                span.attributes.extend(node.iter().cloned());
                let _ = self.0.send(span);
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A real receiver; its spans have the attributes of their node besides their own.
pub async fn receiver() -> (SocketAddr, mpsc::UnboundedReceiver<Span>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, spans) = mpsc::unbounded_channel();
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Receiver(sender)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    (address, spans)
}

fn config(otlp: SocketAddr, ratio: f64, web: &str) -> String {
    format!("[telemetry]\notlp = \"http://{otlp}\"\nsample_ratio = {ratio}\n{web}")
}

/// The spans of the next request or call, by name; its own comes last.
async fn next(spans: &mut mpsc::UnboundedReceiver<Span>, whole: &str) -> BTreeMap<String, Span> {
    let mut by_name = BTreeMap::new();
    while !by_name.contains_key(whole) {
        let span = timeout(PATIENCE, spans.recv())
            .await
            .expect("a span arrives")
            .unwrap();
        by_name.insert(span.name.clone(), span);
    }
    by_name
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn attribute(span: &Span, key: &str) -> String {
    let found = span
        .attributes
        .iter()
        .find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{key} of {} is {other:?}", span.name),
    }
}

#[tokio::test]
async fn a_sampled_request_is_one_tree_under_its_caller() {
    let (otlp, mut spans) = receiver().await;
    let backend = Backend::start("one").await;
    let weir = Weir::start(&config(otlp, 0.0, &web(&[backend.address], ""))).await;
    let answer = weir
        .exchange(
            format!(
                "GET /headers HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\
                 traceparent: 00-{TRACE}-{CALLER}-01\r\n\r\n"
            )
            .as_bytes(),
        )
        .await;

    let tree = next(&mut spans, "ingress").await;
    let (whole, upstream) = (&tree["ingress"], &tree["upstream"]);
    assert!(tree.values().all(|span| hex(&span.trace_id) == TRACE));
    assert_eq!(hex(&whole.parent_span_id), CALLER);
    assert_eq!(tree.len(), 5, "{:?}", tree.keys());
    for name in ["admission", "pick", "connect", "upstream"] {
        assert_eq!(
            tree[name].parent_span_id, whole.span_id,
            "{name} is under the whole"
        );
        assert!(tree[name].start_time_unix_nano >= whole.start_time_unix_nano);
        assert!(tree[name].end_time_unix_nano <= whole.end_time_unix_nano);
    }
    assert_eq!(attribute(&tree["admission"], "weir.service"), "web");
    assert_eq!(
        attribute(&tree["pick"], "weir.backend"),
        backend.address.to_string()
    );
    assert_eq!(attribute(&tree["pick"], "weir.pick.reason"), "peak_ewma");
    assert_eq!((whole.kind, upstream.kind), (2, 3), "server and client");
    let port = backend.address.port().to_string();
    for (span, key, value) in [
        (upstream, "http.response.status_code", "200"),
        (upstream, "http.request.method", "GET"),
        (upstream, "server.address", "127.0.0.1"),
        (upstream, "server.port", &port),
        (upstream, "network.protocol.version", "1.1"),
        (whole, "http.request.method", "GET"),
        (whole, "url.path", "/headers"),
        (whole, "url.scheme", "http"),
        (whole, "server.address", "t"),
        (whole, "network.peer.address", "127.0.0.1"),
        (whole, "weir.trace.kept", "sampled"),
        (&tree["admission"], "weir.route", "route-0"),
    ] {
        assert_eq!(attribute(span, key), value, "{key} of {}", span.name);
    }
    assert_eq!(attribute(whole, "http.response.status_code"), "200");
    let seen = format!("00-{TRACE}-{}-01", hex(&upstream.span_id));
    assert!(
        answer.contains(&seen),
        "the backend sees {seen} in {answer}"
    );
}

fn traced(context: &str, more: &str) -> Vec<u8> {
    let head = "GET /headers HTTP/1.1\r\nHost: t\r\nConnection: close\r\n";
    format!("{head}traceparent: {context}\r\n{more}\r\n").into_bytes()
}

#[tokio::test]
async fn a_request_that_nobody_samples_leaves_no_span_and_stays_in_its_trace() {
    let (otlp, mut spans) = receiver().await;
    let backend = Backend::start("one").await;
    let weir = Weir::start(&config(otlp, 0.0, &web(&[backend.address], ""))).await;
    let unsampled = traced(&format!("00-{TRACE}-{CALLER}-00"), "tracestate: a=1\r\n");
    let answer = weir.exchange(&unsampled).await;
    let seen = answer.split_once(&format!("00-{TRACE}-")).unwrap().1;
    assert_eq!(&seen[16..19], "-00", "{answer}");
    assert_ne!(&seen[..16], CALLER, "the backend is under this node");
    assert!(answer.contains("a=1"), "{answer}");
    assert_eq!(weir.metric("weir_spans_made_total").await, 0.0);

    // The receiver works: a sampled one arrives, and it is the first.
    let sampled = traced(&format!("00-{TRACE}-{CALLER}-01"), "");
    weir.exchange(&sampled).await;
    let tree = next(&mut spans, "ingress").await;
    let made = weir.metric("weir_spans_made_total").await;
    assert_eq!(made, tree.len() as f64);
    weir.wait_for_metric("weir_spans_sent_total", |sent| sent == made)
        .await;
}

#[tokio::test]
async fn a_malformed_context_begins_a_new_trace_without_its_state_and_passes_baggage_on() {
    let (otlp, mut spans) = receiver().await;
    let backend = Backend::start("one").await;
    let weir = Weir::start(&config(otlp, 1.0, &web(&[backend.address], ""))).await;
    let more = "tracestate: lost=1\r\nbaggage: kept=1\r\n";
    let request = traced(&format!("00-{TRACE}-{}-01", "0".repeat(16)), more);
    let answer = weir.exchange(&request).await;
    let tree = next(&mut spans, "ingress").await;
    let whole = &tree["ingress"];
    assert!(whole.parent_span_id.is_empty());
    assert_ne!(hex(&whole.trace_id), TRACE);
    assert!(answer.contains(&hex(&whole.trace_id)), "{answer}");
    assert!(
        !answer.contains("lost=1") && answer.contains("kept=1"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_failed_or_slow_request_is_told_though_nobody_sampled_it_and_a_route_may_ask_for_all() {
    let (otlp, mut spans) = receiver().await;
    let backend = Backend::start("one").await;
    let [nobody] = crate::common::free_ports();
    let config = format!(
        "[telemetry]\notlp = \"http://{otlp}\"\nsample_ratio = 0.0\n\
         [services.web]\nbackends = [\"{}\"]\n[services.away]\nbackends = [\"{nobody}\"]\n\
         [[routes]]\nname = \"away\"\nservice = \"away\"\npath = \"/away\"\n\
         [[routes]]\nname = \"all\"\nservice = \"web\"\npath = \"/headers\"\n\
         trace_ratio = 1.0\n\
         [[routes]]\nname = \"rest\"\nservice = \"web\"\n",
        backend.address
    );
    let weir = Weir::start_with("slow_request = \"1ms\"", &config).await;
    for (path, kept) in [
        ("/away", "failed"),
        ("/headers", "sampled"),
        ("/slow?ms=20", "slow"),
    ] {
        let answer = weir.get(path).await;
        let tree = next(&mut spans, "ingress").await;
        let whole = &tree["ingress"];
        assert!(path.starts_with(&attribute(whole, "url.path")), "{path}");
        assert_eq!(attribute(whole, "weir.trace.kept"), kept);
        let id = format!("x-request-id: {}", hex(&whole.trace_id));
        assert_eq!(answer.contains(&id), path == "/away", "{answer}");
    }
}

#[tokio::test]
async fn a_failed_request_says_why_in_its_trace() {
    let (otlp, mut spans) = receiver().await;
    let [nobody] = crate::common::free_ports();
    let weir = Weir::start(&config(otlp, 1.0, &web(&[nobody], ""))).await;
    let answer = weir.get("/").await;
    assert!(answer.contains("x-weir-reason: connect_failed"), "{answer}");
    let tree = next(&mut spans, "ingress").await;
    assert_eq!(attribute(&tree["ingress"], "weir.reason"), "connect_failed");
    assert_eq!(attribute(&tree["ingress"], "error.type"), "connect_failed");
    assert_eq!(tree["connect"].status.as_ref().unwrap().code, 2);
    assert_eq!(
        attribute(&tree["ingress"], "http.response.status_code"),
        "502"
    );
    assert!(
        tree["ingress"]
            .status
            .as_ref()
            .is_some_and(|status| status.code == 2)
    );
}

#[tokio::test]
async fn a_command_is_one_trace_through_the_actors_mailbox() {
    let (otlp, mut spans) = receiver().await;
    let backend = Backend::start("one").await;
    let weir = Weir::start(&config(otlp, 0.0, &web(&[backend.address], ""))).await;
    let mut client = LoadBalancerClient::connect(format!("http://{}", weir.grpc))
        .await
        .unwrap();
    let mut request = Request::new(SetWeightRequest {
        service: "web".to_owned(),
        backend: backend.address.to_string(),
        weight: 7,
    });
    let context = format!("00-{TRACE}-{CALLER}-01");
    request
        .metadata_mut()
        .insert("traceparent", context.parse().unwrap());
    client.set_weight(request).await.unwrap();

    let tree = next(&mut spans, "SetWeight").await;
    let (call, hop) = (&tree["SetWeight"], &tree["load_balancer.set_weight"]);
    assert_eq!(hex(&call.parent_span_id), CALLER);
    assert_eq!(hop.parent_span_id, call.span_id);
    assert_eq!(hex(&hop.trace_id), TRACE);
    assert!(attribute(hop, "mailbox.wait_us").parse::<u64>().is_ok());
}

#[tokio::test]
async fn a_receiver_that_is_away_costs_spans_but_no_request() {
    let [nobody] = crate::common::free_ports();
    let backend = Backend::start("one").await;
    let weir = Weir::start(&config(nobody, 1.0, &web(&[backend.address], ""))).await;
    for _ in 0..20 {
        assert!(weir.get("/").await.starts_with("HTTP/1.1 200"));
    }
    weir.wait_for_metric("weir_spans_dropped_total", |dropped| dropped > 0.0)
        .await;
    let made = weir.metric("weir_spans_made_total").await;
    weir.wait_for_metric("weir_spans_dropped_total", |dropped| dropped == made)
        .await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, status) = weir.get_api("/api/status").await.unwrap();
        let is_told = status.contains("the OTLP receiver takes no traces: ");
        if is_told && status.contains("refused") {
            break;
        }
        assert!(Instant::now() < deadline, "{status}");
        sleep(LOOK_INTERVAL).await;
    }
    assert!(weir.log().contains("the OTLP receiver does not take them"));
}
