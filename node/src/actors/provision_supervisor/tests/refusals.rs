//! Wishes that are refused for what is so at the moment, and jobs that say why they wait.

use weir_core::provision::RefusalCode;

use super::*;

const CONFIG: &str = "[provision]\nhost_ports = \"21950-21950\"\n[services.tv.engines]\ncommand = [\"tv\"]\nmin = 0\n\
                      max = 3\n";

#[tokio::test(start_paused = true)]
async fn a_wish_is_refused_while_what_runs_engines_is_away_and_taken_when_it_is_back() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        world.machine.is_away(true);
        sleep(seconds(12)).await;
        let refused = node.wish("one").await.unwrap_err();
        assert_eq!(refused.code, RefusalCode::DriverUnavailable);
        assert!(
            refused.message.starts_with("process: the daemon"),
            "{refused}"
        );
        assert_eq!(refused.recovery_eta, Some(seconds(1)));
        assert_eq!(
            node.picture().blocked,
            Some(refused),
            "no service can have any"
        );
        assert_eq!(world.all_jobs().await.len(), 0);
        world.machine.is_away(false);
        sleep(seconds(2)).await;
        node.wish("one").await.unwrap();
        until("ready", seconds(5), || node.engines("ready").len() == 1).await;
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_refuses_wishes_as_that() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        node.handle.leave().await;
        let refused = node.wish("one").await.unwrap_err();
        assert_eq!(refused.code, RefusalCode::Stopping);
        assert!(refused.can_retry() && !refused.should_wait());
        sleep(seconds(1)).await;
        assert_eq!(
            node.picture().blocked.as_ref().map(|one| one.code),
            Some(RefusalCode::Stopping)
        );
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_finds_no_port_says_so_and_waits_for_one() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        for key in ["one", "two"] {
            node.wish(key).await.unwrap();
        }
        until("ready", seconds(5), || node.engines("ready").len() == 1).await;
        let no_port = "no_port_free: no port of this machine is free";
        let tells = || {
            node.picture()
                .last_failure
                .as_deref()
                .is_some_and(|why| why.contains(no_port))
        };
        until("it says why", seconds(5), tells).await;
        let refused = node.picture().services[0].refused.clone().unwrap();
        assert_eq!(refused.code, RefusalCode::NoPortFree);
        let problems = node.picture().problems.clone();
        assert_eq!(problems, ["service `tv`: no port of this machine is free"]);
        // One more is refused at once, and who has a job waits with it.
        assert!(node.wish("two").await.unwrap().already);
        let refused = node.wish("three").await.unwrap_err();
        let message = "no port of this machine is free";
        assert_eq!(refused, Refusal::new(RefusalCode::NoPortFree, message));
        assert!(refused.can_retry() && !refused.should_wait());
        assert_eq!(node.picture().blocked.as_ref(), Some(&refused));
        assert_eq!(node.picture().breaker, "closed", "nothing failed");
        let engine = node.engines("ready")[0].clone();
        let stop = StopEngine {
            engine,
            now: true,
            reason: "a test".to_owned(),
        };
        node.handle.stop(stop).await.unwrap().unwrap();
        until("the other one", seconds(30), || {
            world.machine.begun().len() == 2
        })
        .await;
        let is_over = || node.picture().services[0].refused.is_none();
        until("nothing is refused", seconds(1), is_over).await;
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_port_that_a_stranger_listens_on_is_told_with_the_time_after_which_it_is_tried_again() {
    let mut world = World::new();
    // Of this machine, where it is somebody's.
    let stranger = std::net::TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = stranger.local_addr().unwrap().port();
    let config = CONFIG.replace("21950-21950", &format!("{port}-{port}"));
    let (mut life, node) = world.node("a", &config);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        node.wish("one").await.unwrap();
        let is_told = || node.picture().services[0].refused.is_some();
        until("refused", seconds(5), is_told).await;
        let refused = node.wish("two").await.unwrap_err();
        assert_eq!(refused.code, RefusalCode::NoPortFree);
        let eta = refused.recovery_eta.unwrap();
        assert!((seconds(50)..=seconds(60)).contains(&eta), "{eta:?}");
        drop(stranger);
        sleep(eta).await;
        until("ready", seconds(5), || node.engines("ready") == ["tv-1"]).await;
        let is_over = || node.picture().services[0].refused.is_none();
        until("nothing is refused", seconds(1), is_over).await;
    };
    live(&mut [&mut life], test).await;
}
