//! An instance has its name to itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use weir_control_plane::instance::{Announcement, Error, NAME_LIMIT};
use weir_control_plane::keys::{DEFAULT_NAMESPACE, Keys};
use weir_proto::control::records::v1::Instance;

use crate::faulty::{Faulty, until};
use crate::support::{Shared, delete, embedded, keys, memory, text};

/// How long a name outlives its instance, and the store's delay in letting it go.
const FREE_WITHIN: Duration = Duration::from_secs(12);

fn layout() -> Keys {
    Keys::new(DEFAULT_NAMESPACE).unwrap()
}

/// Starts `cp-1`; `run` tells its runs apart.
async fn start(store: &Shared, run: u64) -> Result<Announcement, Error> {
    let instance = Instance {
        instance: "cp-1".to_owned(),
        address: "10.0.0.1:7500".to_owned(),
        version: "1".to_owned(),
        boot_id: run.to_string(),
    };
    Announcement::start(Arc::clone(store), &layout(), &instance, run).await
}

async fn is_there(store: &Shared) -> bool {
    !keys(store, &text(&layout().instances())).await.is_empty()
}

#[tokio::test(start_paused = true)]
async fn a_second_instance_of_a_name_is_refused_while_the_first_runs() {
    let store = memory();
    let first = start(&store, 1).await.unwrap();
    let begun = Instant::now();
    let refused = start(&store, 2).await.unwrap_err();
    assert!(begun.elapsed() < NAME_LIMIT + Duration::from_secs(1));
    assert_eq!(
        refused.to_string(),
        "an instance called `cp-1` runs on this store already and listens at 10.0.0.1:7500; give this one \
         another name (--name), or end that one"
    );
    // The first one goes on.
    assert!(timeout(NAME_LIMIT, first.lost()).await.is_err());
    assert!(is_there(&store).await);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_start_at_once_one_has_the_name() {
    let store = memory();
    let (one, two) = tokio::join!(start(&store, 1), start(&store, 2));
    assert_eq!(
        [one.is_ok(), two.is_ok()].iter().filter(|ok| **ok).count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_was_killed_is_followed_by_one_of_its_name_when_its_lease_ends() {
    let store = memory();
    drop(start(&store, 1).await.unwrap());
    let begun = Instant::now();
    let second = start(&store, 2).await.unwrap();
    assert!(
        begun.elapsed() > Duration::from_secs(1),
        "it took what was not free"
    );
    assert!(begun.elapsed() < FREE_WITHIN, "{:?}", begun.elapsed());
    assert!(timeout(NAME_LIMIT, second.lost()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn one_that_ends_in_order_leaves_its_name_at_once() {
    let store = memory();
    start(&store, 1).await.unwrap().withdraw().await;
    let begun = Instant::now();
    start(&store, 2).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn in_a_store_that_only_one_can_open_nobody_waits_for_a_name() {
    let home = embedded().await;
    drop(start(&home.store, 1).await.unwrap());
    let begun = Instant::now();
    start(&home.store, 2).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn one_whose_name_was_taken_while_it_was_cut_off_is_told() {
    let store = memory();
    let way = Faulty::over(&store);
    let first = start(&(Arc::clone(&way) as Shared), 1).await.unwrap();
    way.set_away(true);
    let _second = start(&store, 2).await.unwrap();
    way.set_away(false);
    let lost = timeout(Duration::from_secs(120), first.lost()).await;
    assert!(matches!(lost, Ok(Error::Lost { name }) if name == "cp-1"));
}

#[tokio::test(start_paused = true)]
async fn one_that_starts_without_its_store_takes_its_name_when_it_is_back() {
    let store = memory();
    drop(start(&store, 1).await.unwrap());
    let way = Faulty::over(&store);
    way.set_away(true);
    let second = start(&(Arc::clone(&way) as Shared), 2).await.unwrap();
    way.set_away(false);
    // What the killed one left is there still, and no reason to end.
    assert!(timeout(NAME_LIMIT * 2, second.lost()).await.is_err());
    assert!(is_there(&store).await);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_deleted_by_hand_is_put_again() {
    let store = memory();
    let first = start(&store, 1).await.unwrap();
    let key = keys(&store, &text(&layout().instances())).await.remove(0);
    delete(&store, &key).await;
    until("it is back", async || is_there(&store).await).await;
    assert!(timeout(NAME_LIMIT, first.lost()).await.is_err());
}
