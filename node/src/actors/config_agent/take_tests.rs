//! What the control plane gives: profiles, weights, registered backends.

use weir_core::health::Standing;
use weir_core::tuning::{Code, Edit, Profile, Value, all, apply_edits};

use super::tests::{run, started, started_with, takers};
use super::*;
use crate::actors::load_balancer::{Change, Command, Outlet};
use crate::config::{Endpoints, RegisteredBackend, Source, Weights, supported};
use crate::data_plane::routing::BackendView;
use crate::ports::clock::WallClock;
use crate::telemetry::spans::Tracer;
use crate::wiring::Wired;

const FILE: &str = "[node]\ncores = 2\n\
    [services.web]\nbackends = [{ id = \"a\", address = \"127.0.0.1:1\", weight = 3 },\n\
    { id = \"b\", address = \"127.0.0.1:2\" }]\n\
    [[routes]]\nservice = \"web\"\n";

pub(super) fn profile(settings: &[(&str, &str)]) -> Profile {
    let edits: Vec<Edit> = settings
        .iter()
        .map(|(path, value)| Edit::Set((*path).to_owned(), (*value).to_owned()))
        .collect();
    apply_edits(&Profile::new(), &edits).unwrap()
}

async fn file() -> Wired {
    started(FILE, Tracer::off()).await
}

async fn tune(wired: &Wired, settings: &[(&str, &str)]) -> Verdict {
    let give = Give::Profile(profile(settings));
    wired.config.take(give).await.unwrap()
}

fn weights(of: &[(&str, u32)]) -> Give {
    let of_web = of.iter().map(|(id, weight)| ((*id).into(), *weight));
    Give::Weights(Weights::from([("web".into(), of_web.collect())]))
}

fn registered(address: &str) -> RegisteredBackend {
    RegisteredBackend {
        address: address.to_owned(),
        weight: 1,
        zone: String::new(),
        priority: 0,
        engine: None,
    }
}

fn backend(wired: &Wired, id: &str) -> BackendView {
    let routing = wired.core_parts.routing.load();
    let all = routing.services.iter().flat_map(|s| &s.backends);
    let found = all.into_iter().find(|view| view.backend.id.as_str() == id);
    found.unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_is_taken_is_in_force_everywhere_and_its_return_changes_nothing() {
    run(async {
        let wired = file().await;
        let unread = all()
            .find(|knob| !supported().contains_key(knob.path))
            .unwrap();
        let settings = [
            ("ingress.header_timeout", "7s"),
            ("upstream.read_timeout", "8s"),
            (unread.path, &unread.default_value().to_string()),
        ];
        let taken = tune(&wired, &settings).await.unwrap();
        assert!(!taken.unchanged);
        let unsupported: Vec<&str> = taken.unsupported.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(unsupported, [unread.path]);
        assert_eq!(
            wired.core_parts.ingress.load().header_timeout,
            Duration::from_secs(7)
        );
        let service = &wired.core_parts.routing.load().services[0];
        assert_eq!(service.settings.timeouts.read, Duration::from_secs(8));
        let revision = wired.config.in_force().revision;
        assert_eq!(revision, 2);

        let again = tune(&wired, &settings).await.unwrap();
        assert!(again.unchanged);
        assert_eq!(again.unsupported, taken.unsupported);
        assert_eq!(wired.config.in_force().revision, revision);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_does_not_go_with_the_file_is_refused_and_the_old_one_stays() {
    run(async {
        let text = format!(
            "{FILE}[ingress]\nh2_stream_window = \"8MiB\"\nh2_connection_window = \"9MiB\"\n"
        );
        let wired = started(&text, Tracer::off()).await;
        tune(&wired, &[("ingress.header_timeout", "7s")])
            .await
            .unwrap();
        let settings = [
            ("ingress.h2_connection_window", "1MiB"),
            ("ingress.header_timeout", "9s"),
        ];
        let problems = tune(&wired, &settings).await.unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].path, "ingress.h2_connection_window");
        assert_eq!(problems[0].code, Code::Infeasible);
        let in_force = wired.config.in_force();
        assert_eq!(in_force.profile_problems, problems);
        assert_eq!(in_force.revision, 2);
        assert_eq!(
            wired.core_parts.ingress.load().header_timeout,
            Duration::from_secs(7)
        );

        // What was in force is offered again: it still is, and nothing is wrong any more.
        let again = tune(&wired, &[("ingress.header_timeout", "7s")])
            .await
            .unwrap();
        assert!(again.unchanged);
        assert_eq!(wired.config.in_force().profile_problems, []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_does_not_go_with_the_profile_is_refused_as_any_bad_edit() {
    run(async {
        let wired = file().await;
        tune(&wired, &[("upstream.idle_max", "5")]).await.unwrap();
        let text = format!("{FILE}[services.web.pool]\nidle_min = 6\n");
        let refused = wired.config.offer(text.clone()).await.unwrap().unwrap_err();
        assert!(matches!(refused, Rejected::Invalid(_)), "{refused}");
        let problems = wired.config.in_force().last_problems.clone();
        assert_eq!(problems.len(), 1);
        let told = problems[0].to_string();
        assert!(
            told.starts_with("services.web.pool.idle_min: 6 is more than idle_max (5)"),
            "{told}"
        );
        assert!(told.contains("profile"), "{told}");
        tune(&wired, &[]).await.unwrap();
        wired.config.offer(text).await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn threads_that_a_profile_asks_for_wait_for_the_next_start() {
    run(async {
        let wired = file().await;
        let settings = [("ingress.workers", "7"), ("ingress.header_timeout", "7s")];
        let taken = tune(&wired, &settings).await.unwrap();
        assert_eq!(taken.pending_restart, ["ingress.workers"]);
        assert_eq!(
            wired.core_parts.ingress.load().header_timeout,
            Duration::from_secs(7)
        );
        let workers = || {
            let all = wired.config.in_force().config.effective();
            all.into_iter()
                .find(|e| e.knob.path == "ingress.workers")
                .unwrap()
        };
        assert_eq!(workers().value, Value::Count(2));
        assert_eq!(workers().source, Source::File);
        assert_eq!(workers().pending, Some(Value::Count(7)));

        // An edit of the file is none of threads: they wait on.
        let edited = format!("{FILE}[services.more]\n");
        wired.config.offer(edited).await.unwrap().unwrap();
        assert_eq!(workers().pending, Some(Value::Count(7)));
        tune(&wired, &[]).await.unwrap();
        assert_eq!(workers().pending, None);
        let edited = FILE.replace("cores = 2", "cores = 3");
        let refused = wired.config.offer(edited).await.unwrap().unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("node.cores: 3 needs a restart"),
            "{refused}"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_started_with_a_profile_goes_on_when_it_is_withdrawn() {
    run(async {
        let given = Given::default().with(Give::Profile(profile(&[("ingress.workers", "7")])));
        let first = InForce::at_start(FILE, &Environment::new(), &given).unwrap();
        assert_eq!(first.config.node.cores, 7);
        let wired = started_with(first, Tracer::off()).await;
        let taken = tune(&wired, &[]).await.unwrap();
        assert_eq!(taken.pending_restart, ["ingress.workers"]);
        assert_eq!(wired.config.in_force().config.node.cores, 7);
        // The same file with another key is no reason to refuse it.
        let edited = format!("{FILE}[services.more]\n");
        wired.config.offer(edited).await.unwrap().unwrap();
        assert_eq!(
            wired.config.in_force().config.pending_restart(),
            ["ingress.workers"]
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_start_leaves_out_a_profile_that_does_not_go_with_the_file_and_says_so() {
    run(async {
        let settings = [("upstream.idle_max", "5"), ("ingress.header_timeout", "7s")];
        let weights = weights(&[("a", 9)]);
        let given = Given::default()
            .with(Give::Profile(profile(&settings)))
            .with(weights);
        let text = format!("{FILE}[services.web.pool]\nidle_min = 6\n");
        let first = InForce::at_start(&text, &Environment::new(), &given).unwrap();
        assert_eq!(first.profile_problems.len(), 1);
        assert_eq!(first.profile_problems[0].path, "upstream.idle_max");
        assert_eq!(first.profile_problems[0].code, Code::Infeasible);
        let wired = started_with(first, Tracer::off()).await;
        assert_eq!(
            wired.core_parts.ingress.load().header_timeout,
            Duration::from_secs(10)
        );
        assert_eq!(
            backend(&wired, "a").weight,
            9,
            "weights hold without the profile"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn weights_change_shares_of_new_work_and_nothing_else() {
    run(async {
        let wired = file().await;
        let command = Command {
            service: "web".into(),
            backend: "b".into(),
            change: Change::Eject(None),
        };
        wired
            .load_balancer
            .command(command, None)
            .await
            .unwrap()
            .unwrap();
        let (a, b) = (backend(&wired, "a"), backend(&wired, "b"));
        a.backend.load.started(0);

        let taken = wired
            .config
            .take(weights(&[("a", 9), ("b", 0), ("gone", 5)]))
            .await;
        assert_eq!(taken.unwrap().unwrap(), Taken::default());
        let (a_then, b_then) = (backend(&wired, "a"), backend(&wired, "b"));
        assert_eq!((a_then.weight, b_then.weight), (9, 0));
        assert_eq!(a_then.backend.serial, a.backend.serial);
        assert_eq!(a_then.backend.load.in_flight(), 1);
        assert_eq!(b_then.backend.serial, b.backend.serial);
        assert!(matches!(
            b_then.standing,
            Standing::Ejected { by_hand: true, .. }
        ));
        let service = &wired.core_parts.routing.load().services[0];
        assert_eq!(service.candidates.len(), 1);

        // What is not named has its own weight again.
        wired
            .config
            .take(weights(&[("b", 2)]))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(backend(&wired, "a").weight, 3);
        // An edit of the file keeps what was given.
        wired
            .config
            .offer(FILE.replace("weight = 3", "weight = 4"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(backend(&wired, "a").weight, 4);
        assert_eq!(backend(&wired, "b").weight, 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn registered_backends_join_and_leave_and_bad_ones_keep_nobody_out() {
    run(async {
        let wired = file().await;
        let of_web = [
            ("a", registered("127.0.0.1:99")),
            ("c", registered("127.0.0.1:3")),
            ("d", registered("nowhere")),
            (
                "e",
                RegisteredBackend {
                    weight: 70_000,
                    ..registered("127.0.0.1:5")
                },
            ),
        ];
        let of_web = of_web.map(|(id, backend)| (id.into(), backend)).into();
        let of_other = [("x".into(), registered("127.0.0.1:6"))].into();
        let endpoints = Endpoints::from([("web".into(), of_web), ("other".into(), of_other)]);
        let taken = wired
            .config
            .take(Give::Endpoints(endpoints))
            .await
            .unwrap()
            .unwrap();
        let notes: Vec<(&str, Code)> = taken
            .notes
            .iter()
            .map(|p| (p.path.as_str(), p.code))
            .collect();
        assert_eq!(
            notes,
            [
                ("endpoints.web.d.address", Code::Type),
                ("endpoints.web.e.weight", Code::Range),
                ("endpoints", Code::Unsupported),
            ]
        );
        let service = wired.core_parts.routing.load().services[0].clone();
        let ids: Vec<&str> = service
            .backends
            .iter()
            .map(|view| view.backend.id.as_str())
            .collect();
        assert_eq!(ids, ["a", "b", "c"]);
        assert_eq!(
            backend(&wired, "a").backend.endpoint.as_str(),
            "127.0.0.1:1"
        );

        wired
            .config
            .take(weights(&[("c", 7)]))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(backend(&wired, "c").weight, 7);
        let running = backend(&wired, "c");
        running.backend.load.started(0);
        wired
            .config
            .take(Give::Endpoints(Endpoints::new()))
            .await
            .unwrap()
            .unwrap();
        assert!(backend(&wired, "c").leaving, "what runs on it finishes");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_load_balancer_does_not_take_is_not_in_force() {
    run(async {
        let config = Config::parse(FILE, &Environment::new(), &Given::default()).unwrap();
        let broadcast = Broadcast::new(&config, WallClock::system(), 1);
        let events = Events::new("node-1", "e1".to_owned(), WallClock::system());
        let outlets = Outlets::new(InForce::first(config), &Tracer::off(), &broadcast, &events);
        let nobody = LoadBalancerHandle::new(&Outlet::new());
        let handle = ConfigAgentHandle::new(&outlets.in_force);
        let ingress = outlets.ingress.clone();
        let takers = Takers {
            load_balancer: nobody,
            ..takers(&started(FILE, Tracer::off()).await)
        };
        let agent = ConfigAgent::new(outlets, Environment::new(), takers);
        handle.take.point_at(&actix::Actor::start(agent));
        let give = Give::Profile(profile(&[("ingress.header_timeout", "7s")]));
        assert_eq!(handle.take(give).await, Err(Refused::Away));
        assert_eq!(handle.in_force().revision, 1);
        assert_eq!(ingress.load().header_timeout, Duration::from_secs(10));
        assert!(handle.in_force().config.given().is_empty());
    })
    .await;
}
