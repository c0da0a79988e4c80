//! Every way to want an engine at the same time.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use weir_proto::node::v1::provision_response::Outcome;

use super::super::seen;
use super::{by_grpc, by_http, ports, serve, shell};
use crate::common::{PATIENCE, Weir};
use crate::tracing::{attribute, receiver};

const PERMITS: usize = 5;
const SPACING: Duration = Duration::from_millis(500);
/// Six that are asked for; two that there always are; one that is free; one that is killed, one that is used up and
/// their successors.
const JOBS: usize = 13;

/// Services whose engines take a while until they serve.
fn config(otlp: &str) -> String {
    let slow = shell(&format!("sleep 2; {}", serve()));
    let service = |name: &str, keys: &str| {
        format!(
            "[services.{name}.engines]\nreplacement_cooldown = \"0s\"\n{keys}\n{slow}\
             [services.{name}.engines.probe]\ncheck = \"http\"\ninterval = \"100ms\"\n"
        )
    };
    [
        format!("[telemetry]\notlp = \"http://{otlp}\"\nsample_ratio = 1.0\n"),
        format!("[provision]\nhost_ports = \"{}\"\n", ports()),
        service("web", "min = 0\nmax = 10"),
        service("first", "min = 2\nmax = 2"),
        service("free", "min = 0\nfree = 1\nmax = 1"),
        service("killed", "min = 1\nmax = 1"),
        service("used", "min = 1\nmax = 2\nuses_max = 1"),
        "[[routes]]\nservice = \"used\"\n".to_owned(),
    ]
    .concat()
}

/// Takes spans until so many jobs are done; those by job, and whether it went well.
async fn until_done(spans: &mut UnboundedReceiver<Span>) -> BTreeMap<String, (Span, Span)> {
    let (mut starts, mut done) = (BTreeMap::new(), BTreeMap::new());
    while done.len() < JOBS {
        let span = timeout(PATIENCE * 2, spans.recv()).await;
        let span = span.unwrap_or_else(|_| panic!("only {:?}", done.keys()));
        let span = span.unwrap();
        match &*span.name {
            "driver.start" => drop(starts.insert(span.parent_span_id.clone(), span)),
            "engine.provision" => {
                let status = span.status.clone().unwrap_or_default();
                assert!(status.code != 2, "{status:?}");
                let start = starts.remove(&span.span_id);
                let start = start.expect("the steps come before the whole");
                let before = done.insert(attribute(&span, "weir.job"), (start, span));
                assert!(before.is_none(), "a job is done once");
            }
            _ => {}
        }
    }
    done
}

/// One engine of this service that is ready.
async fn one_of(weir: &Weir, service: &str) -> weir_proto::node::v1::Engine {
    let is_one = |engine: &&weir_proto::node::v1::Engine| {
        engine.service == service && engine.state == "ready"
    };
    let list = seen(weir, false, service, |list| {
        list.engines.iter().any(|e| is_one(&e))
    });
    let engines = list.await.engines;
    engines.iter().find(is_one).cloned().unwrap()
}

/// Asks for six of `web`, each way two.
async fn ask_every_way(weir: &Weir) {
    let http = async {
        for _ in 0..2 {
            assert_eq!(by_http(weir, "web").await.status, 202);
        }
    };
    let grpc = async {
        for _ in 0..2 {
            assert!(matches!(by_grpc(weir, "web").await, Outcome::Job(_)));
        }
    };
    let cli = async {
        let ask = ["engines", "provision", "web", "--count", "2"];
        let (code, text) = weir.command(&ask).await;
        assert_eq!(code, 0, "{text}");
    };
    tokio::join!(http, grpc, cli);
}

#[tokio::test]
async fn starts_from_every_entry_go_through_one_owner_five_at_a_time_and_half_a_second_apart() {
    let (otlp, mut spans) = receiver().await;
    let weir = Weir::start(&config(&otlp.to_string())).await;
    let wishes = ask_every_way(&weir);
    let kill = async {
        let pid = i32::try_from(one_of(&weir, "killed").await.pid).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    };
    let use_up = async {
        one_of(&weir, "used").await;
        assert!(weir.get("/").await.contains("hello from used-"));
    };
    let (done, ..) = tokio::join!(until_done(&mut spans), wishes, kill, use_up);

    let mut starts: Vec<u64> = done
        .values()
        .map(|(start, _)| start.start_time_unix_nano)
        .collect();
    starts.sort_unstable();
    let spacing = u64::try_from(SPACING.as_nanos()).unwrap();
    assert!(
        starts.windows(2).all(|two| two[1] - two[0] >= spacing),
        "{starts:?}"
    );
    let in_flight_at = |at: u64| {
        let runs = |(start, whole): &&(Span, Span)| {
            (start.start_time_unix_nano..whole.end_time_unix_nano).contains(&at)
        };
        done.values().filter(runs).count()
    };
    let most = starts.iter().map(|at| in_flight_at(*at)).max().unwrap();
    assert!((3..=PERMITS).contains(&most), "{most} at a time");
    let of = |service: &str| {
        let is_of = |whole: &Span| attribute(whole, "weir.service") == service;
        done.values().filter(|(_, whole)| is_of(whole)).count()
    };
    let counts = ["web", "first", "free", "killed", "used"].map(of);
    assert_eq!(counts, [6, 2, 1, 2, 2]);
}
