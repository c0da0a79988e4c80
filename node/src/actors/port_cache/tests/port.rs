//! What is asked of the control server, and what whoever looks a port up is told.

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use weir_core::port_cache::{Answer, Failure, State};
use weir_core::vpn::Doubt;

use super::*;

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

async fn answer(rig: &Rig) -> Answer {
    let answer = timeout(5 * SECOND, rig.handle.port("v1")).await;
    answer.expect("an answer").unwrap()
}

/// The port that is told, and whether it is marked as stale.
async fn told(rig: &Rig) -> (u16, bool) {
    match answer(rig).await {
        Answer::Port { port, is_stale, .. } => (port.get(), is_stale),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_look_ups_at_once_are_one_call() {
    run(async {
        let slow = Says {
            delay: SECOND,
            ..Says::default()
        };
        let rig = Rig::start_saying(FILE, slow).await;
        let answers = join_all((0..100).map(|_| told(&rig))).await;
        assert_eq!(answers, [(1111, false); 100]);
        assert_eq!(rig.calls(), 1);
        assert_eq!(rig.view().counters.misses, 100);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_warm_port_is_told_without_the_actor() {
    run(async {
        let rig = Rig::start(FILE).await;
        rig.says(|says| says.is_down = true);
        let handle = rig.without_the_actor();
        let age = match handle.port("v1").await.unwrap() {
            Answer::Port { port, age, .. } if port.get() == 1111 => age,
            other => panic!("{other:?}"),
        };
        assert_eq!(age, SECOND);
        assert_eq!(handle.warm("v1"), Some((port(1111), SECOND)));
        assert_eq!(rig.view().counts.hits(), 2);
        // It does not outlive its time because nobody is there to say so.
        sleep(59 * SECOND).await;
        assert_eq!(handle.warm("v1"), None);
        let answer = handle.port("v1").await.unwrap();
        assert_eq!(answer, Answer::Refused(Failure::Unreachable));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_port_is_asked_for_ahead_of_its_end_so_that_nobody_waits() {
    run(async {
        let slow = Says {
            delay: 4 * SECOND,
            ..Says::default()
        };
        let rig = Rig::start_saying(FILE, slow).await;
        sleep(5 * SECOND).await;
        let until = Instant::now() + 600 * SECOND;
        while Instant::now() < until {
            assert!(rig.handle.warm("v1").is_some(), "{:?}", rig.view());
            sleep(100 * MS).await;
        }
        // Once in the time to live less the lead, and once before.
        assert_eq!(rig.calls(), 1 + 605 / 50);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_port_yet_is_believed_for_a_while_and_then_asked_for_ever_more_rarely() {
    run(async {
        let none = Says {
            port: 0,
            ..Says::default()
        };
        let rig = Rig::start_saying(FILE, none).await;
        for _ in 0..18 {
            assert_eq!(answer(&rig).await, Answer::NotReady);
            sleep(100 * MS).await;
        }
        assert_eq!((rig.calls(), rig.view().port_state), (1, State::NotReady));
        sleep(58 * SECOND).await;
        // At 2, 6, 14 and 30 s.
        assert_eq!(rig.calls(), 5);
        // Whoever asks gets one earlier.
        rig.says(|says| says.port = 1111);
        assert_eq!(told(&rig).await, (1111, false));
        assert_eq!(rig.calls(), 6);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_drops_the_answer_that_was_under_way() {
    run(async {
        let rig = Rig::start(FILE).await;
        rig.says(|says| says.delay = SECOND);
        rig.handle.invalidate("v1").await.unwrap().unwrap();
        sleep(500 * MS).await;
        rig.says(|says| says.port = 2222);
        rig.handle.invalidate("v1").await.unwrap().unwrap();
        assert_eq!(told(&rig).await, (2222, false));
        sleep(SECOND).await;
        let view = rig.view();
        assert_eq!(view.port_state, State::Ready(port(2222)));
        assert_eq!(view.counters.stale_replies_dropped, 1);
        assert_eq!(view.epoch, 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_last_port_is_told_and_marked_while_nobody_answers_up_to_the_bound() {
    run(async {
        let file = format!("{FILE}[port_cache]\nstale_max = \"5m\"\n");
        let rig = Rig::start(&file).await;
        rig.says(|says| says.is_down = true);
        sleep(58 * SECOND).await;
        assert_eq!(told(&rig).await, (1111, false));
        sleep(2 * SECOND).await;
        assert_eq!(told(&rig).await, (1111, true));
        assert_eq!(rig.handle.warm("v1"), None);
        assert_eq!(rig.view().good.unwrap().0, port(1111));
        sleep(238 * SECOND).await;
        assert_eq!(told(&rig).await, (1111, true));
        // By two looks after the bound the VPN itself counts as lost.
        sleep(12 * SECOND).await;
        assert_eq!(answer(&rig).await, Answer::Refused(Failure::Unreachable));
        assert_eq!(rig.view().good, None);
        rig.says(|says| says.is_down = false);
        sleep(61 * SECOND).await;
        assert_eq!(told(&rig).await, (1111, false));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_control_server_that_denies_access_is_not_a_vpn_without_a_port() {
    run(async {
        let rig = Rig::start(FILE).await;
        rig.says(|says| says.denies = true);
        rig.handle.invalidate("v1").await.unwrap().unwrap();
        assert_eq!(answer(&rig).await, Answer::Refused(Failure::AuthRequired));
        let view = rig.view();
        assert_eq!(view.port_state, State::Failed(Failure::AuthRequired));
        assert!(view.alarms[0].contains("denies access"), "{view:?}");
        // Engines keep what they have.
        assert_eq!(rig.settled(), 1111);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_port_is_settled_by_two_equal_reads_in_a_row() {
    run(async {
        let rig = Rig::start(&format!("{WATCHED}{FILE}")).await;
        rig.says(|says| says.port = 2222);
        sleep(29 * SECOND + 500 * MS).await;
        assert_eq!(told(&rig).await, (2222, false));
        assert_eq!(rig.settled(), 1111);
        rig.says(|says| says.port = 1111);
        sleep(2 * SECOND).await;
        assert_eq!((told(&rig).await.0, rig.settled()), (1111, 1111));
        rig.says(|says| says.port = 3333);
        sleep(29 * SECOND).await;
        let calls = rig.calls();
        sleep(3 * SECOND).await;
        assert_eq!(rig.settled(), 3333);
        // One that is due, one to confirm it, and one because the tunnel is another one.
        assert!(rig.calls() - calls <= 3, "{}", rig.calls() - calls);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_port_never_settles_anything_and_is_an_alarm_after_a_while() {
    run(async {
        let mut rig = Rig::start(FILE).await;
        rig.says(|says| says.port = 0);
        sleep(600 * SECOND).await;
        assert_eq!(answer(&rig).await, Answer::NotReady);
        assert_eq!(rig.settled(), 1111);
        assert!(rig.view().alarms[0].contains("without a forwarded port"));
        assert_eq!(rig.happened(), []);
        rig.says(|says| says.port = 1111);
        sleep(61 * SECOND).await;
        assert_eq!(rig.view().alarms, [""; 0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_port_that_flaps_is_an_alarm_and_settles_nothing() {
    run(async {
        let rig = Rig::start(&format!(
            "{FILE}[port_cache]\nttl = \"4s\"\nrefresh_lead = \"2s\"\n"
        ))
        .await;
        for turn in 0..60 {
            rig.says(|says| says.port = [2222, 1111][turn % 2]);
            sleep(5 * SECOND).await;
        }
        let settled = rig.settled();
        assert!(rig.view().alarms[0].contains("changes so often"));
        for turn in 0..20 {
            rig.says(|says| says.port = [2222, 1111][turn % 2]);
            sleep(5 * SECOND).await;
            assert_eq!(rig.settled(), settled, "what runs keeps what it has");
            // What starts now gets none of them, and is told for how long.
            let (port, _) = rig.handle.port_for_provision("v1").await;
            let Err(Doubt::Flapping { calm_in }) = port else {
                panic!("{port:?}");
            };
            assert!(
                (500 * SECOND..600 * SECOND).contains(&calm_in),
                "{calm_in:?}"
            );
        }
        sleep(620 * SECOND).await;
        let (port, _) = rig.handle.port_for_provision("v1").await;
        assert_eq!(port.map(Port::get), Ok(1111));
        assert_eq!(rig.view().alarms, [""; 0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn new_limits_hold_at_once_and_cost_nothing_that_is_known() {
    run(async {
        let rig = Rig::start(FILE).await;
        sleep(4 * SECOND).await;
        let (calls, epoch) = (rig.calls(), rig.view().epoch);
        let looks = rig.server.looks.load(Ordering::Relaxed);
        let limits =
            "[port_cache]\nttl = \"4s\"\nrefresh_lead = \"1s\"\nhealth_interval = \"1s\"\n";
        rig.configure(&format!("{FILE}engines_max = 3\n{limits}"))
            .await;
        sleep(200 * MS).await;
        assert!(rig.handle.warm("v1").is_some());
        assert_eq!((rig.calls(), rig.view().epoch), (calls + 1, epoch));
        assert_eq!(rig.server.looks.load(Ordering::Relaxed), looks + 1);
        assert_eq!(rig.settled(), 1111);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_control_server_is_another_entry() {
    run(async {
        let rig = Rig::start(FILE).await;
        let before = rig.view();
        rig.says(|says| says.delay = SECOND);
        rig.configure(&FILE.replace("8000", "8001")).await;
        assert_eq!(rig.handle.warm("v1"), None);
        assert_ne!(rig.view().incarnation, before.incarnation);
        assert_eq!(told(&rig).await, (1111, false));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_vpn_that_forwards_no_port_says_so_at_once() {
    run(async {
        let rig = Rig::start(&format!("{FILE}forwards_port = false\n")).await;
        let since = Instant::now();
        assert_eq!(answer(&rig).await, Answer::Refused(Failure::Unsupported));
        assert_eq!(
            rig.handle.port_for_provision("v1").await.0,
            Err(Doubt::NoPort)
        );
        assert_eq!((since.elapsed(), rig.calls()), (Duration::ZERO, 0));
        assert!(rig.handle.port("v2").await.is_err());
    })
    .await;
}
