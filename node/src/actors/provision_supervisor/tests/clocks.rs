//! Wall clocks that step while jobs are claimed and wait.

use super::outside::Start;
use super::*;

const CONFIG: &str = "[provision]\nhost_ports = \"22300-22399\"\nretry_delay = \"20s\"\n\
                      [services.tv.engines]\ncommand = [\"tv\"]\nmin = 0\nmax = 20\n";
const DAY_MS: i64 = 86_400_000;
const WISHES: usize = 12;

/// Twelve jobs of which two fail once, with steps of the clock while some are claimed, some wait for their first try
/// and some for their second one.
async fn with_steps(steps_ms: &[i64]) {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let starts = [Start::Fails(seconds(1)), Start::Fails(seconds(2))];
    world.machine.next_starts(starts);
    world.machine.starts(Start::Runs(seconds(4)));
    let test = async {
        sleep(LOOK_INTERVAL).await;
        for number in 0..WISHES {
            node.wish(&format!("wish-{number}")).await.unwrap();
        }
        for step_ms in steps_ms {
            sleep(seconds(3)).await;
            assert!(node.picture().in_flight > 0);
            world.ahead_ms.fetch_add(*step_ms, Ordering::Relaxed);
        }
        until("all", seconds(90), || node.engines("ready").len() == WISHES).await;
        sleep(CLAIM_TTL * 2).await;
        let jobs = world.all_jobs().await;
        assert_eq!(jobs.len(), WISHES);
        assert!(jobs.iter().all(|job| job.state() == State::Done));
        let tries: u32 = jobs.iter().map(|job| job.attempt).sum();
        assert_eq!((tries, world.machine.begun().len()), (14, 14));
        assert_eq!(world.machine.running().len(), WISHES);
        assert_eq!(world.held().await.len(), WISHES, "their slots");
        assert_eq!(node.inside().await.in_hand, 0);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_steps_forward_while_jobs_are_claimed_loses_and_doubles_none() {
    with_steps(&[DAY_MS, DAY_MS]).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_steps_there_and_back_while_jobs_are_claimed_loses_and_doubles_none() {
    with_steps(&[DAY_MS, -DAY_MS]).await;
    with_steps(&[-DAY_MS, DAY_MS]).await;
}
