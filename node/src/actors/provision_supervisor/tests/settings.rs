//! Settings that reach what they are for, and hold as they are configured now.

use super::outside::{Begun, Start};
use super::*;

const CONFIG: &str = "[provision]\nhost_ports = \"22500-22599\"\ninterval_min = \"0s\"\n\
                      [services.tv.engines]\ncommand = [\"tv\"]\nmin = 0\nmax = 9\n";

/// Starts that are under way beyond the minimum, of six that are missing.
async fn burst(burst_max: u32) -> usize {
    let mut world = World::new();
    world.machine.starts(Start::Hangs);
    let config = format!("{CONFIG}free = 6\nburst_max = {burst_max}\n");
    let config = config.replacen("[provision]\n", "[provision]\nconcurrent_max = 9\n", 1);
    let (mut life, node) = world.node("a", &config);
    let test = async {
        node.scale();
        sleep(seconds(20)).await;
    };
    live(&mut [&mut life], test).await;
    world.machine.begun().len()
}

#[tokio::test(start_paused = true)]
async fn so_many_engines_beyond_the_minimum_start_at_a_time_as_the_service_says() {
    assert_eq!((burst(2).await, burst(5).await), (2, 5));
}

/// How long an engine that has work may answer no probe until it is out of traffic.
async fn in_traffic_for(patience: u32) -> Duration {
    let mut world = World::new();
    let probe = format!(
        "probe.interval = \"1s\"\nprobe.failures = 2\nprobe.in_use_patience = {patience}\n"
    );
    let (mut life, node) = world.node("a", &format!("{CONFIG}{probe}"));
    let test = async {
        sleep(LOOK_INTERVAL).await;
        node.wish("one").await.unwrap();
        until("ready", seconds(10), || node.engines("ready") == ["tv-1"]).await;
        sleep(seconds(2)).await;
        node.requests("tv-1", 1);
        sleep(seconds(1)).await;
        world.machine.is_sick("tv-1", true);
        let began = Instant::now();
        until("out", seconds(60), || node.engines("ready").is_empty()).await;
        began.elapsed()
    };
    live(&mut [&mut life], test).await
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_has_work_may_fail_so_many_times_the_probes_as_its_service_says() {
    let short = in_traffic_for(1).await;
    assert!((seconds(1)..seconds(4)).contains(&short), "{short:?}");
    let long = in_traffic_for(6).await;
    assert!((seconds(11)..seconds(15)).contains(&long), "{long:?}");
}

fn closest(begun: &[Begun]) -> Duration {
    let pairs = begun.windows(2).map(|pair| pair[1].at - pair[0].at);
    pairs.min().unwrap()
}

#[tokio::test(start_paused = true)]
async fn starts_of_the_whole_mesh_are_as_far_apart_as_is_configured_now() {
    let spaced = CONFIG.replacen(
        "[provision]\n",
        "[provision]\nfleet_interval_min = \"10s\"\n",
        1,
    );
    let mut world = World::new();
    let (mut life_a, a) = world.node("a", &spaced);
    let (mut life_b, b) = world.node("b", &spaced);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        for number in 0..8 {
            a.wish(&number.to_string()).await.unwrap();
        }
        let machine = &world.machine;
        until("four", seconds(60), || machine.begun().len() == 4).await;
        let begun = machine.begun();
        assert!(closest(&begun) >= seconds(9), "{begun:?}");
        for node in [&a, &b] {
            node.configure(CONFIG).await;
        }
        until("all", seconds(5), || machine.begun().len() == 8).await;
    };
    live(&mut [&mut life_a, &mut life_b], test).await;
}
