//! Backends that announce themselves, through one instance or another.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use weir_control_plane::keys::{DEFAULT_NAMESPACE, Keys};
use weir_control_plane::leases::{self, Buckets, Presences};
use weir_control_plane::records;
use weir_control_plane::registry::backends::{Backends, Error, Options, Registered, WRITE_LIMIT};
use weir_control_plane::store::follow::{self, Followed, follow};
use weir_control_plane::store::{EventKind, Revision};
use weir_proto::control::records::v1::Registration;
use weir_proto::control::v1::Endpoint;

use crate::faulty::{Faulty, until};
use crate::support::{Shared, embedded, get, next_change, page, watch};

const TTL_MS: u64 = 6_000;
pub(crate) const TTL: Duration = Duration::from_millis(TTL_MS);
pub(crate) const KEY: &str = "/weir/v1/default/live/endpoint/vod/one";

/// An instance that hears backends.
pub(crate) struct Hearing {
    pub(crate) way: Arc<Faulty>,
    pub(crate) presences: Arc<Presences>,
    pub(crate) backends: Backends,
}

impl Hearing {
    pub(crate) fn start(store: &Shared, name: &str) -> Self {
        Self::with(store, Options::new(name, u64::from(name.as_bytes()[0])))
    }

    pub(crate) fn with(store: &Shared, options: Options) -> Self {
        let way = Faulty::over(store);
        let shared: Shared = way.clone();
        let buckets = Buckets::start(shared.clone(), leases::Options::new(options.seed));
        let presences = Presences::start(shared.clone(), Arc::new(buckets), options.seed);
        let presences = Arc::new(presences);
        let keys = Keys::new(DEFAULT_NAMESPACE).unwrap();
        let backends = Backends::start(shared, keys, Arc::clone(&presences), options);
        Self {
            way,
            presences,
            backends,
        }
    }

    pub(crate) async fn register(&self, backend_id: &str) -> Registered {
        let registered = self
            .backends
            .register(endpoint(backend_id), TTL_MS, "")
            .await;
        registered.unwrap()
    }

    pub(crate) async fn hear(&self, registered: &Registered) -> Result<(), Error> {
        let id = &registered.registration_id;
        self.backends.heartbeat("vod", "one", id).await
    }

    pub(crate) async fn leave(&self, registered: &Registered) -> Result<(), Error> {
        let id = &registered.registration_id;
        self.backends.deregister("vod", "one", id).await
    }

    pub(crate) async fn list(&self, service: Option<&str>) -> Vec<Endpoint> {
        self.backends.list(service, None, 10).await.unwrap()
    }

    /// Tells the instance what others do, as whoever follows the store does.
    pub(crate) fn look_out(&self) -> JoinHandle<()> {
        let (store, presences) = (self.way.clone() as Shared, Arc::clone(&self.presences));
        tokio::spawn(async move {
            let mut follower = follow(store, Default::default(), follow::Options::new(1));
            while let Some(item) = follower.next().await {
                if let Followed::Changed { revision, events } = item {
                    for event in events {
                        presences.look(event.key, revision).await;
                    }
                }
            }
        })
    }
}

pub(crate) fn endpoint(backend_id: &str) -> Endpoint {
    Endpoint {
        service: "vod".to_owned(),
        backend_id: backend_id.to_owned(),
        address: "10.0.0.7:8080".to_owned(),
        weight: 1,
        ..Endpoint::default()
    }
}

async fn registration(store: &Shared) -> Option<Registration> {
    let found = get(store, KEY).await?;
    Some(records::decode(&found.key, &found.value).unwrap())
}

pub(crate) async fn holder(store: &Shared) -> Option<String> {
    registration(store).await.map(|found| found.instance)
}

async fn revision(store: &Shared) -> Revision {
    page(store, KEY, 1).await.revision
}

#[tokio::test(start_paused = true)]
async fn a_backend_is_there_until_it_falls_silent() {
    let home = embedded().await;
    let a = Hearing::start(&home.store, "a");
    let one = a.register("one").await;
    assert_eq!(one.heartbeat_interval, TTL / 3);
    let found = registration(&home.store).await.unwrap();
    assert_eq!(found.endpoint, Some(endpoint("one")));
    assert_eq!((found.instance.as_str(), found.ttl_ms), ("a", TTL_MS));
    let before = revision(&home.store).await;
    for _ in 0..100 {
        tokio::time::sleep(one.heartbeat_interval).await;
        a.hear(&one).await.unwrap();
    }
    assert_eq!(
        revision(&home.store).await,
        before,
        "heartbeats write nothing"
    );
    tokio::time::sleep(TTL - Duration::from_millis(100)).await;
    assert_eq!(holder(&home.store).await.as_deref(), Some("a"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(holder(&home.store).await, None);
    assert_eq!(a.hear(&one).await, Err(Error::NotRegistered));
}

#[tokio::test(start_paused = true)]
async fn a_backend_whose_instance_died_is_never_seen_gone() {
    let home = embedded().await;
    let (a, b) = (
        Hearing::start(&home.store, "a"),
        Hearing::start(&home.store, "b"),
    );
    let one = a.register("one").await;
    let mut changes = watch(&home.store, KEY, revision(&home.store).await.next()).await;
    drop(a);
    for _ in 0..60 {
        tokio::time::sleep(one.heartbeat_interval).await;
        b.hear(&one).await.unwrap();
    }
    assert_eq!(holder(&home.store).await.as_deref(), Some("b"));
    let (_, events) = next_change(&mut changes).await.unwrap();
    assert!(matches!(events[0].kind, EventKind::Put(_)), "{events:?}");
    let more = tokio::time::timeout(Duration::from_secs(1), next_change(&mut changes)).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test(start_paused = true)]
async fn the_silence_at_an_instance_that_was_left_deletes_nothing() {
    let home = embedded().await;
    let (a, b) = (
        Hearing::start(&home.store, "a"),
        Hearing::start(&home.store, "b"),
    );
    let one = a.register("one").await;
    for _ in 0..20 {
        tokio::time::sleep(one.heartbeat_interval).await;
        b.hear(&one).await.unwrap();
        assert_eq!(holder(&home.store).await.as_deref(), Some("b"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_may_go_to_and_fro_between_instances() {
    let home = embedded().await;
    let (a, b) = (
        Hearing::start(&home.store, "a"),
        Hearing::start(&home.store, "b"),
    );
    let _looking = (a.look_out(), b.look_out());
    let one = a.register("one").await;
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..100 {
        tokio::time::sleep(one.heartbeat_interval).await;
        let (name, instance) = [("a", &a), ("b", &b)][random.usize(..2)];
        instance.hear(&one).await.unwrap();
        assert_eq!(holder(&home.store).await.as_deref(), Some(name));
    }
    // Then only one hears it, and the other's timer runs out.
    for _ in 0..20 {
        tokio::time::sleep(one.heartbeat_interval).await;
        a.hear(&one).await.unwrap();
        assert_eq!(holder(&home.store).await.as_deref(), Some("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_registration_replaces_the_older() {
    let home = embedded().await;
    let (a, b) = (
        Hearing::start(&home.store, "a"),
        Hearing::start(&home.store, "b"),
    );
    let _looking = (a.look_out(), b.look_out());
    let old = a.register("one").await;
    let same = a.register("one").await;
    assert_eq!(a.hear(&old).await, Err(Error::WrongRegistration));
    let new = b.register("one").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (registered, instance) in [(&old, &a), (&same, &a), (&old, &b), (&same, &b)] {
        assert_eq!(
            instance.hear(registered).await,
            Err(Error::WrongRegistration)
        );
        assert_eq!(
            instance.leave(registered).await,
            Err(Error::WrongRegistration)
        );
    }
    let found = registration(&home.store).await.unwrap();
    assert_eq!(found.registration_id, new.registration_id);
    a.hear(&new).await.unwrap();
    assert_eq!(holder(&home.store).await.as_deref(), Some("a"));
    let stranger = Registered {
        registration_id: "guessed".to_owned(),
        ..new
    };
    assert_eq!(a.hear(&stranger).await, Err(Error::WrongRegistration));
}

#[tokio::test(start_paused = true)]
async fn a_name_is_whose_token_registered_it_while_it_lives() {
    let home = embedded().await;
    let (a, b) = (
        Hearing::start(&home.store, "a"),
        Hearing::start(&home.store, "b"),
    );
    let register = async |instance: &Hearing, token: &str| {
        let registered = instance.backends.register(endpoint("one"), TTL_MS, token);
        registered.await.map_err(|error| error.to_string())
    };
    register(&a, "red").await.unwrap();
    for instance in [&a, &b] {
        for other in ["blue", ""] {
            let told = register(instance, other).await.unwrap_err();
            assert!(
                told.contains("`vod/one`") && told.contains("token `red`"),
                "{told}"
            );
        }
    }
    let again = register(&b, "red").await.unwrap();
    b.hear(&again).await.unwrap();
    b.leave(&again).await.unwrap();
    let other = register(&a, "blue").await.unwrap();
    a.hear(&other).await.unwrap();
    // Silence ends it as well.
    tokio::time::sleep(TTL + Duration::from_secs(1)).await;
    let (red, blue) = tokio::join!(register(&b, "red"), register(&b, "blue"));
    assert_ne!(red.is_ok(), blue.is_ok(), "{red:?}, {blue:?}");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_of_the_old_does_not_undo_a_registration_on_its_way() {
    let home = embedded().await;
    let a = Hearing::start(&home.store, "a");
    let old = a.register("one").await;
    for _ in 0..20 {
        let (new, late) = tokio::join!(a.register("one"), async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            a.hear(&old).await
        });
        assert_eq!(late, Err(Error::WrongRegistration));
        a.hear(&new).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_leaves_is_gone_wherever_it_says_so() {
    let home = embedded().await;
    let (a, b) = (
        Hearing::start(&home.store, "a"),
        Hearing::start(&home.store, "b"),
    );
    let one = a.register("one").await;
    a.leave(&one).await.unwrap();
    assert_eq!(holder(&home.store).await, None);
    a.leave(&one).await.unwrap();
    assert_eq!(a.hear(&one).await, Err(Error::NotRegistered));

    let one = a.register("one").await;
    b.leave(&one).await.unwrap();
    assert_eq!(holder(&home.store).await, None);
    // The first may still believe in it, for as long as it waits for a heartbeat.
    tokio::time::sleep(TTL * 2).await;
    assert_eq!(holder(&home.store).await, None);
    assert_eq!(b.hear(&one).await, Err(Error::NotRegistered));
}

#[tokio::test(start_paused = true)]
async fn a_full_instance_says_so() {
    let home = embedded().await;
    let options = Options {
        registrations_max: 2,
        ..Options::new("a", 1)
    };
    let a = Hearing::with(&home.store, options);
    let one = a.register("one").await;
    a.register("two").await;
    let more = a.backends.register(endpoint("three"), 0, "").await;
    assert_eq!(more, Err(Error::Full(2)));
    let one_again = a.register("one").await;
    a.leave(&one_again).await.unwrap();
    assert_eq!(a.leave(&one).await, Ok(()));
    a.register("three").await;
    let there = a.list(Some("vod")).await;
    assert_eq!(there, [endpoint("three"), endpoint("two")]);
    assert_eq!(a.list(None).await.len(), 2);
    assert_eq!(a.list(Some("other")).await, Vec::new());
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_known_backends_are_heard_and_new_ones_are_told() {
    let home = embedded().await;
    let a = Hearing::start(&home.store, "a");
    let one = a.register("one").await;
    a.way.set_away(true);
    let refused = a.backends.register(endpoint("two"), 0, "").await;
    assert_eq!(refused, Err(Error::NotWritten(WRITE_LIMIT)));
    a.hear(&one).await.unwrap();
    // Longer than the leases live.
    for _ in 0..30 {
        tokio::time::sleep(one.heartbeat_interval).await;
        a.hear(&one).await.unwrap();
    }
    assert_eq!(holder(&home.store).await, None);
    a.way.set_away(false);
    until("it is back", async || {
        a.hear(&one).await.unwrap();
        holder(&home.store).await.is_some()
    })
    .await;
    let there = a.list(None).await;
    assert_eq!(there.len(), 1, "who was refused is not there");
}

#[tokio::test(start_paused = true)]
async fn wrong_fields_are_told_all_at_once() {
    let home = embedded().await;
    let a = Hearing::start(&home.store, "a");
    let Err(error) = a.backends.register(Endpoint::default(), 1, "").await else {
        panic!("taken");
    };
    let Error::Invalid(problems) = error else {
        panic!("{error:?}");
    };
    assert_eq!(problems.len(), 4);
    assert_eq!(problems[0].path, "endpoint.service");
    let wrong = a.backends.heartbeat("a/b", "", "id").await;
    assert!(matches!(wrong, Err(Error::Invalid(problems)) if problems.len() == 2));
    let wrong = a.backends.list(Some("a/b"), None, 1).await;
    assert!(matches!(wrong, Err(Error::Invalid(problems)) if problems.len() == 1));
}
