//! Engines in the network of a container that is started again or made anew.

use weir_core::vpn::Network;

use super::killed::vpn_that_is;
use super::*;

const ENGINES: &str = "[provision]\nhost_ports = \"21800-21899\"\n[services.tv.engines]\ndriver = \"docker\"\n\
                       image = \"tv\"\nmin = 2\nmax = 3\n";

fn behind_a_vpn() -> String {
    format!(
        "{ENGINES}vpns = [\"v\"]\n[vpns.v]\ncontainer = \"gluetun\"\ncontrol_url = \"http://127.0.0.1:1\"\n\
         ports = \"21900-21999\"\n"
    )
}

/// The VPN, as the node that asks it told of its container.
fn seen(config: &str, id: &str, started_unix_ms: u64) -> Table {
    vpn_that_is(config, |view| {
        view.network = Some(Network {
            container: "gluetun".to_owned(),
            id: id.to_owned(),
            started_unix_ms,
        });
    })
}

/// Which containers the engines that run have joined.
fn joined(world: &World) -> Vec<String> {
    let running = world.machine.running();
    let labels = running
        .iter()
        .filter_map(|engine| world.machine.label(engine, "weir.network"));
    labels.collect()
}

async fn two_ready(node: &Node) {
    until("ready", seconds(30), || node.engines("ready").len() == 2).await;
}

/// Both engines were ended once, and two others serve in the network that is there now.
async fn both_are_replaced(world: &World, node: &Node, network: &str) {
    until("replaced", seconds(30), || {
        world.machine.begun().len() == 4 && node.engines("ready").len() == 2
    })
    .await;
    sleep(seconds(120)).await;
    assert_eq!(world.machine.begun().len(), 4, "none is ended again");
    assert_eq!(node.engines("ready").len(), 2);
    assert_eq!(joined(world), [network; 2]);
}

async fn in_another_life(id: &str, started_unix_ms: u64, network: &str) {
    let config = behind_a_vpn();
    let mut world = World::new();
    world.has_containers = true;
    world.machine.has_container("gluetun", "g-1", 10);
    let before = seen(&config, "g-1", 10);
    let (mut life, node) = world.node_by("a", &config, &Way::open(), before);
    node.scale();
    live(&mut [&mut life], two_ready(&node)).await;
    drop((life, node));
    sleep(seconds(30)).await;
    world.machine.has_container("gluetun", id, started_unix_ms);
    let after = seen(&config, id, started_unix_ms);
    let (mut life, node) = world.node_by("a", &config, &Way::open(), after);
    node.scale();
    live(&mut [&mut life], both_are_replaced(&world, &node, network)).await;
}

#[tokio::test(start_paused = true)]
async fn a_vpn_that_was_made_anew_while_the_node_was_stopped_gets_other_engines() {
    in_another_life("g-2", 50_000, "gluetun/g-2/50000").await;
}

#[tokio::test(start_paused = true)]
async fn a_vpn_that_was_started_again_while_the_node_was_stopped_gets_other_engines() {
    in_another_life("g-1", 50_000, "gluetun/g-1/50000").await;
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_panics_as_a_vpn_is_made_anew_misses_nothing() {
    let config = behind_a_vpn();
    let mut world = World::new();
    world.has_containers = true;
    world.machine.has_container("gluetun", "g-1", 10);
    let before = seen(&config, "g-1", 10);
    let (mut life, node) = world.node_by("a", &config, &Way::open(), before);
    node.scale();
    let test = async {
        two_ready(&node).await;
        sleep(seconds(60)).await;
        assert_eq!(world.machine.begun().len(), 2, "nothing else happened");
        node.crash.offer(Crash).unwrap();
        world.machine.has_container("gluetun", "g-2", 20);
        node.vpns.publish(seen(&config, "g-2", 20));
        both_are_replaced(&world, &node, "gluetun/g-2/20").await;
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_no_vpn_takes_the_engines_in_its_network_along() {
    let config = ENGINES.replace("min = 2", "network = \"container:side\"\nmin = 2");
    let mut world = World::new();
    world.has_containers = true;
    world.machine.has_container("side", "s-1", 10);
    let (mut life, node) = world.node("a", &config);
    node.scale();
    let test = async {
        two_ready(&node).await;
        sleep(seconds(60)).await;
        assert_eq!(world.machine.begun().len(), 2, "nothing else happened");
        world.machine.has_container("side", "s-1", 30);
        both_are_replaced(&world, &node, "side/s-1/30").await;
    };
    live(&mut [&mut life], test).await;
}
