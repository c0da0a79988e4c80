//! Backends that left or were removed, and instances that still believe in them; and how many there may be.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_control_plane::governance::audit::{self, Actor};
use weir_control_plane::governance::identity::Role;
use weir_control_plane::keys::{DEFAULT_NAMESPACE, Keys};
use weir_control_plane::quota::Bounds;
use weir_control_plane::registry::backends::{Error, Options};
use weir_proto::control::v1::Endpoint;

use crate::backends::{Hearing, KEY, TTL, endpoint, holder};
use crate::support::{Shared, delete, embedded, get, keys};

const GONE: &str = "/weir/v1/default/gone/";

/// Two instances that follow the store.
async fn two() -> (crate::support::Home, Hearing, Hearing) {
    let home = embedded().await;
    let (a, b) = (
        Hearing::start(&home.store, "a"),
        Hearing::start(&home.store, "b"),
    );
    drop((a.look_out(), b.look_out()));
    (home, a, b)
}

/// Nobody brings it back for as long as anybody may wait for its heartbeats.
async fn stays_gone(store: &Shared) {
    let end = Instant::now() + TTL * 2;
    while Instant::now() < end {
        assert_eq!(holder(store).await, None);
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_still_waits_for_a_backend_that_left_elsewhere_does_not_bring_it_back() {
    let (home, a, b) = two().await;
    let one = a.register("one").await;
    b.leave(&one).await.unwrap();
    stays_gone(&home.store).await;
    assert_eq!(a.hear(&one).await, Err(Error::NotRegistered));
    let anew = a.register("one").await;
    assert_eq!(holder(&home.store).await.as_deref(), Some("a"));
    b.hear(&anew).await.unwrap();
    assert_eq!(holder(&home.store).await.as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_a_backend_moved_away_from_does_not_bring_it_back() {
    let (home, a, b) = two().await;
    let one = a.register("one").await;
    b.hear(&one).await.unwrap();
    a.hear(&one).await.unwrap();
    b.hear(&one).await.unwrap();
    b.leave(&one).await.unwrap();
    stays_gone(&home.store).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_left_while_its_key_was_lost_stays_gone_too() {
    let (home, a, b) = two().await;
    let one = a.register("one").await;
    a.way.set_away(true);
    delete(&home.store, KEY).await;
    b.leave(&one).await.unwrap();
    a.way.set_away(false);
    a.presences.audit();
    stays_gone(&home.store).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_and_not_ended_comes_back() {
    let (home, a, _b) = two().await;
    let one = a.register("one").await;
    delete(&home.store, KEY).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(holder(&home.store).await.as_deref(), Some("a"));
    a.hear(&one).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_backend_that_left_goes_by_itself() {
    let (home, a, b) = two().await;
    for _ in 0..3 {
        let one = a.register("one").await;
        b.leave(&one).await.unwrap();
    }
    assert_eq!(keys(&home.store, GONE).await.len(), 3);
    assert!(b.way.grants() <= 65, "one lease for all of them");
    sleep(Duration::from_secs(601)).await;
    assert_eq!(keys(&home.store, GONE).await.len(), 3);
    sleep(Duration::from_secs(1_800)).await;
    assert_eq!(keys(&home.store, GONE).await.len(), 0);
    let one = a.register("one").await;
    b.leave(&one).await.unwrap();
    stays_gone(&home.store).await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_removes_a_backend_and_the_audit_says_so() {
    let (home, a, b) = two().await;
    let one = a.register("one").await;
    let alice = Actor {
        author: "alice".to_owned(),
        role: Role::Operator,
    };
    let unknown = b.backends.remove("vod", "two", &alice, "").await;
    assert_eq!(unknown, Err(Error::NotRegistered));
    b.backends
        .remove("vod", "one", &alice, "left over")
        .await
        .unwrap();
    stays_gone(&home.store).await;
    assert_eq!(a.hear(&one).await, Err(Error::NotRegistered));
    let namespace = Keys::new(DEFAULT_NAMESPACE).unwrap();
    let now = weir_control_plane::clock::WallClock::system().unix_ms_now();
    let done = audit::list(&*home.store, &namespace, 10, now)
        .await
        .unwrap();
    let said: Vec<_> = done
        .iter()
        .map(|r| [&*r.author, &*r.action, &*r.target, &*r.message])
        .collect();
    assert_eq!(said, [["alice", "backend.remove", "vod/one", "left over"]]);
    // One that lives registers anew.
    a.register("one").await;
    assert!(get(&home.store, KEY).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn one_backend_too_many_is_told_the_bound_and_others_have_their_places() {
    let home = embedded().await;
    let bounds = Bounds {
        backends_per_service_max: 2,
        backends_per_token_max: 3,
        ..Bounds::default()
    };
    let options = Options {
        bounds,
        ..Options::new("a", 1)
    };
    let a = Hearing::with(&home.store, options);
    let register = async |service: &str, id: &str, token: &str| {
        let endpoint = Endpoint {
            service: service.to_owned(),
            ..endpoint(id)
        };
        let registered = a.backends.register(endpoint, 0, token).await;
        registered.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(register("vod", "one", "t").await, Ok(()));
    assert_eq!(register("vod", "two", "t").await, Ok(()));
    let full = "service `vod` has 2 backends, which is the most (--backends-per-service-max)";
    assert_eq!(register("vod", "three", "t").await, Err(full.to_owned()));
    assert_eq!(register("vod", "two", "t").await, Ok(()), "again");
    assert_eq!(register("live", "one", "t").await, Ok(()));
    let full = "token `t` registered 3 backends, which is the most (--backends-per-token-max)";
    assert_eq!(register("live", "two", "t").await, Err(full.to_owned()));
    assert_eq!(register("live", "two", "u").await, Ok(()));
    let names = a.list(None).await;
    let after: Vec<_> = a.backends.list(None, Some("live/two"), 9).await.unwrap();
    assert_eq!((names.len(), after.len()), (4, 2));
}
