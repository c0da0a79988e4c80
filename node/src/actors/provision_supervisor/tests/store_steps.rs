//! A store that goes away between any two steps of a job, for a while: nothing is lost, doubled or leaked.

use super::killed::{
    ONE, POINTS_MAX, SETTLED, SEVERAL, behind_a_vpn, job, one_engine_is_left, ports,
};
use super::*;

/// Claims and holds live through this one, and not through the other.
const MOMENT: Duration = Duration::from_secs(6);
const LONG: Duration = Duration::from_secs(40);
/// What the job takes when all goes well, with the second that each point takes.
const WELL: Duration = Duration::from_secs(60);

/// Until what nobody keeps has ended: ports of a VPN are taken for others' for longest.
fn settled(config: &str) -> Duration {
    match config.contains("[vpns.v]") {
        true => SETTLED,
        false => CLAIM_TTL + NEW_LIFE,
    }
}

/// Lets a node lose the store at a point of its way to the outside for so long; says whether its job came that far.
async fn away_at(point: u64, config: &str, lasts: Duration) -> bool {
    let mut world = World::new();
    let way = Way::without_store(point, lasts);
    world.jobs(99).enqueue(job("one")).await.unwrap();
    let (mut life, node) = world.node_by("a", config, &way, ports(config));
    let test = async {
        let most = world.machine.most_from_now_on();
        let job = world.job_done_within(lasts + CLAIM_TTL + WELL).await;
        if way.store_left_at().is_none() {
            return false;
        }
        sleep(lasts + settled(config)).await;
        let told = format!("away from point {point} on: {job:?}");
        assert_eq!(most.told().await, 1, "{told}");
        assert_eq!(world.all_jobs().await.len(), 1, "{told}");
        one_engine_is_left(&world, &node, &job).await;
        if lasts < CLAIM_TTL {
            assert_eq!(world.machine.begun().len(), 1, "started once: {told}");
        }
        // The breaker counts what an engine did wrong.
        assert_eq!(node.picture().breaker, "closed", "{told}");
        let problems = &node.picture().problems;
        assert!(problems.is_empty(), "{told}: {problems:?}");
        true
    };
    live(&mut [&mut life], test).await
}

async fn away_everywhere(config: &str, lasts: Duration) {
    let mut points = 0;
    while away_at(points + 1, config, lasts).await {
        points += 1;
        assert!(points < POINTS_MAX);
    }
    // Claim, slot, start, probe and completion, each on the way there and back, at the least.
    assert!(points >= 10, "{points}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_moment_from_any_step_on_costs_nothing() {
    away_everywhere(ONE, MOMENT).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_longer_than_claims_and_holds_live_neither_loses_nor_doubles_an_engine()
 {
    away_everywhere(ONE, LONG).await;
    away_everywhere(SEVERAL, LONG).await;
}

#[tokio::test(start_paused = true)]
async fn so_it_is_behind_a_vpn_where_the_engine_has_the_forwarded_port() {
    away_everywhere(&behind_a_vpn(SEVERAL), LONG).await;
}

#[tokio::test(start_paused = true)]
async fn so_it_is_behind_a_vpn_when_it_is_away_for_a_moment() {
    away_everywhere(&behind_a_vpn(ONE), MOMENT).await;
}

/// The same of one node alone, while another one reaches the store, and the containers of both are on one machine.
async fn cut_off_at(point: u64, config: &str, lasts: Duration) -> bool {
    let mut world = World::new();
    world.has_containers = true;
    let way = Way::without_store(point, lasts);
    world.jobs(99).enqueue(job("one")).await.unwrap();
    let (mut life_a, a) = world.node_by("a", config, &way, Table::default());
    let cut_off = async {
        tokio::select! {
            biased;
            () = until("cut off", WELL, || way.store_is_away()) => true,
            _ = world.job_done_within(WELL) => false,
        }
    };
    if !live(&mut [&mut life_a], cut_off).await {
        return false;
    }
    let (mut life_b, b) = world.node("b", config);
    let test = async {
        let job = world.job_done_within(lasts + CLAIM_TTL + WELL).await;
        sleep(lasts + settled(config)).await;
        let (engine, told) = (
            job.result.as_str(),
            format!("from point {point} on: {job:?}"),
        );
        assert_eq!(world.machine.running(), [engine], "{told}");
        assert_eq!(world.machine.left(), 1, "{told}");
        let ready = [&a, &b].map(|node| node.engines("ready")).concat();
        assert_eq!(ready, [engine], "{told}");
        let expected = |engines| Inside {
            engines,
            ports: engines,
            // What another node's is, is looked into again.
            found: 1 - engines,
            ..Inside::default()
        };
        for node in [&a, &b] {
            let engines = node.engines("ready").len();
            assert_eq!(node.inside().await, expected(engines), "{told}");
        }
        assert_eq!(
            world.held().await,
            [format!("hold/engine:{engine}")],
            "{told}"
        );
    };
    live(&mut [&mut life_a, &mut life_b], test).await;
    true
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_from_the_store_at_any_step_and_one_that_is_not_leave_one_engine() {
    let docker = "driver = \"docker\"\nimage = \"tv:1\"";
    let config = SEVERAL.replace("command = [\"tv\"]", docker);
    let mut points = 0;
    while cut_off_at(points + 1, &config, LONG).await {
        points += 1;
        assert!(points < POINTS_MAX);
    }
    assert!(points >= 10, "{points}");
}
