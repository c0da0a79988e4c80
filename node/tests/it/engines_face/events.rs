//! What happens, as events.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::time::timeout;
use weir_fakes::gluetun::{FakeGluetun, Listen, Settings};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::events_client::EventsClient;

use super::{ask, ask_again, engines, json, ready};
use crate::common::{PATIENCE, Weir};
use crate::grpc::channel;
use crate::operator::wait_until;

const PROVISION: &str = "/api/provision";

async fn list(weir: &Weir, query: &str) -> Value {
    json(&ask(weir, "GET", &format!("/api/events?{query}"), "", "").await)
}

fn kinds(list: &Value) -> Vec<&str> {
    let events = list["events"].as_array().unwrap().iter();
    events
        .map(|event| event["kind"].as_str().unwrap())
        .collect()
}

/// Follows what happens until everything of these kinds did; the events by kind.
async fn until(weir: &Weir, wanted: &[&str]) -> BTreeMap<String, pb::Event> {
    let mut client = EventsClient::new(channel(weir.grpc).await);
    let request = pb::EventsRequest {
        since: String::new(),
        kinds: wanted.iter().map(|kind| (*kind).to_owned()).collect(),
    };
    let mut lists = client.watch_events(request).await.unwrap().into_inner();
    let mut seen = BTreeMap::new();
    let looking = async {
        while seen.len() < wanted.len() {
            let list = lists.message().await.unwrap().expect("the node lives");
            assert!((list.missed, list.restarted) == (0, false), "{list:?}");
            let events = list.events.into_iter();
            seen.extend(events.map(|event| (event.kind.clone(), event)));
        }
    };
    let found = timeout(PATIENCE, looking).await;
    assert!(found.is_ok(), "{wanted:?}: only {seen:#?}");
    seen
}

#[tokio::test]
async fn the_life_of_an_engine_is_told_once_in_order_and_from_where_one_was() {
    let weir = Weir::start(&engines(0, 2)).await;
    let none = list(&weir, "kind=engine.*,job.*").await;
    assert_eq!(kinds(&none), Vec::<&str>::new());
    let job = json(&ask(&weir, "POST", PROVISION, "", "{\"service\": \"web\"}").await);
    let engine = ready(&weir, 1).await.remove(0);
    until(&weir, &["job.done"]).await;

    let since = none["next"].as_str().unwrap();
    let first = list(&weir, &format!("since={since}&kind=engine.*,job.*")).await;
    let expected = [
        "job.enqueued",
        "job.claimed",
        "engine.started",
        "engine.up",
        "job.done",
    ];
    assert_eq!(kinds(&first), expected, "{first:#}");
    let events = first["events"].as_array().unwrap();
    assert!(
        events
            .windows(2)
            .all(|two| two[0]["seq"].as_u64() < two[1]["seq"].as_u64())
    );
    assert_eq!(
        (&events[0]["subject"], &events[0]["subject_kind"]),
        (&job["job_id"], &"job".into())
    );
    assert_eq!(
        (&events[3]["subject"], &events[3]["count"]),
        (&(*engine.id).into(), &1.into())
    );
    assert_eq!(events[3]["attributes"]["address"], *engine.address);
    assert_eq!(events[4]["attributes"]["engine"], *engine.id);
    assert_eq!(
        (&first["missed"], &first["restarted"]),
        (&0.into(), &false.into())
    );

    let stop = format!("/api/engines/{}?now=true", engine.id);
    ask(&weir, "DELETE", &stop, "", "").await;
    ready(&weir, 0).await;
    until(&weir, &["engine.gone"]).await;
    let since = first["next"].as_str().unwrap();
    let second = list(&weir, &format!("since={since}&kind=engine.*")).await;
    assert_eq!(kinds(&second), ["engine.down", "engine.gone"], "{second:#}");
    assert_eq!(second["events"][0]["attributes"]["state"], "stopping");
    assert_eq!(second["events"][0]["severity"], "info", "it was asked for");

    let path = format!("/api/events?since={since}&kind=engine.*");
    let told = ask(&weir, "GET", &path, "", "").await;
    let same = ask_again(&weir, &path, &told).await;
    assert!(same.starts_with("HTTP/1.1 304 "), "{same}");
    assert!((weir.metric("weir_events_total{kind=\"engine.up\"}").await - 1.0).abs() < 0.1);

    let (code, text) = weir.command(&["events", "--kind", "engine.up,job.*"]).await;
    assert!(code == 0 && text.contains("engine.up"), "{text}");
    assert!(text.contains(&format!("engine {}", engine.id)), "{text}");
    let (code, text) = weir
        .command(&["events", "--since", since, "-o", "json"])
        .await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert!(code == 0 && kinds(&told).contains(&"engine.gone"), "{text}");
    let (code, text) = weir.command(&["events", "--kind", "engine"]).await;
    assert!(
        code == 2 && text.contains("kind: `engine` is no kind of event"),
        "{text}"
    );
    let bad = ask(&weir, "GET", "/api/events?since=4", "", "").await;
    assert!(
        bad.status == 400 && bad.text().contains("since: `4` is no place"),
        "{bad:?}"
    );
}

#[tokio::test]
async fn a_node_that_was_started_anew_says_that_it_begins_anew() {
    let mut weir = Weir::start(&engines(1, 1)).await;
    until(&weir, &["job.done"]).await;
    let before = list(&weir, "").await;
    weir.stop().await;
    weir.start_again().await;
    let since = before["next"].as_str().unwrap();
    let after = list(&weir, &format!("since={since}")).await;
    assert_eq!(
        (&after["restarted"], &after["missed"]),
        (&true.into(), &0.into()),
        "{after:#}"
    );
}

#[tokio::test]
async fn a_limit_that_was_hit_is_an_event_and_a_metric() {
    let weir = Weir::start(&engines(1, 1)).await;
    ready(&weir, 1).await;
    let full = ask(&weir, "POST", PROVISION, "", "{\"service\": \"web\"}").await;
    assert_eq!(full.status, 503);
    let seen = until(&weir, &["provision.limited"]).await;
    let limited = &seen["provision.limited"];
    assert_eq!(
        (&*limited.subject, &*limited.attributes["limit"]),
        ("web", "engines")
    );
    assert!(
        limited.attributes["message"].ends_with("and may have 1"),
        "{limited:?}"
    );
    let counted = weir
        .metric("weir_provision_limited_total{limit=\"engines\"}")
        .await;
    assert!((counted - 1.0).abs() < 0.1, "{counted}");
}

#[tokio::test]
async fn starts_that_fail_are_told_with_the_breaker_that_they_open() {
    let text = engines(0, 2).replace("\"--listen\"", "\"--no-such-flag\"");
    let text = text.replacen("[provision]\n", "[provision]\nbreaker_failures = 1\n", 1);
    let weir = Weir::start(&text).await;
    ask(&weir, "POST", PROVISION, "", "{\"service\": \"web\"}").await;
    let seen = until(&weir, &["job.failed", "breaker.open"]).await;
    assert_eq!(seen["job.failed"].attributes["attempt"], "1");
    assert_eq!(
        seen["breaker.open"].attributes["why"],
        seen["job.failed"].attributes["why"]
    );
    assert_eq!(
        (
            &*seen["breaker.open"].severity,
            &*seen["breaker.open"].subject
        ),
        ("error", "")
    );
    ask(&weir, "POST", PROVISION, "", "{\"service\": \"web\"}").await;
    let seen = until(&weir, &["provision.limited"]).await;
    assert_eq!(seen["provision.limited"].attributes["limit"], "breaker");
}

#[tokio::test]
async fn every_look_up_of_a_port_is_in_an_event_and_a_vpn_tells_what_it_does() {
    let gluetun = FakeGluetun::start(&Listen::default(), Settings::default()).unwrap();
    let url = format!("http://{}", gluetun.control());
    let weir = Weir::start(&format!("[vpns.nl]\ncontrol_url = \"{url}\"\n")).await;
    until(&weir, &["vpn.stable"]).await;
    for _ in 0..300 {
        ask(&weir, "GET", "/api/ports/nl", "", "").await;
    }
    let look_ups = async |kind: &str| {
        let told = list(&weir, &format!("kind=port_cache.{kind}")).await;
        let events = told["events"].as_array().unwrap().iter();
        events
            .map(|event| event["count"].as_u64().unwrap())
            .sum::<u64>()
    };
    wait_until(&weir, "each is told", async || {
        look_ups("hit").await + look_ups("miss").await == 300
    })
    .await;
    let told = list(&weir, "kind=port_cache.hit").await;
    assert!(told["events"].as_array().unwrap().len() < 100, "{told:#}");
    let hits = weir.metric("weir_port_cache_hits_total{vpn=\"nl\"}").await;
    let counted = weir
        .metric("weir_events_total{kind=\"port_cache.hit\"}")
        .await;
    assert!((hits - counted).abs() < 0.1, "{hits} {counted}");

    gluetun.set("ports", "6001").unwrap();
    ask(&weir, "POST", "/api/ports/nl", "", "").await;
    let seen = until(&weir, &["port_cache.invalidated", "port_cache.changed"]).await;
    let changed = &seen["port_cache.changed"].attributes;
    assert_eq!((&*changed["from"], &*changed["to"]), ("5914", "6001"));
    drop(gluetun);
    ask(&weir, "POST", "/api/ports/nl", "", "").await;
    let seen = until(&weir, &["port_cache.alarm"]).await;
    assert_eq!(seen["port_cache.alarm"].subject, "nl");
}
