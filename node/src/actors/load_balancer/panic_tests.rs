//! What the actor knows outlives a panic, within a budget, and its links keep their bound.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;
use weir_core::health::Standing;

use super::tests::{Crash, Rig, THREE, WAITING_MAX, WITHIN, in_a_local_set};
use super::{Change, Command, TICK};
use crate::guardian::Budget;
use crate::link::{Link, Permits, Refused};

#[tokio::test(start_paused = true)]
async fn a_panic_keeps_services_weights_drains_ejections_and_pools() {
    in_a_local_set(async {
        let rig = Rig::start().await;
        rig.configure(THREE).await;
        let long = Duration::from_secs(600);
        let running = rig.backend("10.0.0.2:80").backend.load.clone();
        running.started(0);
        rig.command("10.0.0.1:80", Change::Weight(7)).await.unwrap();
        rig.command("10.0.0.2:80", Change::Drain(Some(long)))
            .await
            .unwrap();
        rig.command("10.0.0.3:80", Change::Eject(Some(long)))
            .await
            .unwrap();
        let before = rig.routing();

        rig.crash.offer(Crash).unwrap();
        tokio::task::yield_now().await;
        // While the actor is away requests go on by the last picture, and who asks is told.
        assert!(Arc::ptr_eq(&before, &rig.routing()));
        let command = Command {
            service: "web".into(),
            backend: "10.0.0.1:80".into(),
            change: Change::Undrain,
        };
        assert_eq!(rig.handle.command(command, None).await, Err(Refused::Away));
        sleep(Duration::from_secs(1)).await;

        // The same file once more, as after any reload.
        rig.configure(THREE).await;
        for old in &before.services[0].backends {
            let new = rig.backend(old.backend.id.as_str());
            assert!(Arc::ptr_eq(&new.backend, &old.backend), "pool and counters");
            assert_eq!((new.weight, new.standing), (old.weight, old.standing));
        }
        assert_eq!(rig.backend("10.0.0.1:80").weight, 7);
        running.finished(0, false);
        sleep(2 * TICK).await;
        let drained = rig.backend("10.0.0.2:80").standing;
        assert_eq!(drained, Standing::Drained { cut: false });
        // A new life gives no serial twice.
        rig.configure(&THREE.replace("0.3:80", "0.4:80")).await;
        let serial = rig.backend("10.0.0.4:80").backend.serial;
        assert!(
            before.services[0]
                .backends
                .iter()
                .all(|old| old.backend.serial < serial)
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn checks_go_on_after_a_panic() {
    in_a_local_set(async {
        let rig = Rig::start().await;
        rig.configure(&format!(
            "{THREE}health = {{ check = \"tcp\", interval = \"100ms\" }}"
        ))
        .await;
        rig.crash().await;
        rig.wires.cut.store(true, Ordering::Relaxed);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(rig.backend("10.0.0.1:80").standing, Standing::Unhealthy);
        rig.wires.cut.store(false, Ordering::Relaxed);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(rig.backend("10.0.0.1:80").standing, Standing::In);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn panics_beyond_the_budget_end_the_node_but_old_ones_are_forgotten() {
    in_a_local_set(async {
        let rig = Rig::start().await;
        let budget = Budget::default();
        for _ in 0..3 * budget.restarts_max {
            rig.crash().await;
            sleep(budget.window / 4).await;
        }
        assert!(!rig.guardian.is_finished());
        sleep(budget.window).await;
        for _ in 0..budget.restarts_max {
            assert!(!rig.guardian.is_finished());
            rig.crash().await;
        }
        rig.crash.offer(Crash).unwrap();
        let spent = rig.guardian.await.unwrap().unwrap_err();
        assert_eq!(spent.panics, budget.restarts_max + 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_full_link_refuses_and_a_dropped_message_frees_its_place() {
    in_a_local_set(async {
        let rig = Rig::start().await;
        // Nothing is handled before this task waits.
        for _ in 0..WAITING_MAX {
            rig.crash.offer(Crash).unwrap();
        }
        assert_eq!(rig.crash.offer(Crash), Err(Refused::Full));
        let asked = rig.crash.ask(Crash, None, WITHIN).await;
        assert_eq!(asked, Err(Refused::Full));
        // The first one panics the actor, and with it the others are dropped.
        sleep(Duration::from_secs(2)).await;
        rig.crash.offer(Crash).unwrap();
        let asked = rig.crash.ask(Crash, None, WITHIN).await;
        assert_eq!(asked, Err(Refused::Away));
        let nowhere: Link<Crash> = Link::new(&Permits::new(1));
        for _ in 0..3 {
            assert_eq!(nowhere.offer(Crash), Err(Refused::Away));
        }
    })
    .await;
}
