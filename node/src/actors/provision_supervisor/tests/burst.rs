//! Many wishes at a time.

use std::cell::Cell;

use super::outside::{Begun, Start};
use super::*;

const MANY: usize = 1_000;
const CONFIG: &str = "[provision]\nhost_ports = \"21000-21099\"\n[services.tv.engines]\ncommand = [\"tv\"]\nmin = 0\n\
                      max = 2000\n[services.tv.engines.probe]\ninterval = \"1h\"\n";

/// Between two starts, at least.
fn closest(begun: &[Begun]) -> Duration {
    let pairs = begun.windows(2).map(|pair| pair[1].at - pair[0].at);
    pairs.min().unwrap()
}

async fn wish_for(node: &Node, count: usize) {
    for number in 0..count {
        let wished = node.wish(&format!("wish-{number}")).await.unwrap();
        assert!(!wished.already);
    }
}

/// Notes the most starts that were ever under way.
async fn watch_in_flight(node: &Node, most: &Cell<usize>) {
    let mut revisions = node.handle.revisions();
    loop {
        most.set(most.get().max(node.picture().in_flight));
        revisions.changed().await.unwrap();
    }
}

/// Stops engines some time after they are ready, so that there are few.
async fn stop_them(node: &Node) {
    let mut ready = Vec::new();
    loop {
        sleep(seconds(2)).await;
        for engine in std::mem::replace(&mut ready, node.engines("ready")) {
            let reason = "a test".to_owned();
            let now = true;
            // It may be gone.
            let _ = node
                .handle
                .stop(StopEngine {
                    engine,
                    now,
                    reason,
                })
                .await;
        }
    }
}

async fn until_begun(world: &World, count: usize, most: Duration) {
    let machine = &world.machine;
    until("starts", most, || machine.begun().len() >= count).await;
}

/// Each job is done, by one start of its own, and nothing is left.
async fn each_is_done_once(world: &World, node: &Node) {
    let jobs = world.all_jobs().await;
    assert_eq!(jobs.len(), MANY);
    let is_done = |job: &Job| job.state() == State::Done && job.attempt == 1;
    assert!(jobs.iter().all(is_done));
    let started: BTreeSet<u64> = world.machine.begun().iter().map(|one| one.fence).collect();
    assert_eq!((started.len(), world.machine.begun().len()), (MANY, MANY));
    // An engine that was stopped gives back what it had when its driver says that it is gone.
    for _ in 0..100 {
        if node.inside().await == Inside::default() {
            break;
        }
        sleep(LOOK_INTERVAL).await;
    }
    assert_eq!(node.inside().await, Inside::default());
    assert_eq!(world.held().await, [""; 0]);
    assert_eq!(world.machine.left(), 0);
}

/// A burst, while limits are changed as `changes` says; tells the most starts that were in flight.
async fn burst(
    world: &World,
    life: &mut Life,
    node: &Node,
    changes: impl Future<Output = ()>,
) -> usize {
    let most = Cell::new(0);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        wish_for(node, MANY).await;
        changes.await;
        until_begun(world, MANY, seconds(700)).await;
        sleep(seconds(10)).await;
        each_is_done_once(world, node).await;
    };
    let test = async {
        tokio::select! {
            () = watch_in_flight(node, &most) => {}
            () = stop_them(node) => {}
            () = test => {}
        }
    };
    live(&mut [life], test).await;
    most.get()
}

#[tokio::test(start_paused = true)]
async fn of_1000_wishes_at_once_5_are_in_flight_500_ms_apart_and_each_gets_one_engine() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    world.machine.starts(Start::Runs(seconds(2)));
    let most = burst(&world, &mut life, &node, async {}).await;
    assert_eq!(most, 5);
    let begun = world.machine.begun();
    assert!(closest(&begun) >= Duration::from_millis(500));
    // Hardly more than what the spacing costs.
    let took = begun[MANY - 1].at - begun[0].at;
    assert!(took <= seconds(505), "{took:?}");
}

/// How long so many starts take from the first to the last, each of 20 ms.
async fn starts_take(limits: &str, count: usize) -> (Duration, Vec<Begun>) {
    let mut world = World::new();
    let config = format!(
        "[provision]\n{limits}\n{}",
        &CONFIG["[provision]\n".len()..]
    );
    let (mut life, node) = world.node("a", &config);
    world.machine.starts(Start::Runs(Duration::from_millis(20)));
    let test = async {
        sleep(LOOK_INTERVAL).await;
        wish_for(&node, count).await;
        until_begun(&world, count, seconds(60)).await;
    };
    live(&mut [&mut life], test).await;
    let begun = world.machine.begun();
    (begun[count - 1].at - begun[0].at, begun)
}

#[tokio::test(start_paused = true)]
async fn without_spacing_every_permit_is_used_at_once() {
    let (took, _) = starts_take("interval_min = \"0s\"\nconcurrent_max = 10", 10).await;
    assert!(took <= Duration::from_millis(50), "{took:?}");
    let (took, _) = starts_take("interval_min = \"0s\"\nconcurrent_max = 1", 18).await;
    assert!(took <= Duration::from_millis(17 * 25), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_start_begins_when_the_spacing_is_over_and_not_at_the_next_tick() {
    let (took, begun) = starts_take("interval_min = \"130ms\"", 18).await;
    assert!(closest(&begun) >= Duration::from_millis(130));
    assert!(took <= Duration::from_millis(17 * 135), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn limits_that_change_in_the_middle_of_a_burst_hold_from_then_on_and_lose_no_wish() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    world.machine.starts(Start::Runs(seconds(2)));
    let limits = |limits: &str| {
        format!(
            "[provision]\n{limits}\n{}",
            &CONFIG["[provision]\n".len()..]
        )
    };
    let after = Cell::new([0; 3]);
    let changes = async {
        until_begun(&world, 100, seconds(100)).await;
        node.configure(&limits("interval_min = \"3s\"\nconcurrent_max = 1"))
            .await;
        let slowed = world.machine.begun().len();
        sleep(seconds(90)).await;
        let slow = world.machine.begun().len();
        node.configure(&limits("interval_min = \"100ms\"\nconcurrent_max = 20"))
            .await;
        after.set([slowed, slow, node.picture().in_flight]);
    };
    let most = burst(&world, &mut life, &node, Box::pin(changes)).await;
    let [slowed, slow, _] = after.get();
    let begun = world.machine.begun();
    assert!(closest(&begun[..slowed]) >= Duration::from_millis(500));
    assert!(closest(&begun[slowed..slow]) >= seconds(3));
    assert!((20..=31).contains(&(slow - slowed)), "{}", slow - slowed);
    assert!(closest(&begun[slow..]) >= Duration::from_millis(100));
    // Each takes 2 s, which are 20 times the spacing: the permits are just enough, and all are used.
    assert_eq!(most, 20);
}

#[tokio::test(start_paused = true)]
async fn of_10000_provisions_that_fail_nothing_is_left_behind() {
    const WISHES: usize = 10_000;
    const AT_ONCE: usize = 100;
    let mut world = World::new();
    let limits = "interval_min = \"0s\"\nattempts_max = 1\nbreaker_failures = 1000\nbreaker_window = \"1s\"\n\
                  soft_limit = \"2s\"\nhard_limit = \"2s\"\n";
    let config = format!("[provision]\n{limits}{}", &CONFIG["[provision]\n".len()..]);
    // Each has three ports.
    let further = "max = 2000\nextra_ports = [\"https\", \"api\"]";
    let config = config.replace("max = 2000", further);
    let (mut life, node) = world.node("a", &config);
    world.machine.starts(Start::Fails(Duration::ZERO));
    let test = async {
        sleep(LOOK_INTERVAL).await;
        for round in 1..=WISHES / AT_ONCE {
            world
                .machine
                .next_starts([Start::Hangs, Start::Fails(seconds(1))]);
            wish_for(&node, AT_ONCE).await;
            until_begun(&world, round * AT_ONCE, seconds(300)).await;
            sleep(seconds(5)).await;
        }
        assert_eq!(world.machine.begun().len(), WISHES);
        assert_eq!(node.inside().await, Inside::default());
        assert_eq!(world.held().await, [""; 0]);
        assert_eq!(world.machine.left(), 0);
        let open = world
            .all_jobs()
            .await
            .into_iter()
            .filter(|job| job.state() != State::Dead);
        assert_eq!(open.count(), 0);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_waits_right_before_its_driver_learns_of_another_spacing_too() {
    let spaced = |interval: &str| {
        let limits = format!("[provision]\ninterval_min = \"{interval}\"\n");
        CONFIG.replacen("[provision]\n", &limits, 1)
    };
    let mut world = World::new();
    let (mut life, node) = world.node("a", &spaced("1m"));
    let test = async {
        sleep(LOOK_INTERVAL).await;
        wish_for(&node, 1).await;
        until_begun(&world, 1, seconds(10)).await;
        // Its next life lets the next one start at once, and knows nothing of the last one.
        node.crash.offer(Crash).unwrap();
        node.wish("next").await.unwrap();
        sleep(seconds(20)).await;
        assert_eq!(
            (world.machine.begun().len(), node.picture().in_flight),
            (1, 1)
        );
        node.configure(&spaced("30s")).await;
        until_begun(&world, 2, seconds(15)).await;
        assert!(closest(&world.machine.begun()) >= seconds(30));
        node.wish("last").await.unwrap();
        sleep(seconds(5)).await;
        node.configure(&spaced("10s")).await;
        until_begun(&world, 3, seconds(6)).await;
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn starts_are_as_far_apart_when_the_actor_panics_between_them() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        wish_for(&node, 12).await;
        for count in [3, 6, 9] {
            until_begun(&world, count, seconds(10)).await;
            node.crash.offer(Crash).unwrap();
        }
        until_begun(&world, 12, seconds(60)).await;
        assert!(closest(&world.machine.begun()) >= Duration::from_millis(500));
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn three_nodes_together_start_no_more_and_no_faster_than_the_mesh_may() {
    const LIMITS: &str = "[provision]\nhost_ports = \"21400-21499\"\nconcurrent_max = 1\nprefetch = 1\n\
                          fleet_concurrent_max = 5\n\
                          fleet_interval_min = \"500ms\"\n[services.tv.engines]\ncommand = [\"tv\"]\nmin = 0\n\
                          max = 40\n";
    const STARTS: Duration = Duration::from_secs(4);
    let mut world = World::new();
    let jobs = world.jobs(99);
    for number in 0..20 {
        jobs.enqueue(super::killed::job(&number.to_string()))
            .await
            .unwrap();
    }
    world.machine.starts(Start::Runs(STARTS));
    let (mut life_a, a) = world.node("a", LIMITS);
    // What a job needs before it starts takes this one longer.
    let (mut life_b, b) = world.node_by("b", LIMITS, &Way::slow(), Table::default());
    let (mut life_c, c) = world.node("c", LIMITS);
    let test = async {
        until("engines", seconds(300), || {
            world.machine.running().len() == 20
        })
        .await;
        sleep(seconds(30)).await;
        [a.inside().await, b.inside().await, c.inside().await]
    };
    let inside = live(&mut [&mut life_a, &mut life_b, &mut life_c], test).await;
    let have_some = inside.iter().filter(|node| node.engines > 0);
    assert!(have_some.count() >= 2, "{inside:?}");
    let mut begun: Vec<Instant> = world.machine.begun().iter().map(|one| one.at).collect();
    begun.sort_unstable();
    assert_eq!(begun.len(), 20);
    for pair in begun.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(500), "{begun:?}");
    }
    for six in begun.windows(6) {
        assert!(six[5] - six[0] >= STARTS, "six at a time: {begun:?}");
    }
    let held = world.held().await;
    assert_eq!(held.len(), 20, "slots alone: {held:?}");
}
