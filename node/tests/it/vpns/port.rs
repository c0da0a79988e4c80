//! A node of its own, and control servers of every version.

use std::time::Duration;

use tokio::time::Instant;
use weir_proto::node::v1::VpnPort;

use super::{FAST, gluetun, vpn};
use crate::common::Weir;

/// Settings, keys of the VPN, and the state and port that a look-up gets.
type Row = (
    &'static [(&'static str, &'static str)],
    &'static str,
    (&'static str, u32),
);

const KEY: &str = "api_key = \"env:GLUETUN_KEY\"";
const NO_KEY: &str = "";

const VERSIONS: [Row; 9] = [
    (&[("version", "v3.38")], NO_KEY, ("ready", 5914)),
    (&[("version", "v3.40")], NO_KEY, ("ready", 5914)),
    (&[("version", "v3.41.1")], NO_KEY, ("ready", 5914)),
    (
        &[("version", "v3.41.1"), ("ports", "5914,6021")],
        NO_KEY,
        ("ready", 5914),
    ),
    (
        &[("version", "head"), ("auth", "apikey"), ("key", "secret")],
        KEY,
        ("ready", 5914),
    ),
    (
        &[("version", "head"), ("auth", "apikey"), ("key", "another")],
        KEY,
        ("auth_required", 0),
    ),
    (&[("version", "head")], NO_KEY, ("auth_required", 0)),
    (&[("ports", "")], NO_KEY, ("not_ready", 0)),
    (
        &[("ports", ""), ("ports_null", "true")],
        NO_KEY,
        ("not_ready", 0),
    ),
];

#[tokio::test]
async fn every_version_of_gluetun_is_understood_and_no_answer_is_taken_for_another() {
    let fakes: Vec<_> = VERSIONS.iter().map(|row| gluetun(row.0)).collect();
    let named = fakes.iter().zip(&VERSIONS).enumerate();
    let config: String = named
        .map(|(i, (fake, row))| vpn(&format!("v{i}"), fake, row.1))
        .collect();
    let weir = Weir::start_in("", &config, &[("GLUETUN_KEY", "secret")]).await;
    for (i, (settings, _, expected)) in VERSIONS.iter().enumerate() {
        let port = weir.port(&format!("v{i}")).await;
        assert_eq!(
            (port.state.as_str(), port.port),
            *expected,
            "{settings:?}: {port:#?}"
        );
        // Whatever is wrong with the credential is an alarm, and the secret is not in it.
        let alarms = port.alarms.join("\n");
        assert_eq!(
            alarms.contains("denies access"),
            expected.0 == "auth_required",
            "{port:#?}"
        );
        assert!(!alarms.contains("secret"));
    }
    let listed = weir.ports().await;
    assert_eq!(listed.len(), VERSIONS.len());
    let told = listed.iter().map(|port| (port.state.as_str(), port.port));
    assert!(told.eq(VERSIONS.iter().map(|row| row.2)), "{listed:#?}");
    // A node of its own asks for itself.
    assert!(listed.iter().all(|port| port.owner == listed[0].owner));
}

#[tokio::test]
async fn while_a_control_server_hangs_its_last_port_is_told_and_marked_as_stale() {
    let fake = gluetun(&[]);
    let weir = Weir::start(&(vpn("v1", &fake, "") + FAST)).await;
    let before = weir.port("v1").await;
    assert_eq!((before.port, before.stale), (5914, false));
    fake.set("fault", "hang").unwrap();
    let is_out = |port: &VpnPort| port.stale && port.state == "unreachable";
    let stale = weir.knows("v1", "stale, and why", is_out).await;
    assert_eq!(stale.port, 5914);
    assert!(stale.alarms[0].contains("did not answer"), "{stale:#?}");
    let since = Instant::now();
    let told = weir.port("v1").await;
    assert_eq!((told.port, told.stale), (5914, true));
    assert!(
        since.elapsed() < Duration::from_millis(400),
        "it waits: {:?}",
        since.elapsed()
    );
    assert_eq!(told.picture.unwrap().settled_port, 5914);
    fake.set("fault", "none").unwrap();
    let after = weir
        .knows("v1", "ready again", |port| port.state == "ready")
        .await;
    assert_eq!(
        (after.port, after.stale, after.alarms.len()),
        (5914, false, 0)
    );
    assert_eq!(after.epoch, before.epoch, "nothing was known to be void");
}

#[tokio::test]
async fn another_port_is_told_at_once_and_settled_when_it_is_confirmed() {
    let fake = gluetun(&[]);
    let weir = Weir::start(&(vpn("v1", &fake, "") + FAST)).await;
    weir.knows("v1", "the port", |port| port.port == 5914).await;
    fake.restart(Duration::ZERO, &[("ports", "6021")]).unwrap();
    let settled = |port: &VpnPort| port.picture.as_ref().map(|picture| picture.settled_port);
    let told = weir
        .knows("v1", "the new port", |port| port.port == 6021)
        .await;
    assert_eq!(settled(&told), Some(5914));
    let after = weir
        .knows("v1", "the new port settled", |port| {
            settled(port) == Some(6021)
        })
        .await;
    assert_eq!((after.port, after.health.as_str()), (6021, "healthy"));
}
