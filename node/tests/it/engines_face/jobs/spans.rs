//! Limits and look-ups of ports in spans, seen by a real OTLP receiver.

use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use weir_fakes::gluetun::{FakeGluetun, Listen, Settings};

use super::super::{engines, ready};
use super::{ask, by_http, ports, serve, shell};
use crate::common::{PATIENCE, Weir};
use crate::tracing::{attribute, receiver};

/// The value of an attribute, if the span has it.
fn value(span: &Span, key: &str) -> Option<String> {
    let has = span.attributes.iter().any(|attribute| attribute.key == key);
    has.then(|| attribute(span, key))
}

/// Waits for a span of this name with this attribute.
async fn until(
    spans: &mut UnboundedReceiver<Span>,
    name: &str,
    (key, wanted): (&str, &str),
) -> Span {
    let mut passed = Vec::new();
    loop {
        let span = timeout(PATIENCE, spans.recv()).await;
        let span = span.unwrap_or_else(|_| panic!("no {name} with {key}={wanted}: {passed:?}"));
        let span = span.unwrap();
        if span.name == name && value(&span, key).as_deref() == Some(wanted) {
            return span;
        }
        passed.push((span.name.clone(), value(&span, key)));
    }
}

/// A node with these further keys of `[provision]`, and the spans of all it does.
async fn node(config: &str, limits: &str) -> (Weir, UnboundedReceiver<Span>) {
    let (otlp, spans) = receiver().await;
    let telemetry = format!("[telemetry]\notlp = \"http://{otlp}\"\nsample_ratio = 1.0\n");
    let limits = format!("[provision]\n{limits}\n");
    let config = config.replacen("[provision]\n", &limits, 1);
    (Weir::start(&format!("{telemetry}{config}")).await, spans)
}

#[tokio::test]
async fn a_start_that_waits_says_in_its_span_for_which_limit() {
    let (_weir, mut spans) = node(&engines(3, 3), "concurrent_max = 1").await;
    let span = until(&mut spans, "gate.wait", ("weir.limit", "concurrency")).await;
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    let apart = engines(3, 3).replace("interval_min = \"0s\"", "interval_min = \"700ms\"");
    let (_weir, mut spans) = node(&apart, "").await;
    let span = until(&mut spans, "gate.wait", ("weir.limit", "spacing")).await;
    let waited = span.end_time_unix_nano - span.start_time_unix_nano;
    assert!(waited > 50_000_000, "{waited} ns");
}

#[tokio::test]
async fn jobs_that_wait_for_others_of_the_mesh_are_a_span_as_long_as_they_wait() {
    let slow = format!(
        "[provision]\nhost_ports = \"{}\"\n[services.web.engines]\nmin = 3\nmax = 3\n{}\
         [services.web.engines.probe]\ninterval = \"100ms\"\n[[routes]]\nservice = \"web\"\n",
        ports(),
        shell(&format!("sleep 2; {}", serve())),
    );
    for limits in ["fleet_concurrent_max = 1", "fleet_interval_min = \"3s\""] {
        let (weir, mut spans) = node(&slow, limits).await;
        let span = until(&mut spans, "fleet.wait", ("weir.limit", "fleet")).await;
        assert_eq!(attribute(&span, "weir.service"), "web");
        let waited = span.end_time_unix_nano - span.start_time_unix_nano;
        assert!(waited > 500_000_000, "{limits}: {waited} ns");
        let name = "weir_provision_limited_total{limit=\"fleet\"}";
        assert!(weir.metric(name).await > 0.9, "{limits}");
    }
}

#[tokio::test]
async fn a_wish_that_is_refused_says_in_its_span_by_which_limit() {
    let (weir, mut spans) = node(&engines(1, 2), "queue_max = 0").await;
    assert_eq!(by_http(&weir, "web").await.status, 503);
    // One of the API's, and one of the node's own.
    for name in ["Provision", "engine.wish"] {
        let span = until(&mut spans, name, ("weir.limit", "queue")).await;
        assert_eq!(span.status.unwrap().code, 2, "{name}");
    }
}

#[tokio::test]
async fn a_look_up_of_a_port_says_in_the_span_of_the_provision_how_it_was_answered() {
    let gluetun = FakeGluetun::start(&Listen::default(), Settings::default()).unwrap();
    let config = format!(
        "[provision]\n[vpns.nl]\ncontrol_url = \"http://{}\"\nports = \"{}\"\n\
         [services.web.engines]\nmin = 0\nmax = 1\nvpns = [\"nl\"]\n{}\
         [services.web.engines.probe]\ninterval = \"100ms\"\n[[routes]]\nservice = \"web\"\n",
        gluetun.control(),
        ports(),
        shell(&serve()),
    );
    let (weir, mut spans) = node(&config, "").await;
    weir.wait_for_metric("weir_vpn_up", |up| up > 0.9).await;
    ask(&weir, "GET", "/api/ports/nl", "", "").await;
    let span = until(&mut spans, "GetPort", ("weir.port_cache", "hit")).await;
    assert_eq!(attribute(&span, "weir.vpn"), "nl");
    // What is known is void, and the answer takes longer than the way to the look-up.
    gluetun.set("slow_ms", "3000").unwrap();
    gluetun.set("fault", "slow").unwrap();
    let forget = ask(&weir, "POST", "/api/ports/nl", "", "");
    let (_, wished) = tokio::join!(forget, by_http(&weir, "web"));
    assert_eq!(wished.status, 202);
    let span = until(&mut spans, "port.reserve", ("weir.port_cache", "miss")).await;
    assert_eq!(attribute(&span, "weir.vpn"), "nl");
    assert_eq!(attribute(&span, "weir.forwarded"), "yes");
    let engine = ready(&weir, 1).await.remove(0);
    let stop = format!("/api/engines/{}?now=true", engine.id);
    ask(&weir, "DELETE", &stop, "", "").await;
    ready(&weir, 0).await;
    assert_eq!(by_http(&weir, "web").await.status, 202);
    let span = until(&mut spans, "port.reserve", ("weir.port_cache", "hit")).await;
    assert_eq!(attribute(&span, "weir.forwarded"), "yes");
    for name in ["hits", "misses"] {
        let name = format!("weir_port_cache_{name}_total");
        assert!(weir.metric(&name).await > 0.9, "{name}");
    }
}
