//! What the actor does with its messages.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix::{Context, Handler, Message};
use futures::future::BoxFuture;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{Instant, sleep};
use weir_core::balance::Outcome;
use weir_core::health::Standing;

use super::{Change, Command, CommandError, Configure, LoadBalancer, LoadBalancerHandle};
use super::{Outlet, Parts, Probed, TICK};
use crate::config::Config;
use crate::data_plane::routing::{BackendView, Routing};
use crate::guardian::{Budget, BudgetSpent, guard};
use crate::link::{Carried, Link, Permits};
use crate::ports::net::{BoxedStream, Endpoint, Net};
use crate::telemetry::spans::Tracer;

/// Makes the actor panic.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub(super) struct Crash;

impl Handler<Carried<Crash>> for LoadBalancer {
    type Result = ();

    fn handle(&mut self, _: Carried<Crash>, _: &mut Context<Self>) {
        panic!("as the test wished");
    }
}

/// A network where every connect succeeds or every one fails.
#[derive(Debug, Default)]
pub(super) struct Wires {
    pub(super) cut: AtomicBool,
    pub(super) connects: AtomicUsize,
}

impl Net for Wires {
    fn connect<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, io::Result<BoxedStream>> {
        self.connects.fetch_add(1, Ordering::Relaxed);
        let connected = match self.cut.load(Ordering::Relaxed) {
            false => Ok(Box::new(tokio::io::duplex(64).0) as BoxedStream),
            true => Err(io::ErrorKind::ConnectionRefused.into()),
        };
        Box::pin(std::future::ready(connected))
    }
}

/// The actor under its guardian, in paused time.
pub(super) struct Rig {
    pub(super) handle: LoadBalancerHandle,
    pub(super) crash: Link<Crash>,
    pub(super) guardian: JoinHandle<Result<(), BudgetSpent>>,
    pub(super) wires: Arc<Wires>,
}

pub(super) const WAITING_MAX: usize = 4;
pub(super) const WITHIN: Duration = Duration::from_secs(1);
pub(super) const THREE: &str =
    "[services.web]\nbackends = [\"10.0.0.1:80\", \"10.0.0.2:80\", \"10.0.0.3:80\"]\n";

impl Rig {
    pub(super) async fn start() -> Self {
        let outlet = Outlet::new();
        let handle = LoadBalancerHandle::new(&outlet);
        let wires = Arc::new(Wires::default());
        let parts = Parts {
            outlet,
            net: Arc::clone(&wires) as Arc<dyn Net>,
            probed: handle.probed.clone(),
            cores: 2,
            tracer: Tracer::off(),
            seed: 1,
        };
        let crash = Link::new(&Permits::new(WAITING_MAX));
        let (links, crash_link) = (handle.clone(), crash.clone());
        let guardian = tokio::task::spawn_local(guard(
            "load_balancer",
            super::MESSAGES_WAITING_MAX,
            Budget::default(),
            move || LoadBalancer::new(parts.clone()),
            move |life| {
                links.configure.point_at(life);
                links.command.point_at(life);
                links.probed.point_at(life);
                crash_link.point_at(life);
            },
        ));
        tokio::task::yield_now().await;
        Self {
            handle,
            crash,
            guardian,
            wires,
        }
    }

    pub(super) async fn configure(&self, text: &str) {
        let config = Config::parse(text, &Default::default(), &Default::default()).unwrap();
        let configured = self.handle.configure(Configure::of(&config), WITHIN).await;
        configured.unwrap();
    }

    pub(super) async fn command(&self, backend: &str, change: Change) -> Result<(), CommandError> {
        let command = Command {
            service: "web".into(),
            backend: backend.into(),
            change,
        };
        self.handle.command(command, None).await.unwrap()
    }

    pub(super) fn routing(&self) -> Arc<Routing> {
        self.handle.routing().load()
    }

    pub(super) fn backend(&self, id: &str) -> BackendView {
        let routing = self.routing();
        let all = routing.services.iter().flat_map(|s| &s.backends);
        let found = all.into_iter().find(|view| view.backend.id.as_str() == id);
        found.unwrap().clone()
    }

    pub(super) fn fails(&self, id: &str, times: u32) {
        let load = Arc::clone(&self.backend(id).backend.load);
        for _ in 0..times {
            load.started(0);
            let penalty = Duration::from_secs(1);
            load.learned(0, Instant::now().into_std(), Outcome::Failure { penalty });
            load.finished(0, false);
        }
    }

    /// Panics the actor and waits until its next life has begun.
    pub(super) async fn crash(&self) {
        self.crash.offer(Crash).unwrap();
        sleep(Duration::from_secs(2)).await;
    }
}

pub(super) async fn in_a_local_set(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn a_command_for_what_is_not_there_changes_nothing() {
    in_a_local_set(async {
        let rig = Rig::start().await;
        let unknown = rig.command("10.0.0.1:80", Change::Weight(1)).await;
        assert_eq!(unknown, Err(CommandError::UnknownService("web".into())));
        rig.configure(THREE).await;
        let before = rig.routing().revision;
        let unknown = rig.command("10.0.0.9:80", Change::Weight(1)).await;
        let expected = CommandError::UnknownBackend {
            service: "web".into(),
            backend: "10.0.0.9:80".into(),
        };
        assert_eq!(unknown, Err(expected));
        assert_eq!(rig.routing().revision, before);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_override_of_a_weight_holds_until_the_configured_weight_changes() {
    in_a_local_set(async {
        let rig = Rig::start().await;
        let with = |weight: u32| {
            let backend = format!("{{ address = \"10.0.0.1:80\", weight = {weight} }}");
            format!("[services.web]\nbackends = [{backend}, \"10.0.0.2:80\"]\n")
        };
        rig.configure(&with(3)).await;
        rig.command("10.0.0.1:80", Change::Weight(9)).await.unwrap();
        rig.configure(&with(3)).await;
        assert_eq!(rig.backend("10.0.0.1:80").weight, 9);
        rig.configure(&with(4)).await;
        assert_eq!(rig.backend("10.0.0.1:80").weight, 4);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_leaves_finishes_what_runs_and_returns_as_a_new_one() {
    in_a_local_set(async {
        let rig = Rig::start().await;
        rig.configure(THREE).await;
        let old = rig.backend("10.0.0.3:80");
        old.backend.load.started(1);
        let two = THREE.replace(", \"10.0.0.3:80\"", "");
        rig.configure(&two).await;
        let leaving = rig.backend("10.0.0.3:80");
        assert!(leaving.leaving && leaving.cut_at.is_some());
        let service = Arc::clone(&rig.routing().services[0]);
        assert_eq!(service.candidates.len(), 2);
        old.backend.load.finished(1, false);
        sleep(2 * TICK).await;
        assert_eq!(rig.routing().services[0].backends.len(), 2);
        rig.configure(THREE).await;
        assert!(rig.backend("10.0.0.3:80").backend.serial > old.backend.serial);
        // A check of the old one that ends now is nobody's.
        let revision = rig.routing().revision;
        let late = Probed {
            serial: old.backend.serial,
            result: Err("late".to_owned()),
        };
        rig.handle.probed.offer(late).unwrap();
        sleep(TICK).await;
        assert_eq!(rig.routing().revision, revision);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tick_ejects_who_failed_in_a_row_and_brings_it_back() {
    in_a_local_set(async {
        let rig = Rig::start().await;
        rig.configure(&format!(
            "{THREE}ejection = {{ consecutive_failures = 3, base_time = \"1s\" }}"
        ))
        .await;
        rig.fails("10.0.0.1:80", 2);
        sleep(2 * TICK).await;
        assert_eq!(rig.backend("10.0.0.1:80").standing, Standing::In);
        for id in ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"] {
            rig.fails(id, 3);
        }
        sleep(2 * TICK).await;
        let ejected = |id: &str| matches!(rig.backend(id).standing, Standing::Ejected { .. });
        assert!(ejected("10.0.0.1:80"));
        // 10 % of three, but one may always be.
        assert!(!ejected("10.0.0.2:80") && !ejected("10.0.0.3:80"));
        let quiet = rig.routing().revision;
        sleep(3 * TICK).await;
        assert_eq!(rig.routing().revision, quiet, "no news, no picture");
        rig.command("10.0.0.1:80", Change::Restore).await.unwrap();
        assert_eq!(rig.backend("10.0.0.1:80").standing, Standing::In);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn only_what_checks_depend_on_starts_them_anew() {
    in_a_local_set(async {
        let rig = Rig::start().await;
        let configure = async |health: &str, panic_percent: u32| {
            let service = format!("backends = [\"10.0.0.1:80\"]\npanic_percent = {panic_percent}");
            rig.configure(&format!(
                "[services.web]\n{service}\nhealth = {{ {health} }}\n"
            ))
            .await;
        };
        configure("interval = \"1h\"", 50).await;
        sleep(Duration::from_secs(1)).await;
        let connects = || rig.wires.connects.load(Ordering::Relaxed);
        assert_eq!(connects(), 1);
        configure("interval = \"1h\", rise = 7", 60).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(connects(), 1);
        configure("interval = \"10s\", rise = 7", 60).await;
        sleep(Duration::from_secs(15)).await;
        assert_eq!(connects(), 3);
    })
    .await;
}
