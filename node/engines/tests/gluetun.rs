//! The client against an emulator of each version of Gluetun, over real sockets.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use weir_core::port_cache::{Failure, Port};
use weir_core::vpn::{Control, TunnelStatus};
use weir_engines::gluetun::{Client, ControlServer, Credential, Error, Tcp, Tunnel};
use weir_fakes::gluetun::{FakeGluetun, Listen, Settings};

const LIMIT: Duration = Duration::from_secs(10);
const OLD: &str = "GET /v1/openvpn/portforwarded";
const NEW: &str = "GET /v1/portforward";

fn start(settings: &[(&str, &str)]) -> FakeGluetun {
    let mut all = Settings::default();
    for (name, value) in settings {
        all.set(name, value).unwrap();
    }
    FakeGluetun::start(&Listen::default(), all).unwrap()
}

fn client(fake: &FakeGluetun, credential: &Credential) -> Client {
    Client::new(&fake.control().to_string(), credential, Arc::new(Tcp)).unwrap()
}

fn plain(fake: &FakeGluetun) -> Client {
    client(fake, &Credential::None)
}

async fn port(client: &Client) -> Result<Option<Port>, Error> {
    client.forwarded_port(LIMIT).await
}

fn key(key: &str) -> Credential {
    Credential::ApiKey(key.into())
}

fn basic(password: &str) -> Credential {
    Credential::Basic {
        user: "user".into(),
        password: password.into(),
    }
}

#[tokio::test]
async fn every_version_tells_its_port_and_the_route_that_worked_comes_first() {
    for (version, old_calls, new_calls) in [
        ("v3.38", 3, 1),
        ("v3.40", 3, 1),
        ("v3.41.1", 0, 3),
        ("v3.41.3", 0, 3),
    ] {
        let fake = start(&[("version", version)]);
        let client = plain(&fake);
        for _ in 0..3 {
            assert_eq!(port(&client).await.unwrap(), Port::new(5914), "{version}");
        }
        let calls = (fake.calls(OLD), fake.calls(NEW));
        assert_eq!(calls, (old_calls, new_calls), "{version}");
    }
}

#[tokio::test]
async fn a_gluetun_that_becomes_another_version_is_followed() {
    let fake = start(&[("version", "v3.38")]);
    let client = plain(&fake);
    let versions = ["v3.38", "v3.41.1", "v3.41.3", "v3.40", "v3.41.3", "v3.38"];
    for version in versions {
        fake.set("version", version).unwrap();
        for _ in 0..2 {
            assert_eq!(port(&client).await.unwrap(), Port::new(5914), "{version}");
        }
    }
    fake.set("version", "v3.41.3").unwrap();
    port(&client).await.unwrap();
    let (old, new) = (fake.calls(OLD), fake.calls(NEW));
    port(&client).await.unwrap();
    let calls = (fake.calls(OLD) - old, fake.calls(NEW) - new);
    assert_eq!(calls, (0, 1), "a redirect is not followed again and again");
}

#[tokio::test]
async fn a_credential_opens_what_its_role_names() {
    for version in ["v3.40", "v3.41.1", "v3.41.3", "head"] {
        for (auth, right, wrong) in [
            ("apikey", key("key"), key("other")),
            ("basic", basic("password"), basic("other")),
        ] {
            let fake = start(&[("version", version), ("auth", auth)]);
            let found = port(&client(&fake, &right)).await;
            assert_eq!(found.unwrap(), Port::new(5914), "{version} {auth}");
            for credential in [wrong, Credential::None] {
                let error = port(&client(&fake, &credential)).await.unwrap_err();
                let failure = error.failure();
                assert_eq!(failure, Failure::AuthRequired, "{version} {auth}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn access_denied_is_not_a_missing_port() {
    // The newest denies everything without a role; a role made for the old route opens only a redirect.
    for (version, auth, routes, failure) in [
        ("head", "default", "", Some(Failure::AuthRequired)),
        ("head", "none", "", None),
        ("v3.41.3", "none", OLD, Some(Failure::AuthRequired)),
        ("v3.41.1", "none", OLD, Some(Failure::AuthRequired)),
        ("v3.40", "none", OLD, None),
        ("v3.41.3", "none", NEW, None),
    ] {
        let settings = [("version", version), ("auth", auth), ("routes", routes)];
        let fake = start(&settings);
        let found = port(&plain(&fake)).await;
        let failed = found.as_ref().err().map(Error::failure);
        assert_eq!(failed, failure, "{settings:?}: {found:?}");
        if failure.is_some() {
            assert!(fake.calls(OLD) > 0 && fake.calls(NEW) > 0, "{settings:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_no_gluetun_is_told_as_one_that_cannot_do_it() {
    for status in ["400", "404", "405"] {
        let fake = start(&[("fault", "status"), ("fault_status", status)]);
        let error = port(&plain(&fake)).await.unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        assert_eq!(error.failure(), Failure::Unsupported);
    }
}

#[tokio::test]
async fn every_shape_of_a_port_is_understood() {
    for version in ["v3.41.1", "v3.41.3"] {
        for (ports, ports_null, port_found) in [
            ("", "false", 0),
            ("", "true", 0),
            ("7", "false", 7),
            ("7,8", "false", 7),
        ] {
            let settings = [
                ("version", version),
                ("ports", ports),
                ("ports_null", ports_null),
            ];
            let fake = start(&settings);
            let found = port(&plain(&fake)).await.unwrap();
            assert_eq!(found, Port::new(port_found), "{settings:?}");
        }
    }
}

#[tokio::test]
async fn whatever_goes_wrong_ends_in_an_error_that_says_what() {
    type Check = fn(&Error) -> bool;
    let faults: [(&str, Check); 9] = [
        ("reset", |e| {
            matches!(e, Error::Broken { .. } | Error::Connect { .. })
        }),
        ("close", |e| matches!(e, Error::Broken { .. })),
        ("cut", |e| matches!(e, Error::Broken { .. })),
        ("status", |e| matches!(e, Error::Status { status: 500, .. })),
        ("huge", |e| matches!(e, Error::TooLarge { .. })),
        ("garbage", |e| matches!(e, Error::Malformed { .. })),
        ("redirect_away", |e| {
            e.to_string().ends_with("to another server")
        }),
        ("redirect_loop", |e| matches!(e, Error::Redirect { .. })),
        ("none", |_| false),
    ];
    for (fault, is_expected) in faults {
        let fake = start(&[("fault", fault)]);
        match port(&plain(&fake)).await {
            Ok(port) => assert_eq!((fault, port), ("none", Port::new(5914))),
            Err(error) => {
                assert!(is_expected(&error), "{fault}: {error:?}");
                assert_eq!(error.failure(), Failure::Unreachable, "{fault}");
            }
        }
        assert!(fake.calls(OLD) + fake.calls(NEW) <= 4, "{fault} is bounded");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_no_more_than_the_deadline() {
    let limit = Duration::from_millis(200);
    let fake = start(&[("fault", "hang"), ("slow_ms", "60000")]);
    for fault in ["hang", "slow"] {
        fake.set("fault", fault).unwrap();
        let begun = tokio::time::Instant::now();
        let error = plain(&fake).forwarded_port(limit).await.unwrap_err();
        assert!(matches!(error, Error::Late { .. }), "{fault}: {error}");
        assert!(begun.elapsed() < LIMIT, "{fault}");
    }
    fake.set("slow_ms", "20").unwrap();
    assert_eq!(port(&plain(&fake)).await.unwrap(), Port::new(5914));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_by_its_address() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let client = Client::new(&address, &key("hunter2"), Arc::new(Tcp)).unwrap();
    let error = port(&client).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn a_look_tells_status_and_address_as_far_as_they_may_be_seen() {
    let fake = start(&[]);
    let client = plain(&fake);
    let at = "198.51.100.7".parse().ok();
    for (word, status, public_ip) in [
        ("running", TunnelStatus::Running, at),
        ("starting", TunnelStatus::Starting, None),
        ("stopping", TunnelStatus::Stopping, None),
        ("stopped", TunnelStatus::Stopped, None),
        ("crashed", TunnelStatus::Crashed, None),
        ("completed", TunnelStatus::Completed, None),
    ] {
        fake.set("status", word).unwrap();
        // An address says that the tunnel is there.
        let status = Some(status).filter(|_| public_ip.is_none());
        let look = Control { status, public_ip };
        assert_eq!(client.look(LIMIT).await.unwrap(), look, "{word}");
    }
    let calls = |route| fake.calls(route);
    assert_eq!(
        (calls("GET /v1/publicip/ip"), calls("GET /v1/vpn/status")),
        (6, 5)
    );
    fake.set("auth", "apikey").unwrap();
    assert_eq!(client.look(LIMIT).await.unwrap(), Control::default());
    fake.set("fault", "reset").unwrap();
    assert!(client.look(LIMIT).await.is_err());
}

#[tokio::test]
async fn a_tunnel_is_made_anew_in_place() {
    let fake = start(&[("auth", "apikey"), ("vpn_type", "wireguard")]);
    let client = client(&fake, &key("key"));
    assert_eq!(client.version(LIMIT).await.unwrap(), "fake");
    client.set_tunnel(Tunnel::Stopped, LIMIT).await.unwrap();
    assert_eq!(client.status(LIMIT).await.unwrap(), TunnelStatus::Stopped);
    assert_eq!(port(&client).await.unwrap(), None);
    client.restart_tunnel(LIMIT).await.unwrap();
    assert_eq!(client.status(LIMIT).await.unwrap(), TunnelStatus::Running);
    assert_eq!(fake.calls("PUT /v1/vpn/status"), 3);
    let denied = plain(&fake).restart_tunnel(LIMIT).await.unwrap_err();
    assert!(matches!(denied, Error::AuthRequired { .. }), "{denied}");
    assert_eq!(client.status(LIMIT).await.unwrap(), TunnelStatus::Running);
}

#[tokio::test]
async fn a_secret_is_in_no_error_and_in_no_debug_output() {
    for credential in [key("hunter2"), basic("hunter2")] {
        let fake = start(&[("auth", "apikey"), ("version", "head")]);
        let client = client(&fake, &credential);
        let error = port(&client).await.unwrap_err();
        let shown = format!("{client:?} {error:?} {error} {credential:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        // The password's base64.
        assert!(!shown.contains("aHVudGVy"), "{shown}");
    }
}

/// Stops, and fails so often to start.
struct FailsToStart(AtomicU32);

impl ControlServer for FailsToStart {
    fn forwarded_port(&self, _: Duration) -> BoxFuture<'_, Result<Option<Port>, Error>> {
        Box::pin(async { Ok(None) })
    }

    fn public_ip(&self, _: Duration) -> BoxFuture<'_, Result<Option<std::net::IpAddr>, Error>> {
        Box::pin(async { Ok(None) })
    }

    fn status(&self, _: Duration) -> BoxFuture<'_, Result<TunnelStatus, Error>> {
        Box::pin(async { Ok(TunnelStatus::Other) })
    }

    fn version(&self, _: Duration) -> BoxFuture<'_, Result<String, Error>> {
        Box::pin(async { Ok(String::new()) })
    }

    fn set_tunnel(&self, wanted: Tunnel, limit: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let fails = wanted == Tunnel::Running
            && self
                .0
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok();
        let server = String::from("vpn");
        Box::pin(async move {
            match fails {
                true => Err(Error::Late { server, limit }),
                false => Ok(()),
            }
        })
    }
}

#[tokio::test]
async fn a_tunnel_that_was_stopped_is_started_with_two_tries_or_told_as_stopped() {
    let flaky = FailsToStart(AtomicU32::new(1));
    flaky.restart_tunnel(LIMIT).await.unwrap();
    let broken = FailsToStart(AtomicU32::new(9));
    let error = broken.restart_tunnel(LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::LeftStopped(_)), "{error}");
}
