//! Engines behind a VPN that the configuration makes otherwise by now.

use weir_proto::node::v1::Engine;

use super::engines::{forwarded, node, pids, ready};
use super::gluetun;

#[tokio::test]
async fn the_engine_with_the_forwarded_port_is_renewed_in_place_and_there_are_never_two() {
    let fake = gluetun(&[]);
    let keys = |version: u32| {
        format!(
            "min = 2\nmax = 4\nreplacement_cooldown = \"0s\"\nenv = {{ VERSION = \"{version}\" }}"
        )
    };
    let mesh = node(&[("v1", &fake)], &keys(1)).await;
    let weir = &mesh.weir;
    let has_port = |engines: &[Engine]| {
        forwarded(engines, "v1").is_some_and(|one| one.p2p_port == 5914 && one.state == "ready")
    };
    let before = weir
        .runs("two engines, one with the port", |engines| {
            ready(engines) == 2 && engines.len() == 2 && has_port(engines)
        })
        .await;
    let text = std::fs::read_to_string(weir.config_path()).unwrap();
    let next = text.replace("VERSION = \"1\"", "VERSION = \"2\"");
    assert_ne!(text, next);
    std::fs::write(weir.config_path().with_extension("next"), next).unwrap();
    std::fs::rename(
        weir.config_path().with_extension("next"),
        weir.config_path(),
    )
    .unwrap();

    let old = pids(&before);
    let mut was_outdated = false;
    let after = weir
        .runs("both are renewed, and one has the port", |engines| {
            let with_port = engines.iter().filter(|engine| engine.forwarded);
            let with_port: Vec<&Engine> = with_port.collect();
            assert!(with_port.len() <= 1, "{with_port:#?}");
            was_outdated |= engines.iter().any(|engine| engine.outdated);
            let is_renewed = engines.iter().all(|engine| !engine.outdated);
            was_outdated && is_renewed && ready(engines) >= 2 && has_port(engines)
        })
        .await;
    assert!(
        pids(&after).iter().all(|new| !old.contains(new)),
        "{after:#?}"
    );
}
