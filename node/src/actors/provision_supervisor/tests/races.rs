//! Two nodes that want the same.

use super::killed::{behind_a_vpn, job, vpn_that_is, vpn_with_a_port};
use super::*;
use crate::actors::port_cache::VpnView;

const CONFIG: &str = "[provision]\nhost_ports = \"21400-21499\"\n[services.tv.engines]\ncommand = [\"tv\"]\nmin = 0\n\
                      max = 6\n";

/// Two nodes with what these configurations say and as many jobs as there are slots, until all are done.
async fn both(configs: [&str; 2], ports: fn(&str) -> Table) -> (World, [Inside; 2]) {
    let mut world = World::new();
    let jobs = world.jobs(99);
    for number in 0..6 {
        jobs.enqueue(job(&number.to_string())).await.unwrap();
    }
    let [of_a, of_b] = configs;
    let (mut life_a, a) = world.node_by("a", of_a, &Way::open(), ports(of_a));
    let (mut life_b, b) = world.node_by("b", of_b, &Way::open(), ports(of_b));
    let test = async {
        until("engines", seconds(60), || {
            world.machine.running().len() >= 6
        })
        .await;
        // Long enough for each to find what the other runs, and for a port to be believed free.
        sleep(seconds(90)).await;
        [a.inside().await, b.inside().await]
    };
    let inside = live(&mut [&mut life_a, &mut life_b], test).await;
    (world, inside)
}

#[tokio::test(start_paused = true)]
async fn two_nodes_that_race_for_jobs_and_slots_start_one_engine_a_job() {
    let (world, [a, b]) = both([CONFIG; 2], |_| Table::default()).await;
    let jobs = world.all_jobs().await;
    let mut results: Vec<&str> = jobs.iter().map(|job| job.result.as_str()).collect();
    results.sort_unstable();
    assert_eq!(results, ["tv-1", "tv-2", "tv-3", "tv-4", "tv-5", "tv-6"]);
    assert_eq!(world.machine.running(), results);
    assert_eq!(world.machine.begun().len(), 6);
    assert!(a.engines > 0 && b.engines > 0, "{a:?} {b:?}");
    assert_eq!(a.engines + b.engines, 6);
    assert_eq!(world.held().await.len(), 6);
}

/// What six engines of two nodes behind one VPN have, of which the one with its port is one.
async fn six_behind_a_vpn(ranges: [&str; 2]) {
    let configs = ranges.map(|range| behind_a_vpn(CONFIG).replace("21200-21299", range));
    let (world, [a, b]) = both([&configs[0], &configs[1]], vpn_with_a_port).await;
    assert!(a.engines > 0 && b.engines > 0, "{a:?} {b:?}");
    assert_eq!(a.engines + b.engines, 6);
    let running = world.machine.running();
    let label = |name: &str| -> Vec<String> {
        let labels = running
            .iter()
            .filter_map(|id| world.machine.label(id, name));
        labels.collect()
    };
    let leaders = label("weir.forwarded")
        .into_iter()
        .filter(|text| text == "true");
    assert_eq!(leaders.count(), 1);
    let listened = [label("weir.port"), label("weir.p2p_port")].concat();
    let different: BTreeSet<&String> = listened.iter().collect();
    assert_eq!(different.len(), 12, "two on one port: {listened:?}");
    assert!(listened.contains(&"50505".to_owned()));
    // Slots, places behind the VPN, both ports of each, and the forwarded one.
    assert_eq!(world.held().await.len(), 25);
}

#[tokio::test(start_paused = true)]
async fn of_two_nodes_behind_one_vpn_one_engine_has_its_port_and_no_two_share_one() {
    six_behind_a_vpn(["21200-21299"; 2]).await;
}

#[tokio::test(start_paused = true)]
async fn no_two_engines_listen_on_one_port_though_their_nodes_know_nothing_of_each_other() {
    // By their own ports both would begin with the same one for peers, next to the one that is forwarded.
    six_behind_a_vpn(["20503-20602", "30503-30602"]).await;
    // What serves on the one node is what peers would be on the other.
    six_behind_a_vpn(["20510-20609", "50510-50609"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_whose_job_is_cancelled_before_it_is_done_is_stopped_though_it_is_ready() {
    let mut world = World::new();
    world.registers = true;
    let jobs = world.jobs(99);
    let job_id = jobs.enqueue(job("one")).await.unwrap().job_id;
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        until("ready", seconds(3), || node.engines("ready") == ["tv-1"]).await;
        jobs.cancel(DEFAULT_QUEUE, &job_id).await.unwrap();
        sleep(seconds(10)).await;
        assert_eq!(world.machine.left(), 0);
        assert_eq!(node.inside().await, Inside::default());
        assert_eq!(world.held().await, [""; 0]);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn slots_that_jobs_of_other_nodes_hold_keep_no_job_waiting_while_there_are_others() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", &CONFIG.replace("max = 6", "max = 60"));
    let others = world.jobs(99);
    let test = async {
        for slot in 1..=40 {
            let holder = Holder {
                node_id: "b".to_owned(),
                boot_id: "boot-b".to_owned(),
            };
            let name = format!("engine:tv-{slot}");
            others.hold(DEFAULT_QUEUE, &name, holder).await.unwrap();
        }
        sleep(LOOK_INTERVAL).await;
        node.wish("one").await.unwrap();
        until("ready", seconds(3), || node.engines("ready") == ["tv-41"]).await;
    };
    live(&mut [&mut life], test).await;
}

/// Two VPNs that are up, `v` and `w`, without forwarded ports.
fn two_vpns(config: &str) -> Table {
    let one = vpn_that_is(config, |view| (view.good, view.settled) = (None, None));
    let v = VpnView::clone(one.vpn("v").unwrap());
    let w = VpnView {
        name: "w".to_owned(),
        ..v.clone()
    };
    let limits = parsed(config, &Given::default()).port_cache;
    Table::of([v, w].into_iter(), &limits)
}

#[tokio::test(start_paused = true)]
async fn two_nodes_that_know_nothing_of_each_other_put_no_more_engines_behind_a_vpn_than_may_be() {
    let config = behind_a_vpn(&CONFIG.replace("max = 6", "max = 9"));
    let config = config.replace("vpns = [\"v\"]", "vpns = [\"v\", \"w\"]");
    let v = "[vpns.v]\nengines_max = 3\n";
    let w = "[vpns.w]\nengines_max = 3\ncontrol_url = \"http://127.0.0.1:1\"\nports = \"21400-21499\"\n";
    let config = config.replace("[vpns.v]\n", v) + w;
    let mut world = World::new();
    let jobs = world.jobs(99);
    for number in 0..9 {
        jobs.enqueue(job(&number.to_string())).await.unwrap();
    }
    let (mut life_a, a) = world.node_by("a", &config, &Way::slow(), two_vpns(&config));
    let (mut life_b, b) = world.node_by("b", &config, &Way::slow(), two_vpns(&config));
    let behind = |vpn: &str| {
        let running = world.machine.running();
        let label = |engine: &String| world.machine.label(engine, "weir.vpn");
        running
            .iter()
            .filter_map(label)
            .filter(|of| of == vpn)
            .count()
    };
    let test = async {
        let deadline = Instant::now() + seconds(240);
        while Instant::now() < deadline {
            assert!(
                behind("v") <= 3 && behind("w") <= 3,
                "{} {}",
                behind("v"),
                behind("w")
            );
            sleep(LOOK_INTERVAL).await;
        }
        assert_eq!((behind("v"), behind("w")), (3, 3));
        assert!(a.inside().await.engines > 0 && b.inside().await.engines > 0);
        let open = world
            .all_jobs()
            .await
            .into_iter()
            .filter(|job| job.state() != State::Done);
        let (states, attempts): (Vec<State>, Vec<u32>) =
            open.map(|job| (job.state(), job.attempt)).unzip();
        assert!(!states.contains(&State::Dead), "{states:?} {attempts:?}");
        assert_eq!(states.len(), 3, "they wait for a place");
        // A place that gets free is taken.
        let leaves = a.engines("ready")[0].clone();
        a.handle
            .stop(StopEngine {
                engine: leaves,
                now: true,
                reason: "a test".to_owned(),
            })
            .await
            .unwrap()
            .unwrap();
        sleep(seconds(90)).await;
        assert_eq!((behind("v"), behind("w")), (3, 3));
    };
    live(&mut [&mut life_a, &mut life_b], test).await;
}

#[tokio::test(start_paused = true)]
async fn further_ports_behind_one_vpn_are_nobody_elses_and_are_taken_over_with_their_engine() {
    let config =
        behind_a_vpn(&CONFIG.replace("max = 6", "max = 6\nextra_ports = [\"https\", \"api\"]"));
    let (world, [a, b]) = both([&config, &config], vpn_with_a_port).await;
    assert!(a.engines > 0 && b.engines > 0, "{a:?} {b:?}");
    assert_eq!(a.ports, 3 * a.engines);
    let running = world.machine.running();
    assert_eq!(running.len(), 6);
    let label = |engine: &String, name: &str| world.machine.label(engine, name).unwrap();
    let ports = |engine: &String| -> Vec<String> {
        let further = label(engine, "weir.extra_ports");
        let further = further
            .split(',')
            .map(|one| one.split_once('=').unwrap().1.to_owned());
        let own = [label(engine, "weir.port"), label(engine, "weir.p2p_port")];
        own.into_iter().chain(further).collect()
    };
    let listened: Vec<String> = running.iter().flat_map(ports).collect();
    let different: BTreeSet<&String> = listened.iter().collect();
    assert_eq!((listened.len(), different.len()), (24, 24), "{listened:?}");
    // Slots, places, four ports of each, and the forwarded one.
    let held = world.held().await;
    assert_eq!(held.len(), 37, "{held:?}");
    // Both nodes die, and one takes everything over.
    let mut world = world;
    let (mut life, node) = world.node_by("a", &config, &Way::open(), vpn_with_a_port(&config));
    let test = async {
        until("taken over", seconds(60), || {
            node.engines("ready").len() == 6
        })
        .await;
        assert_eq!(node.inside().await.ports, 18);
        let engine = {
            let picture = node.picture();
            let mut followers = picture.engines.iter().filter(|one| !one.is_forwarded);
            followers.next().unwrap().id.clone()
        };
        let stop = StopEngine {
            engine,
            now: true,
            reason: "a test".to_owned(),
        };
        node.handle.stop(stop).await.unwrap().unwrap();
        sleep(seconds(20)).await;
        assert_eq!(node.inside().await.ports, 15, "they are given back");
        assert!(world.held().await.len() <= 31);
    };
    live(&mut [&mut life], test).await;
}
