//! Engines that start while their VPN's forwarded port is in doubt.

use weir_core::port_cache::Port;
use weir_proto::node::v1 as pb;

use super::killed::{behind_a_vpn, job, vpn_that_is};
use super::*;

const CONFIG: &str = "[provision]\nhost_ports = \"21500-21599\"\n[services.tv.engines]\ncommand = [\"tv\"]\nmin = 0\n\
                      max = 6\n";

#[tokio::test(start_paused = true)]
async fn a_start_with_a_port_that_is_not_confirmed_is_refused_and_tried_again_uncounted() {
    let mut world = World::new();
    let config = behind_a_vpn(CONFIG);
    world.jobs(99).enqueue(job("one")).await.unwrap();
    let table = vpn_that_is(&config, |view| view.settled = Port::new(7));
    let (mut life, node) = world.node_by("a", &config, &Way::open(), table);
    let test = async {
        sleep(seconds(120)).await;
        assert_eq!(world.machine.running(), [""; 0]);
        let why = node.picture().last_failure.clone().unwrap();
        assert!(
            why.contains("port_unconfirmed: VPN `v`: port 50505"),
            "{why}"
        );
        let [job] = &world.all_jobs().await[..] else {
            panic!("one job");
        };
        assert!(job.attempt <= 1, "{job:?}");
        let is_open = matches!(job.state(), State::Ready | State::Waiting | State::Claimed);
        assert!(is_open, "{job:?}");
        assert_eq!(node.picture().breaker, "closed");
        // As programs read it.
        let refused = node.picture().services[0].refused.clone().unwrap();
        let message = "VPN `v`: port 50505 was told once, and is not confirmed";
        let expected = pb::Refusal {
            code: "port_unconfirmed".to_owned(),
            message: message.to_owned(),
            recovery_eta_ms: 1_000,
            can_retry: true,
            should_wait: true,
            ..pb::Refusal::default()
        };
        assert_eq!(crate::engine_api::refusal(&refused), expected);
        let words = [format!("service `tv`: {message}")];
        assert_eq!(node.picture().problems, words);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn while_ports_take_turns_engines_start_without_them_and_none_is_replaced_for_one() {
    let mut world = World::new();
    let config = behind_a_vpn(CONFIG);
    let jobs = world.jobs(99);
    for number in 0..3 {
        jobs.enqueue(job(&number.to_string())).await.unwrap();
    }
    let calm_at = Instant::now() + seconds(600);
    let table = vpn_that_is(&config, |view| view.calm_at = Some(calm_at));
    let (mut life, node) = world.node_by("a", &config, &Way::open(), table);
    let test = async {
        until("three engines", seconds(30), || {
            node.engines("ready").len() == 3
        })
        .await;
        sleep(seconds(300)).await;
        assert_eq!(world.machine.begun().len(), 3);
        for id in node.engines("ready") {
            let label = |name: &str| world.machine.label(&id, name).unwrap();
            assert_eq!(label("weir.forwarded"), "false");
            assert_ne!(label("weir.p2p_port"), "50505");
        }
    };
    live(&mut [&mut life], test).await;
}
