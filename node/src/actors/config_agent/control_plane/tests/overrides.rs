//! Overrides end by time, whether anybody is there to say so or not.

use bytes::Bytes;
use weir_core::probation::{ContentHash, Standing};

use super::*;
use crate::actors::config_agent::InForce;
use crate::actors::config_agent::last_known_good::{Boot, Content};
use crate::actors::config_agent::tests::started_with;
use crate::config::Environment;
use crate::ports::clock::WallClock;

/// What a node finds that kept these sets.
fn boot(pushes: &[pb::Push]) -> Boot {
    let kept = pb::LastKnownGood {
        sets: pushes.to_vec(),
    };
    let content = Content {
        payload: Bytes::from(kept.encode_to_vec()),
        hash: ContentHash([1; 16]),
        epoch: "epoch".to_owned(),
        standing: Standing::Good,
        applied_at: SENT_AT,
    };
    Boot {
        start_from: Some(content),
        crashed: false,
        rolled_back: None,
        quarantined: Vec::new(),
        notes: Vec::new(),
    }
}

/// The start of a node that kept these sets, when its clock shows this.
fn start_at(pushes: &[pb::Push], unix: Duration) -> Start {
    Start::of(&boot(pushes), &WallClock::starting_at(unix))
}

async fn started_from(start: Start) -> (Wired, Taker) {
    let first = InForce::at_start(FILE, &Environment::new(), start.given()).unwrap();
    let wired = started_with(first, Tracer::off()).await;
    let ends = ends(&wired);
    (wired, Taker::new(start, ends))
}

async fn pass(taker: &mut Taker, time: Duration) {
    tokio::time::advance(time).await;
    taker.tick().await;
}

#[tokio::test(start_paused = true)]
async fn each_override_holds_until_its_own_end() {
    run(async {
        let wired = node().await;
        let mut taker = new_taker(&wired);
        let over = [
            (TIMEOUT, "3s", secs(60)),
            ("ingress.workers", "7", secs(90)),
        ];
        let push = overridden(&[(TIMEOUT, "7s")], &over);
        let ack = taker.take(&push).await;
        assert_eq!(ack.status(), pb::ApplyStatus::Deferred);
        pass(&mut taker, secs(59)).await;
        assert_eq!(header_timeout(&wired), secs(3));
        pass(&mut taker, secs(1)).await;
        assert_eq!(header_timeout(&wired), secs(7));
        assert_eq!(taker.state().pending_restart, ["ingress.workers"]);
        pass(&mut taker, secs(30)).await;
        assert_eq!(
            taker.state().pending_restart,
            [""; 0],
            "what ended waits for nothing"
        );
        assert_eq!(taker.state().effective_hash, hash_of(&push));
        let revision = wired.config.in_force().revision;
        pass(&mut taker, secs(3_600)).await;
        assert_eq!(wired.config.in_force().revision, revision);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_override_in_force_ends_while_a_newer_profile_is_refused() {
    run(async {
        let wired = node().await;
        let mut taker = new_taker(&wired);
        let push = overridden(&[(TIMEOUT, "7s")], &[(TIMEOUT, "3s", secs(60))]);
        taker.take(&push).await;
        let refused = taker.take(&profile_push(&[(WINDOW, "1MiB")])).await;
        assert_eq!(refused.status(), pb::ApplyStatus::Rejected);
        pass(&mut taker, secs(60)).await;
        assert_eq!(header_timeout(&wired), secs(7));
        assert_eq!(taker.state().last_attempt(), pb::ApplyStatus::Rejected);
        assert_eq!(
            wrong(&taker.state().errors),
            [(WINDOW.to_owned(), Code::Infeasible)]
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_override_without_which_the_profile_cannot_be_is_told_and_ends_with_the_mended_file() {
    run(async {
        let wired = node().await;
        let mut taker = new_taker(&wired);
        let push = overridden(&[(WINDOW, "1MiB")], &[(WINDOW, "10MiB", secs(60))]);
        assert_eq!(taker.take(&push).await.status(), pb::ApplyStatus::Applied);
        let window = || wired.core_parts.ingress.load().h2_connection_window_bytes;
        pass(&mut taker, secs(60)).await;
        assert_eq!(taker.state().last_attempt(), pb::ApplyStatus::Rejected);
        assert_eq!(
            wrong(&taker.state().errors),
            [(WINDOW.to_owned(), Code::Infeasible)]
        );
        assert_eq!(window(), 10 << 20);
        let mended = FILE.replace("8MiB", "512KiB");
        // With the override that should have ended the mended file is in force; then it ends.
        wired.config.offer(mended).await.unwrap().unwrap();
        pass(&mut taker, secs(1)).await;
        assert_eq!(
            (taker.state().last_attempt(), window()),
            (pb::ApplyStatus::Applied, 1 << 20)
        );
        assert_eq!(taker.state().errors, []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_an_override_holds_after_a_start() {
    run(async {
        let push = overridden(&[(TIMEOUT, "7s")], &[(TIMEOUT, "3s", secs(60))]);
        let (wired, mut taker) =
            started_from(start_at(std::slice::from_ref(&push), SENT_AT + secs(50))).await;
        assert_eq!(header_timeout(&wired), secs(3));
        assert_eq!(taker.state().origin, "last-known-good");
        assert_eq!(taker.state().effective_hash, hash_of(&push));
        pass(&mut taker, secs(9)).await;
        assert_eq!(header_timeout(&wired), secs(3));
        pass(&mut taker, secs(1)).await;
        assert_eq!(header_timeout(&wired), secs(7));
        assert_eq!(taker.state().origin, "last-known-good");

        let (wired, _) = started_from(start_at(&[push], SENT_AT + secs(60))).await;
        assert_eq!(
            header_timeout(&wired),
            secs(7),
            "it ended while the node was away"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_steps_lengthens_no_override_beyond_its_whole_time() {
    run(Box::pin(async {
        let push = overridden(&[(TIMEOUT, "7s")], &[(TIMEOUT, "3s", secs(60))]);
        // Back before the time at which it was sent: nothing is known to have passed.
        let (wired, mut taker) = started_from(start_at(std::slice::from_ref(&push), secs(5))).await;
        assert_eq!(header_timeout(&wired), secs(3));
        pass(&mut taker, secs(60)).await;
        assert_eq!(header_timeout(&wired), secs(7));
        // Years ahead.
        let (wired, _) = started_from(start_at(&[push], secs(1 << 32))).await;
        assert_eq!(header_timeout(&wired), secs(7));

        // No control plane gives more than a day, whatever it sends.
        let push = overridden(&[(TIMEOUT, "7s")], &[(TIMEOUT, "3s", secs(1 << 30))]);
        let wired = node().await;
        let mut taker = new_taker(&wired);
        taker.take(&push).await;
        pass(&mut taker, secs(86_400)).await;
        assert_eq!(header_timeout(&wired), secs(7));
    }))
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_start_takes_what_it_can_read_and_tells_what_it_cannot_use() {
    run(async {
        let mut damaged = push_of(pb::ResourceType::Endpoints, &[]);
        damaged.set_hash = vec![1];
        let infeasible = profile_push(&[(WINDOW, "1MiB"), (TIMEOUT, "9s")]);
        let start = start_at(&[infeasible.clone(), weights_push(5), damaged], SENT_AT);
        let (wired, mut taker) = started_from(start).await;
        assert_eq!((header_timeout(&wired), weight(&wired)), (secs(10), 5));
        let state = taker.state().clone();
        assert_eq!(state.last_attempt(), pb::ApplyStatus::Rejected);
        assert_eq!(
            wrong(&state.errors),
            [(WINDOW.to_owned(), Code::Infeasible)]
        );
        assert_eq!((&*state.origin, &*state.effective_hash), ("none", &[][..]));
        assert_eq!(taker.resume().len(), 2, "profile and weights are held");

        let mended = FILE.replace("8MiB", "512KiB");
        wired.config.offer(mended).await.unwrap().unwrap();
        taker.tick().await;
        assert_eq!(header_timeout(&wired), secs(9));
        assert_eq!(taker.state().origin, "last-known-good");
        assert_eq!(taker.state().effective_hash, hash_of(&infeasible));

        let mut unreadable = boot(&[]);
        unreadable.start_from.as_mut().unwrap().payload = vec![0xff].into();
        let start = Start::of(&unreadable, &WallClock::starting_at(SENT_AT));
        assert!(start.given().is_empty());
    })
    .await;
}
