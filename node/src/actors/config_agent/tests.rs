use std::sync::Arc;

use tokio::task::LocalSet;

use super::*;
use crate::actors::load_balancer::Outlet;
use crate::engine_room;
use crate::ports::clock::WallClock;
use crate::ports::net::Tcp;
use crate::wiring::{Env, Wired, wire};

const FIRST: &str = "[services.web]\nbackends = [\"127.0.0.1:1\"]\n[[routes]]\nservice = \"web\"\n";

async fn wired() -> Wired {
    started(FIRST, Tracer::off()).await
}

/// A node's actors, started with `text` and nothing that was given.
pub(crate) async fn started(text: &str, tracer: Tracer) -> Wired {
    let first = InForce::at_start(text, &Environment::new(), &Given::default()).unwrap();
    started_with(first, tracer).await
}

pub(super) async fn started_with(first: InForce, tracer: Tracer) -> Wired {
    let clock = WallClock::starting_at(Duration::from_secs(1_000));
    let env = Env {
        net: Arc::new(Tcp),
        clock,
        engines: engine_room::off(clock, 1),
        tracer,
        seed: 1,
        environment: Environment::new(),
    };
    Box::pin(wire(first, &env)).await.unwrap()
}

/// Every actor of `wired`, as those who take their part of a configuration.
pub(super) fn takers(wired: &Wired) -> Takers {
    Takers {
        load_balancer: wired.load_balancer.clone(),
        port_cache: wired.port_cache.clone(),
        provision: wired.provision.clone(),
        cache_tier: wired.cache_tier.clone(),
        cache_warmer: wired.cache_warmer.clone(),
    }
}

pub(crate) async fn run<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

#[tokio::test(start_paused = true)]
async fn an_accepted_offer_reaches_every_part_before_it_is_in_force() {
    run(async {
        let wired = wired().await;
        let text = format!("{FIRST}[ingress]\nslow_request = \"7s\"\n[services.more]\n");
        let applied = wired.config.offer(text).await.unwrap().unwrap();
        assert_eq!(applied, Applied { revision: 2 });
        assert_eq!(wired.config.in_force().revision, 2);
        assert_eq!(wired.core_parts.routing.load().services.len(), 2);
        let ingress = wired.core_parts.ingress.load();
        assert_eq!(ingress.slow_request, Some(Duration::from_secs(7)));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_offer_changes_nothing_and_tells_every_problem() {
    run(async {
        let wired = wired().await;
        let text = "[ingress]\nconnections_max = 0\n[[routes]]\nservice = \"nobody\"\n";
        let refused = wired
            .config
            .offer(text.to_owned())
            .await
            .unwrap()
            .unwrap_err();
        let Rejected::Invalid(invalid) = refused else {
            panic!("{refused}")
        };
        let paths: Vec<&str> = invalid.problems.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, ["ingress.connections_max", "routes[0].service"]);

        let in_force = wired.config.in_force();
        assert_eq!((in_force.revision, in_force.refusals), (1, 1));
        assert_eq!(in_force.last_problems, invalid.problems);
        assert_eq!(wired.core_parts.routing.load().services.len(), 1);

        wired.config.offer(FIRST.to_owned()).await.unwrap().unwrap();
        assert!(wired.config.in_force().last_problems.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_emptied_file_takes_nothing_down() {
    run(async {
        let wired = wired().await;
        let refused = wired.config.offer("\n".to_owned()).await.unwrap();
        assert!(matches!(refused, Err(Rejected::Invalid(_))), "{refused:?}");
        assert_eq!(wired.core_parts.routing.load().services.len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_restart_is_refused_by_name() {
    run(async {
        let wired = wired().await;
        let text = format!("{FIRST}[node]\nname = \"other\"\n[grpc]\nlisten = \"127.0.0.1:9\"\n");
        let refused = wired.config.offer(text).await.unwrap().unwrap_err();
        let Rejected::Invalid(invalid) = refused else {
            panic!("{refused}")
        };
        let paths: Vec<&str> = invalid.problems.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, ["node.name", "grpc.listen"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_offer_that_the_load_balancer_does_not_take_is_not_in_force() {
    run(async {
        let config = Config::parse(FIRST, &Environment::new(), &Given::default()).unwrap();
        let broadcast = Broadcast::new(&config, WallClock::system(), 1);
        let events = Events::new("node-1", "e1".to_owned(), WallClock::system());
        let outlets = Outlets::new(InForce::first(config), &Tracer::off(), &broadcast, &events);
        let nobody = LoadBalancerHandle::new(&Outlet::new());
        let handle = ConfigAgentHandle::new(&outlets.in_force);
        let takers = Takers {
            load_balancer: nobody,
            ..takers(&wired().await)
        };
        let agent = ConfigAgent::new(outlets, Environment::new(), takers);
        handle.offer.point_at(&agent.start());
        let refused = handle.offer(FIRST.to_owned()).await.unwrap().unwrap_err();
        assert!(
            matches!(refused, Rejected::NotTaken(Refused::Away)),
            "{refused}"
        );
        assert_eq!(handle.in_force().revision, 1);
    })
    .await;
}
