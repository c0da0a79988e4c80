//! Ports of VPNs.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use weir_fakes::gluetun::{FakeGluetun, Listen, Settings};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::port_cache_client::PortCacheClient;

use super::{ask, ask_again, json};
use crate::common::{PATIENCE, Weir};
use crate::grpc::channel;
use crate::operator::wait_until;

const FIRST: u16 = 5_914;
const SECOND: &str = "6001";

/// A node with one VPN, which an emulator plays.
async fn node() -> (Weir, FakeGluetun) {
    let gluetun = FakeGluetun::start(&Listen::default(), Settings::default()).unwrap();
    let url = format!("http://{}", gluetun.control());
    let weir = Weir::start(&format!("[vpns.nl]\ncontrol_url = \"{url}\"\n")).await;
    wait_until(&weir, "the VPN is healthy", async || {
        let port = json(&ask(&weir, "GET", "/api/ports/nl", "", "").await);
        port["state"] == "ready" && port["health"] != "unknown"
    })
    .await;
    (weir, gluetun)
}

#[tokio::test]
async fn a_vpn_that_tells_of_another_port_is_asked_anew_at_once() {
    let (weir, gluetun) = node().await;
    let before = json(&ask(&weir, "GET", "/api/ports", "", "").await);
    let before = &before["ports"][0];
    assert_eq!(
        (&before["vpn"], &before["port"]),
        (&"nl".into(), &FIRST.into())
    );
    assert_eq!(before["stale"], false);
    let list = ask(&weir, "GET", "/api/ports", "", "").await;
    wait_until(
        &weir,
        "the port is older and its list the same",
        async || {
            let now = ask(&weir, "GET", "/api/ports", "", "").await;
            let age = |answer| json(answer)["ports"][0]["age_ms"].as_u64();
            age(&now) > age(&list)
        },
    )
    .await;
    let same = ask_again(&weir, "/api/ports", &list).await;
    assert!(same.starts_with("HTTP/1.1 304 "), "{same}");
    gluetun.set("ports", SECOND).unwrap();
    let told = ask(&weir, "POST", "/api/ports/nl", "", "whatever it sends").await;
    assert_eq!(told.status, 202, "{told:?}");
    let void = json(&told);
    assert!(void["epoch"].as_u64() > before["epoch"].as_u64(), "{void}");
    // Whoever asks now waits for the new one: the old one is never told again.
    let after = json(&ask(&weir, "GET", "/api/ports/nl", "", "").await);
    assert_eq!(after["port"].to_string(), SECOND, "{after}");

    let calls = weir
        .metric("weir_port_cache_upstream_calls_total{vpn=\"nl\"}")
        .await;
    assert!(calls >= 2.0, "{calls}");
    assert!((weir.metric("weir_vpn_up{vpn=\"nl\"}").await - 1.0).abs() < 0.1);
    let (code, text) = weir.command(&["ports"]).await;
    assert!(code == 0 && text.contains(SECOND), "{text}");
    let (code, text) = weir
        .command(&["ports", "invalidate", "nl", "-o", "json"])
        .await;
    assert!(code == 0 && text.contains("\"epoch\""), "{text}");
}

#[tokio::test]
async fn who_follows_ports_hears_of_changes_at_once_and_of_none_each_second() {
    let (weir, gluetun) = node().await;
    let mut client = PortCacheClient::new(channel(weir.grpc).await);
    let lists = client.watch_ports(pb::ListPortsRequest {}).await.unwrap();
    let mut lists = lists.into_inner();
    for _ in 0..3 {
        let told = timeout(Duration::from_secs(2), lists.message()).await;
        let list = told
            .expect("it tells though nothing changes")
            .unwrap()
            .unwrap();
        let picture = list.ports[0].picture.clone().unwrap();
        assert_eq!(picture.port, u32::from(FIRST));
        assert!(
            picture.asked_age_ms >= Some(picture.told_age_ms),
            "{picture:?}"
        );
        assert!(picture.incarnation > 0);
    }
    gluetun.set("ports", SECOND).unwrap();
    let request = pb::InvalidatePortRequest {
        vpn: "nl".to_owned(),
        told: false,
    };
    client.invalidate(request).await.unwrap();
    let since = Instant::now();
    let changed = async {
        loop {
            let list = lists.message().await.unwrap().unwrap();
            if list.ports[0].port.to_string() == SECOND {
                return;
            }
        }
    };
    timeout(PATIENCE, changed).await.expect("it changes");
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
}

/// What the README has Gluetun run for each new port, words and all; only who is told and with which token is put in.
fn up_command(weir: &Weir, token: &str) -> String {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let (_, rest) = readme
        .split_once("VPN_PORT_FORWARDING_UP_COMMAND=")
        .expect("the README tells the command");
    let (command, _) = rest.split_once('`').unwrap();
    command
        .replace('\n', " ")
        .replace("TOKEN", token)
        .replace("NODE:7480", &weir.api.to_string())
}

/// Waits until Gluetun's command has ended so.
async fn command_ended(weir: &Weir, gluetun: &FakeGluetun, code: u8) {
    let what = format!("the command ends with {code}");
    let ended = || gluetun.calls(&format!("up_command {code}"));
    wait_until(weir, &what, async || ended() > 0).await;
}

#[tokio::test]
async fn where_there_is_a_token_only_who_carries_it_is_answered() {
    let config = "[vpns.nl]\ncontrol_url = \"http://127.0.0.1:1\"\n";
    let weir = Weir::start_in("", config, &[("API_KEY", "s3cret")]).await;
    for (method, path) in [
        ("GET", "/api/health"),
        ("GET", "/metrics"),
        ("POST", "/api/ports/nl"),
    ] {
        let none = ask(&weir, method, path, "", "").await;
        assert_eq!(
            (none.status, none.header("www-authenticate")),
            (401, Some("Bearer")),
            "{path}"
        );
        let wrong = ask(&weir, method, path, "Authorization: Bearer s3cre\r\n", "").await;
        assert_eq!(wrong.status, 401, "{path}");
    }
}

#[tokio::test]
async fn a_port_that_gluetuns_command_tells_of_is_known_at_once_and_only_with_the_right_token() {
    // The command would be told of as one that cannot be run: this machine is to have wget, as Gluetun's image has.
    assert!(
        std::process::Command::new("wget")
            .arg("--version")
            .output()
            .is_ok()
    );
    let gluetun = FakeGluetun::start(&Listen::default(), Settings::default()).unwrap();
    // It is asked for once in an hour, and never because of what it tells of its tunnel, which stays the same.
    let config = format!(
        "[port_cache]\nttl = \"1h\"\nstale_max = \"2h\"\nhealth_interval = \"200ms\"\n\
         [vpns.nl]\ntells_port = true\ncontrol_url = \"http://{}\"\n",
        gluetun.control()
    );
    let weir = Weir::start_in("", &config, &[("API_KEY", "s3cret")]).await;
    let head = "Authorization: Bearer s3cret\r\n";
    let port = async || json(&ask(&weir, "GET", "/api/ports/nl", head, "").await);
    wait_until(&weir, "the VPN has its port and is up", async || {
        let port = port().await;
        port["state"] == "ready" && port["health"] == "healthy"
    })
    .await;
    let before = port().await;
    let calls = || gluetun.calls("GET /v1/portforward");
    let calls_before = calls();

    gluetun
        .set("up_command", &up_command(&weir, "wrong"))
        .unwrap();
    gluetun.set("ports", "6000").unwrap();
    // wget: the server answered with an error, here 401.
    command_ended(&weir, &gluetun, 6).await;
    let after = port().await;
    assert_eq!(
        (&after["port"], &after["epoch"]),
        (&FIRST.into(), &before["epoch"])
    );
    assert_eq!(calls(), calls_before, "who has no token has no call made");

    gluetun
        .set("up_command", &up_command(&weir, "s3cret"))
        .unwrap();
    gluetun.set("ports", SECOND).unwrap();
    command_ended(&weir, &gluetun, 0).await;
    let after = port().await;
    assert_eq!(after["port"].to_string(), SECOND, "{after}");
    assert!(
        after["epoch"].as_u64() > before["epoch"].as_u64(),
        "{after}"
    );
    assert!(calls() > calls_before);
    assert!(!weir.log().contains("s3cret"));
}
