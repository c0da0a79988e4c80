//! What engines wait for, as people see it.

use super::outdated::{outdated, ready, service, stopped};
use super::outside::Start;
use super::*;

/// Engines of `tv` that take a while to start, within these limits.
fn limited(limits: &str, min: u32) -> String {
    format!(
        "[provision]\nhost_ports = \"22100-22199\"\n{limits}\n\
         [services.tv.engines]\ncommand = [\"tv\"]\nmin = {min}\nmax = 9\n"
    )
}

/// Waits until this is told, as long as it may take to come true.
async fn told(node: &Node, problem: &str) {
    until(problem, seconds(20), || {
        node.picture().problems.iter().any(|what| what == problem)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_starts_wait_for_is_told_with_its_bound_until_they_begin() {
    let cases = [
        (
            "concurrent_max = 2\ninterval_min = \"0s\"",
            "starts that wait: 1; 2 are under way, and 2 may be",
        ),
        (
            "interval_min = \"8s\"",
            "starts that wait: 2; 8s between two starts",
        ),
        (
            "fleet_concurrent_max = 1",
            "service `tv` waits: 1 starts are under way in the mesh, and 1 may be",
        ),
        (
            "fleet_interval_min = \"9s\"",
            "service `tv` waits: 9s between two starts in the mesh",
        ),
        (
            "queue_max = 1",
            "service `tv` waits: provision.queue_max: 1 jobs are open, and 1 may be",
        ),
    ];
    for (limits, problem) in cases {
        let mut world = World::new();
        let (mut life, node) = world.node("a", &limited(limits, 3));
        world.machine.starts(Start::Runs(seconds(5)));
        let test = async {
            node.scale();
            told(&node, problem).await;
            until("ready", seconds(60), || node.engines("ready").len() == 3).await;
            sleep(seconds(2)).await;
            assert_eq!(node.picture().problems, [""; 0], "{limits}");
        };
        live(&mut [&mut life], test).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_to_be_replaced_and_cannot_be_says_what_it_waits_for() {
    let vpn = "\n[vpns.v]\ncontrol_url = \"http://127.0.0.1:1\"\nports = \"22200-22299\"\n";
    let mut world = World::new();
    let (mut life, node) = world.node("a", &service(1, 1, 3, ""));
    let test = async {
        ready(&node, 1).await;
        let reason = || node.picture().engines[0].reason.clone();
        let behind = format!("{}{vpn}", service(1, 1, 3, "vpns = [\"v\"]"));
        node.configure(&behind).await;
        until("it says why", seconds(5), || !reason().is_empty()).await;
        let why = "to be replaced (outdated) once one can be started: ";
        assert!(reason().starts_with(why), "{}", reason());
        assert!(reason().len() > why.len() + 10, "{}", reason());
        // Uses are up as well.
        let used = behind.replace("vpns = ", "uses_max = 1\nreplace_outdated = false\nvpns = ");
        node.configure(&used).await;
        node.requests("tv-1", 1);
        node.requests_end("tv-1", 1);
        until("of its uses", seconds(10), || {
            reason().starts_with("outdated, and ")
        })
        .await;
        assert_eq!(outdated(&node), ["tv-1"]);
        assert!(stopped(&world).is_empty());
        node.configure(&service(1, 1, 3, "")).await;
        until("nothing is wrong", seconds(5), || reason().is_empty()).await;
    };
    live(&mut [&mut life], test).await;
}
