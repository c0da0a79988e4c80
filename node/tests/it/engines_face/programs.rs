//! gRPC, the HTTP API and the metrics.

use tonic::Code;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::provision_response::Outcome;

use super::{ask, ask_again, client, engines, json, ready};
use crate::client::Client;
use crate::common::Weir;
use crate::operator::wait_until;

const PROVISION: &str = "/api/provision";

#[tokio::test]
async fn a_wish_that_cannot_be_met_is_refused_for_programs() {
    let weir = Weir::start(&engines(1, 1)).await;
    ready(&weir, 1).await;
    let full = ask(&weir, "POST", PROVISION, "", "{\"service\": \"web\"}").await;
    assert_eq!((full.status, full.header("retry-after")), (503, None));
    let message = "service `web` has 1 engines and 0 on the way, and may have 1";
    let expected = serde_json::json!({
        "error": "provisioning_blocked",
        "code": "max_capacity",
        "message": message,
        "recovery_eta_seconds": null,
        "can_retry": true,
        "should_wait": false,
    });
    assert_eq!(json(&full), expected);
    let unknown = ask(&weir, "POST", PROVISION, "", "{\"service\": \"tv\"}").await;
    assert_eq!(unknown.status, 404);
    let told = json(&unknown);
    assert_eq!(told["error"], "provisioning_blocked");
    assert_eq!(
        (&told["code"], &told["can_retry"]),
        (&"unknown_service".into(), &false.into())
    );

    let request = pb::ProvisionRequest {
        service: "web".to_owned(),
        idempotency_key: String::new(),
    };
    let answer = client(&weir).await.provision(request).await.unwrap();
    let Some(Outcome::Refusal(refusal)) = answer.into_inner().outcome else {
        panic!("a refusal is an answer");
    };
    assert_eq!(
        (&*refusal.code, &*refusal.message),
        ("max_capacity", message)
    );
    assert!(refusal.can_retry && !refusal.should_wait && refusal.recovery_eta_ms == 0);
}

#[tokio::test]
async fn a_wish_for_which_no_port_is_free_is_refused_as_that_by_http_and_by_grpc() {
    let config = engines(1, 1);
    let weir = Weir::start(&config).await;
    let port = ready(&weir, 1).await[0].port;
    let (_, rest) = config.split_once('\n').unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    let rest = rest.replace("max = 1", "max = 3");
    weir.edit(&format!(
        "[provision]\nhost_ports = \"{port}-{port}\"\n{rest}"
    ));
    let mut told = serde_json::Value::Null;
    wait_until(&weir, "it knows that there is no port", async || {
        told = json(&ask(&weir, "GET", "/api/provisioning", "", "").await);
        !told["can_provision"].as_bool().unwrap()
    })
    .await;
    let message = "no port of this machine is free";
    let blocked = &told["services"][0]["blocked"];
    assert_eq!(
        (&blocked["code"], &blocked["message"]),
        (&"no_port_free".into(), &message.into())
    );
    let refused = ask(&weir, "POST", PROVISION, "", "{\"service\": \"web\"}").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, None));
    let expected = serde_json::json!({
        "error": "provisioning_blocked",
        "code": "no_port_free",
        "message": message,
        "recovery_eta_seconds": null,
        "can_retry": true,
        "should_wait": false,
    });
    assert_eq!(json(&refused), expected);
    let request = pb::ProvisionRequest {
        service: "web".to_owned(),
        idempotency_key: String::new(),
    };
    let answer = client(&weir).await.provision(request).await.unwrap();
    let expected = pb::Refusal {
        code: "no_port_free".to_owned(),
        message: message.to_owned(),
        can_retry: true,
        ..pb::Refusal::default()
    };
    assert_eq!(
        answer.into_inner().outcome,
        Some(Outcome::Refusal(expected))
    );
}

#[tokio::test]
async fn a_program_asks_for_an_engine_once_however_often_it_asks() {
    let config = engines(0, 2).replace("min = 0", "min = 0\nextra_ports = [\"api\"]");
    let weir = Weir::start(&config).await;
    let wish = "{\"service\": \"web\", \"key\": \"match-1\"}";
    let [first, again] = [
        ask(&weir, "POST", PROVISION, "", wish).await,
        ask(&weir, "POST", PROVISION, "", wish).await,
    ];
    assert_eq!((first.status, again.status), (202, 202), "{again:?}");
    let (first, again) = (json(&first), json(&again));
    assert_eq!(first["job_id"], again["job_id"]);
    assert_eq!(
        (&first["already"], &again["already"]),
        (&false.into(), &true.into())
    );
    let engine = ready(&weir, 1).await.remove(0);

    let list = ask(&weir, "GET", "/api/engines?mesh=true", "", "").await;
    let told = json(&list);
    assert_eq!(told["engines"][0]["id"], *engine.id);
    let further = &told["engines"][0]["extra_ports"];
    assert_eq!(further, &serde_json::json!(engine.extra_ports));
    let [(name, port)] = &Vec::from_iter(&engine.extra_ports)[..] else {
        panic!("one further port: {engine:?}");
    };
    assert_eq!(*name, "api");
    assert_ne!(**port, engine.port);
    assert_eq!(told["unreachable_nodes"], serde_json::json!([]));
    let unchanged = ask_again(&weir, "/api/engines?mesh=true", &list).await;
    assert!(unchanged.starts_with("HTTP/1.1 304 "), "{unchanged}");

    let logs = ask(
        &weir,
        "GET",
        &format!("/api/engines/{}/logs?lines=1", engine.id),
        "",
        "",
    )
    .await;
    assert_eq!(json(&logs)["lines"], serde_json::json!([engine.address]));
    let provisioning = ask(&weir, "GET", "/api/provisioning", "", "").await;
    let told = json(&provisioning);
    assert_eq!(told["can_provision"], true);
    assert_eq!(
        (&told["breaker"], &told["services"][0]["ready"]),
        (&"closed".into(), &1.into())
    );
    assert!(
        (weir
            .metric("weir_engines{service=\"web\",state=\"ready\"}")
            .await
            - 1.0)
            .abs()
            < 0.1
    );
    assert!(weir.metric("weir_provision_breaker_open").await < 0.1);

    let stopped = ask(
        &weir,
        "DELETE",
        &format!("/api/engines/{}?now=true", engine.id),
        "",
        "",
    )
    .await;
    assert_eq!(
        (stopped.status, &json(&stopped)["stops"]),
        (202, &(*engine.id).into())
    );
    ready(&weir, 0).await;
}

#[tokio::test]
async fn a_name_that_the_node_was_not_given_reads_nothing() {
    let weir = Weir::start("").await;
    for path in ["/api/status", "/api/engines", "/metrics"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: rebound.example\r\n\r\n");
        let mut client = Client::connect(weir.api).await;
        let answer = client.ask(&request).await.unwrap();
        assert_eq!(answer.status, 421, "{path}");
        let told = json(&answer);
        assert_eq!(told["error"], "misdirected");
        let message = told["message"].as_str().unwrap();
        assert!(message.contains("http_api.hosts"), "{message}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_by_field_and_bound() {
    let weir = Weir::start(&engines(0, 1)).await;
    let large = format!("{{\"service\": \"{}\"}}", "x".repeat(20 << 10));
    let origin = "Origin: http://elsewhere.example\r\n";
    for (method, path, head, body, status, what) in [
        ("POST", PROVISION, "", "{}", 400, "missing field `service`"),
        ("POST", PROVISION, "", &*large, 413, ""),
        (
            "POST",
            PROVISION,
            origin,
            "{\"service\": \"web\"}",
            403,
            "another site",
        ),
        (
            "POST",
            "/api/ports/nl",
            "",
            "5000",
            404,
            "no VPN is called `nl`",
        ),
        ("GET", "/api/ports/nl", "", "", 404, "no VPN is called `nl`"),
        (
            "DELETE",
            "/api/engines/web-9",
            "",
            "",
            404,
            "runs an engine `web-9`",
        ),
        (
            "GET",
            "/api/engines/web-9/logs",
            "",
            "",
            404,
            "runs an engine `web-9`",
        ),
        (
            "GET",
            "/api/engines/web-9/logs?lines=0",
            "",
            "",
            400,
            "lines: 0 is out of bounds (1 to 10000)",
        ),
    ] {
        let answer = ask(&weir, method, path, head, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert!(
            answer.text().contains(what),
            "{method} {path}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_key_that_no_wish_may_have_has_a_code_of_its_own() {
    let weir = Weir::start(&engines(0, 1)).await;
    let bound = "1 to 200 bytes without / and control characters";
    for (key, shown) in [
        ("a/b".to_owned(), "a/b".to_owned()),
        ("k".repeat(201), "k".repeat(80)),
    ] {
        let wish = serde_json::json!({ "service": "web", "key": key });
        let answer = ask(&weir, "POST", PROVISION, "", &wish.to_string()).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        let told = json(&answer);
        assert_eq!(
            (&told["code"], &told["field"]),
            (&"invalid_key".into(), &"key".into())
        );
        assert_eq!(
            (&told["value"], &told["bound"]),
            (&shown.into(), &bound.into())
        );
        assert_eq!(told["can_retry"], false);
    }
    let request = pb::ProvisionRequest {
        service: "web".to_owned(),
        idempotency_key: "a/b".to_owned(),
    };
    let answer = client(&weir).await.provision(request).await.unwrap();
    let Some(Outcome::Refusal(refusal)) = answer.into_inner().outcome else {
        panic!("a refusal is an answer");
    };
    let told = [refusal.code, refusal.field, refusal.value, refusal.bound];
    assert_eq!(told, ["invalid_key", "key", "a/b", bound]);
}

#[tokio::test]
async fn a_call_that_cannot_be_obeyed_says_which_engine_or_bound() {
    let weir = Weir::start(&engines(0, 1)).await;
    let logs = pb::EngineLogsRequest {
        engine_id: "web-9".to_owned(),
        lines_max: 10_001,
    };
    let mut client = client(&weir).await;
    let refused = client.engine_logs(logs).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let stop = pb::StopEngineRequest {
        engine_id: "web-9".to_owned(),
        now: false,
    };
    let refused = client.stop_engine(stop).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::NotFound, "this node runs no engine `web-9`")
    );
}
