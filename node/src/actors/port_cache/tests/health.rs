//! How a VPN is, and what follows from that for its port and its engines.

use tokio::time::sleep;
use weir_core::vpn::State;

use super::*;

const IN_DOCKER: &str = "container = \"gluetun\"\n";

fn docked(more: &str) -> String {
    format!("{FILE}{IN_DOCKER}{more}")
}

#[tokio::test(start_paused = true)]
async fn both_edges_of_health_void_the_port_and_only_what_lasts_is_stable() {
    run(async {
        let mut rig = Rig::start(FILE).await;
        let epoch = rig.view().epoch;
        rig.says(|says| says.status = TunnelStatus::Crashed);
        sleep(5 * SECOND).await;
        assert_eq!(rig.view().health, State::Healthy, "one look is not enough");
        sleep(5 * SECOND).await;
        assert_eq!(rig.view().health, State::Unhealthy);
        assert_eq!(rig.view().epoch, epoch + 1);
        rig.says(|says| says.status = TunnelStatus::Running);
        sleep(5 * SECOND).await;
        assert!(matches!(rig.view().health, State::Recovering { .. }));
        // It came back, and its tunnel is another one.
        assert!(rig.view().epoch > epoch + 1);
        assert_eq!(rig.happened(), []);
        sleep(10 * SECOND).await;
        assert_eq!(rig.view().health, State::Stable);
        assert_eq!(rig.happened(), [VpnEvent::Stable]);
        sleep(600 * SECOND).await;
        assert_eq!(rig.happened(), []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_was_made_anew_takes_the_network_of_its_engines_along() {
    run(async {
        let mut rig = Rig::start(&docked("")).await;
        rig.docker.has.send_replace(container("a", Health::Healthy));
        sleep(20 * SECOND).await;
        let before = rig.view();
        assert_eq!(rig.happened(), []);
        rig.docker.has.send_replace(container("b", Health::Healthy));
        sleep(5 * SECOND).await;
        let after = rig.view();
        let seen = |view: &VpnView| view.network.as_ref().map(|one| one.id.clone());
        assert_eq!(
            (seen(&before).as_deref(), seen(&after).as_deref()),
            (Some("a"), Some("b"))
        );
        assert_eq!(after.networks, before.networks + 1);
        assert!(after.epoch > before.epoch);
        sleep(60 * SECOND).await;
        assert_eq!(rig.happened(), [VpnEvent::Stable]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_was_made_anew_in_place_voids_the_port_and_no_network() {
    run(async {
        let mut rig = Rig::start(FILE).await;
        sleep(5 * SECOND).await;
        let before = rig.view();
        rig.says(|says| says.status = TunnelStatus::Starting);
        sleep(5 * SECOND).await;
        rig.says(|says| says.status = TunnelStatus::Running);
        sleep(5 * SECOND).await;
        let after = rig.view();
        assert_eq!(after.health, State::Healthy);
        assert_eq!(
            (after.tunnels, after.networks),
            (before.tunnels + 1, before.networks)
        );
        assert_eq!(after.epoch, before.epoch + 1);
        assert_eq!(rig.happened(), []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_forced_once_in_an_outage_and_again_in_the_next() {
    run(async {
        let rig = Rig::start(&docked("restart_after = \"30s\"\n")).await;
        rig.docker.has.send_replace(container("a", Health::Healthy));
        sleep(20 * SECOND).await;
        for outage in 1..=2 {
            rig.docker
                .has
                .send_replace(container("a", Health::Unhealthy));
            sleep(35 * SECOND).await;
            assert_eq!(rig.restarts(), outage - 1, "not before its time");
            sleep(600 * SECOND).await;
            assert_eq!(rig.restarts(), outage);
            rig.docker.has.send_replace(container("a", Health::Healthy));
            sleep(30 * SECOND).await;
            assert_eq!(rig.view().health, State::Stable);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_vpn_is_left_alone_while_its_container_restarts() {
    run(async {
        let rig = Rig::start(&docked("restart_after = \"10s\"\n")).await;
        rig.docker
            .has
            .send_replace(container("a", Health::Unhealthy));
        while rig.restarts() == 0 {
            sleep(100 * MS).await;
        }
        let calls = rig.calls();
        sleep(14 * SECOND).await;
        assert_eq!(rig.calls(), calls);
        sleep(60 * SECOND).await;
        assert!(rig.calls() > calls);
    })
    .await;
}
