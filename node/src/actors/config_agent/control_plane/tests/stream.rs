//! The stream breaks, is silent, or is refused: the node comes back, and not too soon.

use tokio::time::{Instant, sleep};
use weir_proto::control::v1::control_message::Message;
use weir_proto::control::v1::node_message;

use super::fake::Link;
use super::*;

const HEARTBEAT: Duration = Duration::from_secs(15);

async fn linked() -> (Wired, Link) {
    let wired = node().await;
    let link = Link::start(&wired, new_taker(&wired));
    (wired, link)
}

#[tokio::test(start_paused = true)]
async fn each_push_is_answered_once_and_what_is_held_is_told_at_the_next_hello() {
    run(async {
        let (wired, mut link) = linked().await;
        let (mut stream, hello) = link.greeted().await;
        assert_eq!((&*hello.node_id, hello.resume.len()), ("node-a", 0));
        assert_eq!(hello.profile.unwrap().origin, "none");
        stream.welcome(HEARTBEAT).await;
        let push = profile_push(&[(TIMEOUT, "7s")]);
        stream.say(Message::Push(push.clone())).await;
        let ack = stream.ack().await;
        assert_eq!((ack.nonce, ack.status()), (7, pb::ApplyStatus::Applied));
        assert_eq!(header_timeout(&wired), secs(7));
        let command = pb::Command {
            id: "c".to_owned(),
            command: Some(pb::command::Command::ReportEffective(
                pb::ReportEffective {},
            )),
        };
        stream.say(Message::Command(command)).await;
        let Some(node_message::Message::CommandResult(result)) = stream.next_word().await else {
            panic!("no result");
        };
        let knobs = result.effective.unwrap().knobs;
        let knob = knobs.iter().find(|knob| knob.path == TIMEOUT).unwrap();
        assert_eq!(
            (&*result.id, &*knob.value, &*knob.source),
            ("c", "7s", "profile")
        );
        drop(stream);
        let (_stream, hello) = link.greeted().await;
        assert_eq!(hello.resume.len(), 1);
        assert_eq!(hello.resume[0].set_hash, push.set_hash);
        assert_eq!(hello.profile.unwrap().effective_hash, hash_of(&push));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_is_mended_while_a_stream_is_opened_is_told() {
    run(async {
        let wired = node().await;
        let mut taker = new_taker(&wired);
        let push = profile_push(&[(WINDOW, "1MiB")]);
        taker.take(&push).await;
        let mut link = Link::start(&wired, taker);
        let (mut stream, hello) = link.greeted().await;
        assert_eq!(
            hello.profile.unwrap().last_attempt(),
            pb::ApplyStatus::Rejected
        );
        let mended = FILE.replace("8MiB", "512KiB");
        wired.config.offer(mended).await.unwrap().unwrap();
        sleep(secs(3)).await;
        stream.welcome(HEARTBEAT).await;
        let Some(node_message::Message::ProfileState(state)) = stream.next_word().await else {
            panic!("it is not told");
        };
        assert_eq!(state.last_attempt(), pb::ApplyStatus::Applied);
        assert_eq!(state.effective_hash, hash_of(&push));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn overrides_end_while_no_control_plane_is_there() {
    run(async {
        let (wired, mut link) = linked().await;
        let (mut stream, _) = link.greeted().await;
        stream.welcome(HEARTBEAT).await;
        let push = overridden(&[(TIMEOUT, "7s")], &[(TIMEOUT, "3s", secs(40))]);
        stream.say(Message::Push(push)).await;
        stream.ack().await;
        drop(stream);
        // It connects, and is answered nothing.
        let _stream = link.opened().await;
        assert_eq!(header_timeout(&wired), secs(3));
        sleep(secs(42)).await;
        assert_eq!(header_timeout(&wired), secs(7));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_ends_its_side_in_order() {
    run(async {
        let (_wired, mut link) = linked().await;
        let (mut stream, _) = link.greeted().await;
        stream.welcome(HEARTBEAT).await;
        assert!(stream.next().await.is_some(), "a heartbeat");
        link.stop();
        while let Some(message) = stream.next().await {
            assert!(
                matches!(message, node_message::Message::Heartbeat(_)),
                "{message:?}"
            );
        }
        let since = Instant::now();
        drop(stream);
        link.ended().await;
        assert_eq!(since.elapsed(), Duration::ZERO, "it waits for nothing else");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_does_not_wait_for_a_control_plane_that_hangs() {
    run(async {
        let (_wired, mut link) = linked().await;
        let (stream, _) = link.greeted().await;
        stream.welcome(HEARTBEAT).await;
        sleep(secs(1)).await;
        let since = Instant::now();
        link.stop();
        link.ended().await;
        assert_eq!(since.elapsed(), secs(1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_older_process_that_was_sent_away_stays_away_for_a_while() {
    run(async {
        let (_wired, mut link) = linked().await;
        let away = |superseded| {
            Message::GoAway(pb::GoAway {
                reason: "a younger process has this id".to_owned(),
                retry_after_ms: 0,
                superseded,
            })
        };
        let (stream, _) = link.greeted().await;
        stream.say(away(true)).await;
        let (again, _) = link.greeted().await;
        assert!(
            again.at - stream.at >= secs(30),
            "{:?}",
            again.at - stream.at
        );
        again.welcome(HEARTBEAT).await;
        sleep(secs(20)).await;
        let since = Instant::now();
        again.say(away(false)).await;
        let (last, _) = link.greeted().await;
        assert!(last.at - since <= secs(1), "{:?}", last.at - since);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_stream_after_three_heartbeats() {
    run(async {
        let (_wired, mut link) = linked().await;
        let (first, _) = link.greeted().await;
        first.welcome(HEARTBEAT).await;
        for _ in 0..4 {
            sleep(HEARTBEAT * 2).await;
            let heartbeat = pb::ControlHeartbeat::default();
            first.say(Message::Heartbeat(heartbeat)).await;
        }
        let since = Instant::now();
        let (second, _) = link.greeted().await;
        let silent = second.at - since;
        assert!(
            silent >= HEARTBEAT * 3 && silent <= HEARTBEAT * 3 + secs(1),
            "{silent:?}"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn streams_that_do_not_last_come_ever_less_often_and_a_lasting_one_is_back_at_once() {
    run(async {
        let (_wired, mut link) = linked().await;
        let since = Instant::now();
        for _ in 0..12 {
            let (stream, _) = link.greeted().await;
            stream.welcome(HEARTBEAT).await;
            let refused = tonic::Status::invalid_argument("what was pushed made no sense");
            stream.out.send(Err(refused)).await.unwrap();
        }
        assert!(since.elapsed() > secs(20), "{:?}", since.elapsed());
        let (stream, _) = link.greeted().await;
        stream.welcome(HEARTBEAT).await;
        sleep(secs(11)).await;
        let broke_at = Instant::now();
        drop(stream);
        let (next, _) = link.greeted().await;
        assert!(
            next.at - broke_at <= Duration::from_millis(300),
            "{:?}",
            next.at - broke_at
        );
        // One that does not begin with a welcome is none.
        next.say(Message::Heartbeat(pb::ControlHeartbeat::default()))
            .await;
        link.greeted().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_stream_the_status_says_since_when_and_why() {
    run(async {
        let wired = node().await;
        let ends = ends(&wired);
        let shown = ends.status.clone();
        let mut link = Link::start(&wired, Taker::new(Start::default(), ends));
        let (stream, _) = link.greeted().await;
        stream.welcome(HEARTBEAT).await;
        sleep(secs(20)).await;
        let status = shown.load();
        assert_eq!(
            (status.connected, status.away_since, &*status.why),
            (true, None, "")
        );
        let broken_at = Instant::now();
        let revoked = tonic::Status::unauthenticated("token revoked");
        stream.out.send(Err(revoked)).await.unwrap();
        drop(stream);
        let (_silent, _) = link.greeted().await;
        let status = shown.load();
        let away_since = status.away_since.unwrap();
        assert_eq!((status.connected, &*status.why), (false, "token revoked"));
        assert!(
            away_since - broken_at <= secs(1),
            "{:?}",
            away_since - broken_at
        );
    })
    .await;
}
