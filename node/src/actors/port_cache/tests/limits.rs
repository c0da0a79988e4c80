//! Limits that a configuration changes while VPNs are watched.

use tokio::time::Instant;
use weir_core::vpn::State;

use super::*;

/// Often enough asked that a test sees each change.
const QUICK: &str = "ttl = \"4s\"\nrefresh_lead = \"2s\"\n";

fn with(limits: &str) -> String {
    format!("{FILE}[port_cache]\n{QUICK}{limits}\n")
}

fn has_alarm(rig: &Rig, text: &str) -> bool {
    rig.view().alarms.iter().any(|alarm| alarm.contains(text))
}

#[tokio::test(start_paused = true)]
async fn a_missing_port_is_an_alarm_as_soon_as_the_limit_says_and_a_new_limit_holds_at_once() {
    run(async {
        let rig = Rig::start(&with("missing_max = \"10m\"")).await;
        rig.says(|says| says.port = 0);
        sleep(200 * SECOND).await;
        assert_eq!(rig.view().alarms, [""; 0]);
        rig.configure(&with("missing_max = \"1s\"")).await;
        sleep(6 * SECOND).await;
        assert_eq!(rig.view().alarms.len(), 1, "{:?}", rig.view().alarms);
    })
    .await;
}

/// Whether a port that changes three times within half a minute flaps.
async fn flaps(limits: &str) -> bool {
    let rig = Rig::start(&with(limits)).await;
    for port in [2222, 3333, 4444] {
        rig.says(|says| says.port = port);
        sleep(10 * SECOND).await;
    }
    has_alarm(&rig, "changes so often")
}

#[tokio::test(start_paused = true)]
async fn a_port_flaps_when_it_changes_more_often_within_the_window_than_it_may() {
    run(async {
        assert!(!flaps("changes_max = 3").await);
        assert!(flaps("changes_max = 2").await);
        assert!(!flaps("changes_max = 2\nchanges_window = \"12s\"").await);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn ports_that_take_turns_are_told_to_do_so_for_as_long_as_the_window_says() {
    run(async {
        let rig = Rig::start(&with("changes_max = 2\nchanges_window = \"50m\"")).await;
        for port in [2222, 3333, 4444] {
            rig.says(|says| says.port = port);
            sleep(10 * SECOND).await;
        }
        let calm_in = rig.view().calm_at.unwrap() - Instant::now();
        let window = 3_000 * SECOND;
        assert!(
            (window - 60 * SECOND..=window).contains(&calm_in),
            "{calm_in:?}"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_without_an_address_is_up_only_where_none_is_needed_and_that_changes_live() {
    run(async {
        let rig = Rig::start(FILE).await;
        rig.says(|says| says.has_no_address = true);
        sleep(60 * SECOND).await;
        assert_eq!(rig.view().health, State::Unhealthy);
        rig.configure(&format!("{FILE}needs_public_ip = false\n"))
            .await;
        sleep(60 * SECOND).await;
        assert_eq!(rig.view().health, State::Stable);
        rig.configure(FILE).await;
        sleep(60 * SECOND).await;
        assert_eq!(rig.view().health, State::Unhealthy);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_vpn_whose_container_restarts_is_left_alone_as_long_as_the_limit_says() {
    run(async {
        let quiet = "restart_quiet = \"40s\"\n";
        let config = format!(
            "{FILE}container = \"gluetun\"\nrestart_after = \"10s\"\n[port_cache]\n{quiet}"
        );
        let rig = Rig::start(&config).await;
        rig.docker
            .has
            .send_replace(container("a", Health::Unhealthy));
        while rig.docker.restarts.load(Ordering::Relaxed) == 0 {
            sleep(100 * MS).await;
        }
        rig.docker.has.send_replace(container("a", Health::Healthy));
        let (before, since) = (rig.calls(), Instant::now());
        while rig.calls() == before && since.elapsed() < 100 * SECOND {
            sleep(100 * MS).await;
        }
        let left_alone = since.elapsed();
        assert!(
            (39 * SECOND..56 * SECOND).contains(&left_alone),
            "{left_alone:?}"
        );
    })
    .await;
}
