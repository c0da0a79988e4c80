//! Each push is answered by what became of it.

use weir_core::tuning::{all, find};

use super::super::taker::AGENT_PATIENCE;
use super::*;
use crate::actors::config_agent::tests::takers;
use crate::actors::config_agent::{ConfigAgent, ConfigAgentHandle, InForce, Outlets};
use crate::broadcast::Broadcast;
use crate::config::{Config, Environment, Given, supported};
use crate::events::Events;
use crate::orders::Orders;
use crate::ports::clock::WallClock;

#[tokio::test(start_paused = true)]
async fn a_profile_is_applied_and_told_with_what_nobody_reads_and_what_must_wait() {
    run(Box::pin(async {
        let wired = node().await;
        let mut taker = new_taker(&wired);
        assert_eq!(taker.state().origin, "none");
        assert_eq!(taker.resume(), []);
        let unread = all()
            .find(|knob| !supported().contains_key(knob.path))
            .unwrap();
        let of_unread = (unread.path, &*unread.default_value().to_string());
        let push = profile_push(&[(TIMEOUT, "7s"), of_unread]);
        let ack = taker.take(&push).await;
        assert_eq!((ack.nonce, ack.version, ack.resync), (7, 9, false));
        assert_eq!(ack.status(), pb::ApplyStatus::Applied);
        assert_eq!(ack.profile.as_ref(), Some(taker.state()));
        let state = taker.state().clone();
        assert_eq!(state.origin, "control-plane");
        assert_eq!(
            (&state.offered_hash, &state.effective_hash),
            (&hash_of(&push), &hash_of(&push))
        );
        assert_eq!(
            wrong(&state.unsupported),
            [(unread.path.to_owned(), Code::Unsupported)]
        );
        assert_eq!(header_timeout(&wired), secs(7));

        // Other content that gives the same is in force at once.
        let again = profile_push(&[(TIMEOUT, "7s")]);
        taker.take(&again).await;
        let again = profile_push(&[(TIMEOUT, "7s"), of_unread]);
        taker.take(&again).await;
        let workers = profile_push(&[("ingress.workers", "7")]);
        let ack = taker.take(&workers).await;
        assert_eq!(ack.status(), pb::ApplyStatus::Deferred);
        assert_eq!(taker.state().pending_restart, ["ingress.workers"]);
        assert_eq!(taker.state().effective_hash, hash_of(&workers));
        let ack = taker.take(&profile_push(&[])).await;
        assert_eq!(ack.status(), pb::ApplyStatus::Applied);
        assert_eq!(taker.state().pending_restart, [""; 0]);
        let ack = taker.take(&profile_push(&[])).await;
        assert_eq!(ack.status(), pb::ApplyStatus::Unchanged);
        let points = taker.resume();
        assert_eq!(points.len(), 1);
        assert_eq!((&*points[0].epoch, points[0].version), ("epoch", 9));
    }))
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_profile_leaves_the_old_one_and_comes_into_force_when_the_file_is_mended() {
    run(Box::pin(async {
        let wired = node().await;
        let mut taker = new_taker(&wired);
        let good = profile_push(&[(TIMEOUT, "7s")]);
        taker.take(&good).await;
        let bad = profile_push(&[(TIMEOUT, "9s"), (WINDOW, "1MiB")]);
        let ack = taker.take(&bad).await;
        assert_eq!(ack.status(), pb::ApplyStatus::Rejected);
        assert_eq!(wrong(&ack.errors), [(WINDOW.to_owned(), Code::Infeasible)]);
        assert_eq!(ack.errors[0].value, "1MiB");
        assert_eq!(header_timeout(&wired), secs(7));
        let state = taker.state().clone();
        assert_eq!(
            (&state.offered_hash, &state.effective_hash),
            (&hash_of(&bad), &hash_of(&good))
        );
        assert_eq!(state.last_attempt(), pb::ApplyStatus::Rejected);

        // Neither time nor weights mend it.
        taker.take(&weights_push(5)).await;
        taker.tick().await;
        assert_eq!(*taker.state(), state);
        let mended = FILE.replace("8MiB", "512KiB");
        wired.config.offer(mended).await.unwrap().unwrap();
        taker.tick().await;
        assert_eq!(taker.state().last_attempt(), pb::ApplyStatus::Applied);
        assert_eq!(taker.state().effective_hash, hash_of(&bad));
        assert_eq!(taker.state().errors, []);
        assert_eq!((header_timeout(&wired), weight(&wired)), (secs(9), 5));
    }))
    .await;
}

#[tokio::test(start_paused = true)]
async fn values_of_another_version_refuse_a_profile_and_knobs_of_another_version_do_not() {
    run(async {
        let wired = node().await;
        let mut taker = new_taker(&wired);
        let mut wire = base(&[(TIMEOUT, "7s")]);
        let mut setting = wire.settings[0].clone();
        setting.path = "ingress.of_tomorrow".to_owned();
        wire.settings.push(setting);
        let push = |base: &tuning::Profile| {
            tuned(&pb::TunedProfile {
                base: Some(base.clone()),
                overrides: Vec::new(),
            })
        };
        let ack = taker.take(&push(&wire)).await;
        assert_eq!(ack.status(), pb::ApplyStatus::Applied);
        let unknown = [("ingress.of_tomorrow".to_owned(), Code::Unsupported)];
        assert_eq!(wrong(&taker.state().unsupported), unknown);

        let tomorrow = tuning::value::Kind::DurationMs(u64::MAX);
        wire.settings[0].value = Some(tuning::Value {
            kind: Some(tomorrow),
        });
        let ack = taker.take(&push(&wire)).await;
        assert_eq!(ack.status(), pb::ApplyStatus::Rejected);
        assert_eq!(wrong(&ack.errors), [(TIMEOUT.to_owned(), Code::Range)]);
        assert_eq!(ack.errors[0].bound, find(TIMEOUT).unwrap().bound());
        let garbage = push_of(pb::ResourceType::Profile, &[("profile", vec![0xff])]);
        let ack = taker.take(&garbage).await;
        assert_eq!(wrong(&ack.errors), [("profile".to_owned(), Code::Type)]);
        assert_eq!(header_timeout(&wired), secs(7));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_asked_for_anew_and_what_is_held_stays() {
    run(async {
        let wired = node().await;
        let mut taker = new_taker(&wired);
        taker.take(&weights_push(5)).await;
        let points = taker.resume();
        let mut delta = weights_push(6);
        delta.reset = false;
        delta.set_hash = vec![0; 16];
        let ack = taker.take(&delta).await;
        assert!(ack.resync);
        assert_eq!(ack.status(), pb::ApplyStatus::Unspecified);
        assert_eq!((weight(&wired), taker.resume()), (5, points));

        // Told to forget, it holds nothing that a delta could build on.
        let command = pb::Command {
            id: "1".to_owned(),
            command: Some(pb::command::Command::Resync(pb::Resync {})),
        };
        assert_eq!(taker.answer(&command).error, "");
        assert_eq!(taker.resume(), []);
        let mut delta = weights_push(6);
        delta.reset = false;
        assert!(taker.take(&delta).await.resync);
        assert_eq!(weight(&wired), 5);
        let ack = taker.take(&weights_push(6)).await;
        assert_eq!(
            (ack.status(), weight(&wired)),
            (pb::ApplyStatus::Applied, 6)
        );
        assert_eq!(taker.resume().len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn orders_are_obeyed_peers_are_known_and_other_types_are_refused() {
    run(Box::pin(async {
        let wired = node().await;
        wired.orders.started().await;
        let ends = ends(&wired);
        let status = ends.status.clone();
        let mut taker = Taker::new(Start::default(), ends);
        let orders = pb::NodeOrders {
            cordoned: true,
            draining: true,
        };
        let push = push_of(
            pb::ResourceType::Orders,
            &[("node", orders.encode_to_vec())],
        );
        assert_eq!(taker.take(&push).await.status(), pb::ApplyStatus::Applied);
        assert_eq!(wired.orders.state(), "draining");
        let push = push_of(pb::ResourceType::Orders, &[]);
        taker.take(&push).await;
        assert_eq!(wired.orders.in_force(), Orders::default());

        let peer = pb::Peer {
            node_id: "node-b".to_owned(),
            ..pb::Peer::default()
        };
        let other = ("node-c", vec![0xff]);
        let push = push_of(
            pb::ResourceType::Peers,
            &[("node-b", peer.encode_to_vec()), other],
        );
        taker.take(&push).await;
        assert_eq!(*status.load().peers, [peer]);

        let mut push = push_of(pb::ResourceType::Weights, &[]);
        push.r#type = 77;
        let ack = taker.take(&push).await;
        assert_eq!((ack.r#type, ack.status()), (77, pb::ApplyStatus::Rejected));
        assert_eq!(wrong(&ack.errors), [("type".to_owned(), Code::Unsupported)]);
        let empty = pb::Command::default();
        assert!(taker.answer(&empty).error.contains("not known"));
    }))
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_agent_was_away_for_is_in_force_when_it_is_back() {
    run(Box::pin(async {
        let wired = node().await;
        let config = Config::parse(FILE, &Environment::new(), &Given::default()).unwrap();
        let broadcast = Broadcast::new(&config, WallClock::system(), 1);
        let events = Events::new("node-1", "e1".to_owned(), WallClock::system());
        let outlets = Outlets::new(InForce::first(config), &Tracer::off(), &broadcast, &events);
        let agent = ConfigAgentHandle::new(&outlets.in_force);
        let ends = Ends {
            agent: agent.clone(),
            ..ends(&wired)
        };
        let ingress = outlets.ingress.clone();
        let mut taker = Taker::new(Start::default(), ends);
        let since = tokio::time::Instant::now();
        let ack = taker.take(&weights_push(5)).await;
        assert_eq!(ack.status(), pb::ApplyStatus::Rejected);
        assert_eq!(ack.errors[0].path, "weights");
        assert!(since.elapsed() >= AGENT_PATIENCE);
        let push = profile_push(&[(TIMEOUT, "7s")]);
        let ack = taker.take(&push).await;
        assert_eq!(ack.status(), pb::ApplyStatus::Rejected);
        taker.tick().await;
        assert_eq!(taker.state().last_attempt(), pb::ApplyStatus::Rejected);

        let actor = ConfigAgent::new(outlets, Environment::new(), takers(&wired));
        agent.take.point_at(&actix::Actor::start(actor));
        taker.tick().await;
        assert_eq!(taker.state().last_attempt(), pb::ApplyStatus::Applied);
        assert_eq!(taker.state().effective_hash, hash_of(&push));
        assert_eq!(
            (weight(&wired), ingress.load().header_timeout),
            (5, secs(7))
        );
        let revision = agent.in_force().revision;
        taker.tick().await;
        assert_eq!(agent.in_force().revision, revision, "it is settled");
    }))
    .await;
}
