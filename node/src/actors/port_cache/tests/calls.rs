//! How often a control server is called, apart for its port and for its health, and how soon a change is seen.

use tokio::time::{Instant, sleep};

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// Calls in an hour in which nothing happens: for the port, and for health.
async fn calls_in_an_hour(file: &str, docker: Option<Container>) -> (usize, usize) {
    let rig = Rig::start_saying(file, Says::default()).await;
    rig.docker.has.send_replace(docker);
    sleep(60 * SECOND).await;
    let before = (rig.calls(), rig.looks());
    sleep(HOUR).await;
    assert_eq!(rig.view().health, weir_core::vpn::State::Healthy);
    (rig.calls() - before.0, rig.looks() - before.1)
}

#[tokio::test(start_paused = true)]
async fn nothing_but_the_port_is_asked_for_where_docker_tells_how_the_vpn_is() {
    run(async {
        let docked = format!("{FILE}container = \"gluetun\"\n");
        let tells = "tells_port = true\n";
        let healthy = || container("a", Health::Healthy);
        let unchecked = || container("a", Health::None);
        // Once in the time to live less the lead, or in 30 s where that is said and the VPN does not tell itself.
        let rows = [
            (docked.clone(), healthy(), (72, 0)),
            (format!("{WATCHED}{docked}"), healthy(), (120, 0)),
            (format!("{WATCHED}{docked}{tells}"), healthy(), (72, 0)),
            // Where nobody else tells it, health is one call each 5 s, apart from the port.
            (docked, unchecked(), (72, 720)),
            (FILE.to_owned(), None, (72, 720)),
            (format!("{WATCHED}{FILE}"), None, (120, 720)),
            (format!("{FILE}forwards_port = false\n"), None, (0, 720)),
        ];
        for (file, docker, calls) in rows {
            assert_eq!(calls_in_an_hour(&file, docker).await, calls, "{file}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_without_an_address_costs_a_second_call() {
    run(async {
        let rig = Rig::start(FILE).await;
        rig.says(|says| says.status = TunnelStatus::Starting);
        let before = (rig.looks(), rig.server.statuses.load(Ordering::Relaxed));
        sleep(50 * SECOND).await;
        assert_eq!(rig.looks() - before.0, 10);
        assert_eq!(rig.server.statuses.load(Ordering::Relaxed) - before.1, 10);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_port_that_changes_in_the_same_tunnel_is_seen_within_the_watch_interval() {
    run(async {
        let watched = format!("{WATCHED}{FILE}");
        let docked = format!("{watched}container = \"gluetun\"\n");
        for (file, docker) in [
            (&*watched, None),
            (&*docked, container("a", Health::Healthy)),
        ] {
            let rig = Rig::start(file).await;
            rig.docker.has.send_replace(docker);
            for (number, wait) in [(2222, 0), (3333, 29), (4444, 44)] {
                sleep(wait * SECOND).await;
                rig.says(|says| says.port = number);
                let since = Instant::now();
                while rig.view().good.is_none_or(|(port, _)| port.get() != number) {
                    sleep(100 * MS).await;
                }
                let seen = since.elapsed();
                assert!(seen <= 30 * SECOND + 200 * MS, "{file}: {seen:?}");
                while rig.settled() != number {
                    sleep(100 * MS).await;
                }
                let settled = since.elapsed();
                assert!(settled <= 32 * SECOND, "{file}: {settled:?}");
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_port_that_comes_after_a_long_time_without_is_seen_within_the_watch_interval() {
    run(async {
        let none = Says {
            port: 0,
            ..Says::default()
        };
        let rig = Rig::start_saying(&format!("{WATCHED}{FILE}"), none).await;
        sleep(900 * SECOND).await;
        rig.says(|says| says.port = 2222);
        let since = Instant::now();
        while rig.settled() != 2222 {
            sleep(100 * MS).await;
        }
        assert!(since.elapsed() <= 31 * SECOND, "{:?}", since.elapsed());
    })
    .await;
}
