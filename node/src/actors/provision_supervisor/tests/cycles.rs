//! Provisions behind a VPN that come to nothing, again and again.

use super::killed::{behind_a_vpn, vpn_with_a_port};
use super::outside::Start;
use super::*;

const CYCLES: usize = 10_000;
const AT_ONCE: usize = 100;
const CONFIG: &str = "[provision]\nhost_ports = \"22400-22499\"\ninterval_min = \"0s\"\nattempts_max = 1\n\
                      breaker_failures = 1000\nbreaker_window = \"1s\"\nsoft_limit = \"2s\"\nhard_limit = \"3s\"\n\
                      [services.tv.engines]\ncommand = [\"tv\"]\nmin = 0\nmax = 200\n\
                      probe.ready_timeout = \"10m\"\n";

#[tokio::test(start_paused = true)]
async fn of_10000_provisions_behind_a_vpn_that_fail_no_port_slot_hold_or_name_is_left() {
    let mut world = World::new();
    let config = behind_a_vpn(CONFIG);
    let ports = vpn_with_a_port(&config);
    let (mut life, node) = world.node_by("a", &config, &Way::open(), ports);
    let machine = Arc::clone(&world.machine);
    // One of each: it fails, it hangs until it is cut, and it runs, is never ready and is asked to end.
    machine.starts(Start::Fails(Duration::from_millis(100)));
    let test = async {
        sleep(LOOK_INTERVAL).await;
        for round in 1..=CYCLES / AT_ONCE {
            (1..=8).for_each(|slot| machine.is_sick(&format!("tv-{slot}"), true));
            machine.next_starts([Start::Hangs, Start::Runs(Duration::ZERO)]);
            for number in 0..AT_ONCE {
                node.wish(&format!("wish-{number}")).await.unwrap();
            }
            let begun = round * AT_ONCE;
            until("begun", seconds(300), || machine.begun().len() >= begun).await;
            sleep(seconds(5)).await;
        }
        assert_eq!(machine.begun().len(), CYCLES);
        assert_eq!(node.inside().await, Inside::default());
        assert_eq!(world.held().await, [""; 0]);
        assert_eq!(machine.left(), 0);
        let jobs = world.all_jobs().await;
        assert!(jobs.iter().all(|job| job.state() == State::Dead));
        // The forwarded slot is free, and so is the first name.
        machine.starts(Start::Runs(Duration::ZERO));
        node.wish("last").await.unwrap();
        until("runs", seconds(60), || machine.running() == ["tv-1"]).await;
        let label = machine.label("tv-1", "weir.forwarded").unwrap();
        assert_eq!(label, "true");
    };
    live(&mut [&mut life], test).await;
}
