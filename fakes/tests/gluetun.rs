//! The emulator answers as the Gluetun that it stands in for.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use weir_fakes::gluetun::{FakeGluetun, Listen, Settings};

fn start(settings: &[(&str, &str)]) -> FakeGluetun {
    let mut all = Settings::default();
    for (name, value) in settings {
        all.set(name, value).unwrap();
    }
    FakeGluetun::start(&Listen::default(), all).unwrap()
}

/// The status and the body.
fn ask(at: SocketAddr, request: &str) -> (u16, String) {
    ask_with(at, request, "", "")
}

fn ask_with(at: SocketAddr, request: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    let length = body.len();
    let text = format!("{request} HTTP/1.1\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[test]
fn each_version_answers_as_in_the_matrix() {
    let requests = [
        "GET /v1/openvpn/portforwarded",
        "GET /v1/portforward",
        "GET /v1/nonsense",
        "DELETE /v1/version",
        "PUT /v1/portforward",
        "GET /v1/portforward/",
        "GET /openvpn/portforwarded",
        "GET /v1/vpn/settings",
    ];
    for (version, statuses) in [
        ("v3.38", [200, 400, 400, 400, 400, 400, 308, 200]),
        ("v3.40", [200, 401, 401, 401, 401, 401, 308, 401]),
        ("v3.41.1", [301, 200, 401, 401, 401, 401, 308, 401]),
        ("v3.41.3", [301, 200, 404, 405, 400, 404, 308, 401]),
        ("head", [401, 401, 404, 405, 401, 404, 401, 401]),
    ] {
        let fake = start(&[("version", version)]);
        for (request, status) in requests.iter().zip(statuses) {
            assert_eq!(
                ask(fake.control(), request).0,
                status,
                "{version} {request}"
            );
        }
    }
}

#[test]
fn ports_are_told_in_the_shape_of_the_version() {
    for (version, ports, ports_null, body) in [
        ("v3.41.1", "", "false", "{\"port\":0}"),
        ("v3.41.1", "7", "false", "{\"port\":7}"),
        ("v3.41.1", "7,8", "false", "{\"ports\":[7,8]}"),
        ("v3.41.3", "", "false", "{\"port\":0,\"ports\":[]}"),
        ("v3.41.3", "", "true", "{\"port\":0,\"ports\":null}"),
        ("v3.41.3", "7,8", "false", "{\"port\":7,\"ports\":[7,8]}"),
    ] {
        let settings = [
            ("version", version),
            ("ports", ports),
            ("ports_null", ports_null),
        ];
        let fake = start(&settings);
        let told = ask(fake.control(), "GET /v1/portforward");
        assert_eq!(told, (200, body.to_owned()), "{settings:?}");
    }
}

#[test]
fn a_key_in_the_query_passes_and_breaks_most_routes() {
    let fake = start(&[("auth", "apikey")]);
    for (request, status) in [
        ("GET /v1/portforward", 401),
        ("GET /v1/portforward?api_key=wrong", 401),
        ("GET /v1/portforward?api_key=key", 200),
        ("GET /v1/publicip/ip?api_key=key", 400),
        ("GET /v1/vpn/status?api_key=key", 400),
    ] {
        assert_eq!(ask(fake.control(), request).0, status, "{request}");
    }
    let answer = ask_with(
        fake.control(),
        "GET /v1/vpn/status",
        "X-API-Key: key\r\n",
        "",
    );
    assert_eq!(answer.0, 200);
}

#[test]
fn it_is_steered_while_it_runs() {
    let fake = start(&[]);
    let ok = (200, "{}".to_owned());
    assert_eq!(ask(fake.admin(), "PUT /admin/set?ports=7&public_ip="), ok);
    let told = ask(fake.control(), "GET /v1/publicip/ip");
    assert_eq!(told.1, "{\"public_ip\":\"\"}");
    let calls = ask(fake.admin(), "GET /admin/calls").1;
    assert_eq!(calls, "{\"GET /v1/publicip/ip\":1}");
    assert_eq!(ask(fake.admin(), "PUT /admin/calls"), ok);
    assert_eq!(fake.calls("GET /v1/publicip/ip"), 0);
    let (status, why) = ask(fake.admin(), "PUT /admin/set?ports=8&status=fine");
    assert_eq!(status, 400);
    assert!(
        why.starts_with("status=`fine`: expected one of running"),
        "{why}"
    );
    let settings = ask(fake.admin(), "GET /admin/settings").1;
    assert!(
        settings.contains("\"ports\":\"7\""),
        "none is set when one is wrong: {settings}"
    );
    let restart = "PUT /admin/restart?down_ms=60000&ports=8";
    assert_eq!(ask(fake.admin(), restart), ok);
    let told = ask(fake.control(), "GET /v1/portforward").1;
    assert_eq!(told, "{\"port\":0,\"ports\":[]}");
    let told = ask(fake.control(), "GET /v1/vpn/status").1;
    assert_eq!(told, "{\"status\":\"starting\"}");
    fake.restart(Duration::ZERO, &[]).unwrap();
    let told = ask(fake.control(), "GET /v1/portforward").1;
    assert_eq!(told, "{\"port\":8,\"ports\":[8]}");
}

#[test]
fn a_tunnel_is_stopped_and_started_by_order() {
    let fake = start(&[]);
    for (body, status, outcome, health) in [
        (
            "{\"status\": \"stopped\"}",
            200,
            "{\"outcome\":\"stopped\"}",
            500,
        ),
        (
            "{\"status\":\"stopped\"}",
            200,
            "{\"outcome\":\"already stopped\"}",
            500,
        ),
        (
            "{\"status\":\"running\"}",
            200,
            "{\"outcome\":\"running\"}",
            200,
        ),
        ("{\"status\":\"sleeping\"}", 400, "invalid status", 200),
    ] {
        let answer = ask_with(fake.control(), "PUT /v1/vpn/status", "", body);
        assert_eq!(answer.0, status, "{body}");
        assert!(answer.1.starts_with(outcome), "{answer:?}");
        assert_eq!(ask(fake.health(), "GET /").0, health, "{body}");
    }
    let settings = ask_with(fake.control(), "PUT /v1/vpn/settings", "", "{}");
    assert_eq!(settings.0, 401);
    fake.set("auth", "none").unwrap();
    let settings = ask_with(fake.control(), "PUT /v1/vpn/settings", "", "{}");
    assert_eq!(settings, (200, "settings left unchanged".to_owned()));
}

#[test]
fn the_health_server_fails_before_its_first_check() {
    let fake = start(&[("first_check_ms", "60000")]);
    assert_eq!(ask(fake.health(), "GET /").0, 500);
    fake.set("first_check_ms", "0").unwrap();
    assert_eq!(ask(fake.health(), "GET /").0, 200);
}
