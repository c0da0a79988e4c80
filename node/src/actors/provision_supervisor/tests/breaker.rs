//! Failures that pile up.

use weir_core::provision::RefusalCode;

use super::outside::Start;
use super::*;

const CONFIG: &str = "[provision]\nhost_ports = \"21300-21399\"\nretry_delay = \"100ms\"\nattempts_max = 100\n\
                      [services.tv.engines]\ncommand = [\"tv\"]\nmin = 0\nmax = 50\n";
const RECOVERY: Duration = Duration::from_secs(300);

/// A node on which five starts of eight have failed just now; the others wait.
async fn opened(world: &World, node: &Node) {
    world
        .machine
        .starts(Start::Fails(Duration::from_millis(10)));
    sleep(LOOK_INTERVAL).await;
    for number in 0..8 {
        node.wish(&number.to_string()).await.unwrap();
    }
    until("open", seconds(30), || node.picture().breaker == "open").await;
}

#[tokio::test(start_paused = true)]
async fn after_5_failures_nothing_starts_until_one_probe_and_wishes_are_told_how_long() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        opened(&world, &node).await;
        assert_eq!(world.machine.begun().len(), 5);
        sleep(seconds(10)).await;
        let refused = node.wish("later").await.unwrap_err();
        assert_eq!(refused.code, RefusalCode::CircuitBreaker);
        let eta = refused.recovery_eta.unwrap();
        assert!((seconds(288)..=seconds(291)).contains(&eta), "{eta:?}");
        assert!(refused.message.contains("as the test wished"), "{refused}");
        sleep(seconds(285)).await;
        assert_eq!(world.machine.begun().len(), 5, "nothing while it is open");
        // What waited for its turn is given back, and counts no attempt.
        assert_eq!(node.inside().await, Inside::default());
        world.machine.starts(Start::Runs(seconds(20)));
        sleep(seconds(20)).await;
        assert_eq!(world.machine.begun().len(), 6, "one probe");
        until("all", seconds(60), || world.machine.running().len() == 8).await;
        assert_eq!(node.picture().breaker, "closed");
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_keeps_it_closed_for_as_long_again() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        opened(&world, &node).await;
        for round in 1..=3 {
            sleep(RECOVERY + seconds(5)).await;
            assert_eq!(world.machine.begun().len(), 5 + round);
            assert_eq!(node.picture().breaker, "open");
        }
    };
    live(&mut [&mut life], test).await;
}
