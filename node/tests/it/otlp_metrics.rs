//! Metrics reach a real OTLP receiver, by the names of `/metrics`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, metric};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::common::{Backend, PATIENCE, Weir, web};

struct Receiver(mpsc::UnboundedSender<ResourceMetrics>);

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        for of_node in request.into_inner().resource_metrics {
            let _ = self.0.send(of_node);
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

async fn receiver() -> (SocketAddr, mpsc::UnboundedReceiver<ResourceMetrics>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, told) = mpsc::unbounded_channel();
    let server = tonic::transport::Server::builder()
        .add_service(MetricsServiceServer::new(Receiver(sender)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    (address, told)
}

/// Families by name, and who sent them.
async fn next(
    told: &mut mpsc::UnboundedReceiver<ResourceMetrics>,
) -> (BTreeMap<String, Metric>, Vec<String>) {
    let export = timeout(PATIENCE, told.recv()).await;
    let export = export.expect("metrics arrive").unwrap();
    let resource = export.resource.unwrap().attributes;
    let families = export.scope_metrics.into_iter().flat_map(|s| s.metrics);
    let families = families.map(|metric| (metric.name.clone(), metric));
    (
        families.collect(),
        resource
            .into_iter()
            .map(|attribute| attribute.key)
            .collect(),
    )
}

fn kind(metric: &Metric) -> &'static str {
    match metric.data {
        Some(metric::Data::Sum(_)) => "counter",
        Some(metric::Data::Gauge(_)) => "gauge",
        Some(metric::Data::Histogram(_)) => "histogram",
        _ => "nothing",
    }
}

#[tokio::test]
async fn all_that_metrics_tell_is_exported_by_the_same_names_and_a_last_time_at_the_end() {
    let (otlp, mut told) = receiver().await;
    let backend = Backend::start("one").await;
    let telemetry =
        format!("[telemetry]\notlp = \"http://{otlp}\"\nmetrics_export_interval = \"1s\"\n");
    let mut node = Weir::start(&format!("{telemetry}{}", web(&[backend.address], ""))).await;
    for _ in 0..3 {
        node.get("/").await;
    }
    let (families, resource) = next(&mut told).await;
    let who = ["service.name", "service.instance.id", "service.version"];
    assert!(
        who.iter()
            .all(|key| resource.iter().any(|known| known == key)),
        "{resource:?}"
    );
    let (_, text) = node.get_api("/metrics").await.unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut with_samples = 0;
    for (name, of_kind) in types.filter_map(|line| line.split_once(' ')) {
        let has_samples = text.lines().any(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{', '_']))
        });
        match families.get(name) {
            Some(family) => assert_eq!(kind(family), of_kind, "{name}"),
            None => assert!(
                !has_samples || of_kind != "counter",
                "{name} is not exported"
            ),
        }
        with_samples += usize::from(has_samples);
    }
    assert!(
        families.len() + 2 >= with_samples && with_samples > 50,
        "{}",
        families.len()
    );
    // By the conventions as well.
    let duration = families.get("http.server.request.duration");
    assert_eq!(counted(duration), 3);
    assert_eq!(attribute(duration, "http.route"), Some("/*".to_owned()));
    let to_backends = families.get("http.client.request.duration");
    assert_eq!(counted(to_backends), 3);
    for (key, value) in [
        ("http.request.method", "GET".to_owned()),
        ("server.address", backend.address.ip().to_string()),
        ("server.port", backend.address.port().to_string()),
        ("http.response.status_code", "200".to_owned()),
        ("weir.service", "web".to_owned()),
    ] {
        assert_eq!(attribute(to_backends, key), Some(value), "{key}");
    }
    assert_eq!(attribute(to_backends, "error.type"), None);
    let active = families.get("http.server.active_requests");
    assert_eq!(active.map(kind), Some("counter"));
    node.get("/").await;
    node.stop().await;
    let mut last = None;
    while let Some(Some(export)) = timeout(PATIENCE, told.recv())
        .await
        .ok()
        .filter(Option::is_some)
    {
        let metrics = export.scope_metrics.into_iter().flat_map(|s| s.metrics);
        last = metrics
            .into_iter()
            .find(|m| m.name == "weir_request_duration_seconds");
        if counted(last.as_ref()) == 4 {
            break;
        }
    }
    assert_eq!(counted(last.as_ref()), 4);
}

/// An attribute of the first point of a histogram.
fn attribute(family: Option<&Metric>, key: &str) -> Option<String> {
    let Some(metric::Data::Histogram(histogram)) = family?.data.as_ref() else {
        return None;
    };
    let mut attributes = histogram.data_points.first()?.attributes.iter();
    let found = attributes.find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Requests of a histogram of them.
fn counted(family: Option<&Metric>) -> u64 {
    match family.and_then(|family| family.data.as_ref()) {
        Some(metric::Data::Histogram(histogram)) => {
            histogram.data_points.iter().map(|point| point.count).sum()
        }
        _ => 0,
    }
}
