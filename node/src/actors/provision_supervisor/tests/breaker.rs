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

const TWO: &str = "[provision]\nhost_ports = \"21300-21399\"\nretry_delay = \"100ms\"\nattempts_max = 100\n\
                   [services.bad.engines]\ncommand = [\"bad\"]\nmin = 0\nmax = 50\n\
                   [services.tv.engines]\ncommand = [\"tv\"]\nmin = 0\nmax = 50\n";

fn breakers(node: &Node) -> Vec<(String, &'static str, bool)> {
    let picture = node.picture();
    let views = picture.services.iter();
    let told = views.map(|view| (view.service.clone(), view.breaker, view.blocked.is_some()));
    told.collect()
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_start_keeps_no_other_one_waiting() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", TWO);
    world.machine.has_no_image_of("bad");
    let test = async {
        sleep(LOOK_INTERVAL).await;
        for number in 0..8 {
            node.wish_of("bad", &number.to_string()).await.unwrap();
        }
        until("open", seconds(30), || node.picture().breaker == "open").await;
        let shut = ("bad".to_owned(), "open", true);
        assert_eq!(
            breakers(&node),
            [shut.clone(), ("tv".to_owned(), "closed", false)]
        );
        assert_eq!(node.picture().blocked, None);
        let refused = node.wish_of("bad", "later").await.unwrap_err();
        assert_eq!(refused.code, RefusalCode::CircuitBreaker);
        let (tried, since) = (world.machine.begun().len(), Instant::now());
        for number in 0..3 {
            node.wish(&format!("good-{number}")).await.unwrap();
        }
        until("ready", seconds(10), || node.engines("ready").len() == 3).await;
        assert!(since.elapsed() < seconds(4), "{:?}", since.elapsed());
        assert_eq!(world.machine.begun().len(), tried + 3);
        let problems = node.picture().problems.clone();
        let told: Vec<&String> = problems
            .iter()
            .filter(|text| text.contains("`bad`"))
            .collect();
        assert!(told[0].contains("too many failures"), "{problems:?}");
        assert_eq!(told.len(), problems.len(), "nothing is told of others");
        // Nor does its probe, while that goes on.
        sleep(RECOVERY).await;
        node.wish("good-4").await.unwrap();
        until("ready", seconds(10), || node.engines("ready").len() == 4).await;
        assert_eq!(breakers(&node)[1], ("tv".to_owned(), "closed", false));
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_away_costs_one_series_of_failures_for_all_services() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", TWO);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        world.machine.starts(Start::Away);
        for number in 0..4 {
            let key = |service: &str| format!("{service}-{number}");
            node.wish_of("bad", &key("bad")).await.unwrap();
            node.wish(&key("tv")).await.unwrap();
        }
        until("open", seconds(30), || node.picture().breaker == "open").await;
        assert_eq!(world.machine.begun().len(), 5);
        let shut = |service: &str| (service.to_owned(), "open", true);
        assert_eq!(breakers(&node), [shut("bad"), shut("tv")]);
        assert!(node.picture().blocked.is_some(), "it is so for all of them");
        world.machine.starts(Start::Runs(seconds(1)));
        sleep(RECOVERY).await;
        until("all", seconds(60), || world.machine.running().len() == 8).await;
        assert_eq!(node.picture().breaker, "closed");
    };
    live(&mut [&mut life], test).await;
}
