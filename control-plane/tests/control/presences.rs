//! What an instance asserts is there, and only what is its own.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;
use weir_control_plane::leases::{
    Buckets, ENTRIES_MAX, Options, Presences, Refused, Settled, Settlement, Unsettled,
};
use weir_control_plane::store::EventKind;

use crate::faulty::{Faulty, until};
use crate::support::{Shared, b, delete, embedded, get, next_change, page, put, text, watch};

const WAIT: Duration = Duration::from_secs(60);

/// An instance of the control plane, as far as it asserts something.
pub(crate) struct Instance {
    pub(crate) way: Arc<Faulty>,
    pub(crate) presences: Presences,
}

impl Instance {
    pub(crate) fn start(store: &Shared, seed: u64) -> Self {
        Self::with(store, Options::new(seed))
    }

    pub(crate) fn with(store: &Shared, options: Options) -> Self {
        let way = Faulty::over(store);
        let buckets = Buckets::start(way.clone() as Shared, options);
        let presences = Presences::start(way.clone() as Shared, Arc::new(buckets), options.seed);
        Self { way, presences }
    }

    pub(crate) async fn assert(&self, key: &str, value: &str) -> Settlement {
        settled(self.presences.assert(b(key), b(value)).await.unwrap()).await
    }

    pub(crate) async fn withdraw(&self, key: &str) -> Settlement {
        settled(self.presences.withdraw(b(key)).await.unwrap()).await
    }
}

pub(crate) async fn settled(settled: Settled) -> Settlement {
    settled.within(WAIT).await.unwrap()
}

async fn value(store: &Shared, key: &str) -> Option<String> {
    get(store, key).await.map(|entry| text(&entry.value))
}

async fn count(store: &Shared, prefix: &str) -> usize {
    let mut list = weir_control_plane::store::List {
        prefix: b(prefix),
        entries_max: 200,
        ..Default::default()
    };
    let mut count = 0;
    loop {
        let page = store.list(list.clone()).await.unwrap();
        count += page.entries.len();
        list.after = page.entries.last().map(|entry| entry.key.clone());
        if !page.more {
            return count;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_presences_take_few_transactions() {
    let home = embedded().await;
    let one = Instance::start(&home.store, 1);
    let asserted = (0..1_000).map(|n| one.presences.assert(b(&format!("p/{n}")), b("v")));
    let asserted = join_all(asserted).await;
    let all = asserted.into_iter().map(|one| settled(one.unwrap()));
    for settlement in join_all(all).await {
        assert!(matches!(settlement, Settlement::Written(_)));
    }
    assert!(one.way.txns() <= 10, "{} transactions", one.way.txns());
    assert_eq!(count(&home.store, "p/").await, 1_000);
    let leases = page(&home.store, "p/", 200).await.entries;
    assert!(leases.iter().all(|entry| entry.lease.is_some()));
}

#[tokio::test(start_paused = true)]
async fn keys_of_a_lost_lease_are_put_again() {
    let home = embedded().await;
    let one = Instance::start(&home.store, 1);
    for n in 0..200 {
        let _ = one.presences.assert(b(&format!("p/{n}")), b("v")).await;
    }
    one.assert("p/last", "v").await;
    let before = one.way.txns();
    for entry in page(&home.store, "p/", 200).await.entries {
        let _ = home.store.revoke(entry.lease.unwrap()).await;
    }
    assert!(count(&home.store, "p/").await < 10);
    let begun = Instant::now();
    until("all are back", async || {
        count(&home.store, "p/").await == 201
    })
    .await;
    let after = begun.elapsed();
    assert!(
        after < Duration::from_secs(12),
        "not before an audit: {after:?}"
    );
    let taken = one.way.txns() - before;
    assert!(
        taken <= 70,
        "{taken} transactions: keys of a lease go together"
    );
    // And stay.
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(count(&home.store, "p/").await, 201);
}

#[tokio::test(start_paused = true)]
async fn presences_come_back_when_the_store_was_away_for_longer_than_they_live() {
    let home = embedded().await;
    let one = Instance::start(&home.store, 1);
    one.assert("p/a", "1").await;
    one.assert("p/b", "1").await;
    one.way.set_away(true);
    until("the leases end", async || {
        count(&home.store, "p/").await == 0
    })
    .await;
    let changed = one.presences.update(b("p/a"), b("2")).await.unwrap();
    let new = one.presences.assert(b("p/c"), b("2")).await.unwrap();
    let gone = one.presences.withdraw(b("p/b")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    one.way.set_away(false);
    assert!(matches!(settled(changed).await, Settlement::Written(_)));
    assert!(matches!(settled(new).await, Settlement::Written(_)));
    assert_eq!(settled(gone).await, Settlement::Withdrawn);
    assert_eq!(value(&home.store, "p/a").await.as_deref(), Some("2"));
    assert_eq!(count(&home.store, "p/").await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_taken_over_outlives_the_instance_that_had_it_and_is_never_seen_gone() {
    let home = embedded().await;
    let (one, two) = (
        Instance::start(&home.store, 1),
        Instance::start(&home.store, 2),
    );
    one.assert("p/moved", "of one").await;
    one.assert("p/left", "of one").await;
    let Settlement::Written(at) = two.assert("p/moved", "of two").await else {
        panic!("not written");
    };
    let mut watch = watch(&home.store, "p/", at.next()).await;
    drop(one);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let (_, events) = next_change(&mut watch).await.unwrap();
    let [event] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(
        (&event.key, &event.kind),
        (&b("p/left"), &EventKind::Deleted)
    );
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(
        value(&home.store, "p/moved").await.as_deref(),
        Some("of two")
    );
}

#[tokio::test(start_paused = true)]
async fn what_another_took_over_is_left_alone() {
    let home = embedded().await;
    let (one, two) = (
        Instance::start(&home.store, 1),
        Instance::start(&home.store, 2),
    );
    for key in ["p/withdrawn", "p/updated", "p/audited"] {
        one.assert(key, "of one").await;
        two.assert(key, "of two").await;
    }
    assert_eq!(one.withdraw("p/withdrawn").await, Settlement::Taken);
    let update = one.presences.update(b("p/updated"), b("new")).await;
    assert_eq!(settled(update.unwrap()).await, Settlement::Taken);
    // The first loses its leases too, which makes it put again what it believes to be its own.
    one.way.set_away(true);
    tokio::time::sleep(Duration::from_secs(50)).await;
    one.way.set_away(false);
    tokio::time::sleep(Duration::from_secs(200)).await;
    for key in ["p/withdrawn", "p/updated", "p/audited"] {
        assert_eq!(
            value(&home.store, key).await.as_deref(),
            Some("of two"),
            "{key}"
        );
    }
    // Each withdraws its own.
    assert_eq!(two.withdraw("p/updated").await, Settlement::Withdrawn);
    assert_eq!(value(&home.store, "p/updated").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_taken_although_its_lease_turns_out_to_be_lost() {
    let home = embedded().await;
    let (one, two) = (
        Instance::start(&home.store, 1),
        Instance::start(&home.store, 2),
    );
    one.assert("p/a", "of one").await;
    let lease = get(&home.store, "p/a").await.unwrap().lease.unwrap();
    two.assert("p/a", "of two").await;
    home.store.revoke(lease).await.unwrap();
    let begun = Instant::now();
    let again = one.assert("p/a", "of one again").await;
    assert!(matches!(again, Settlement::Written(_)), "{again:?}");
    let after = begun.elapsed();
    assert!(after < Duration::from_secs(3), "it asks at once: {after:?}");
    let found = value(&home.store, "p/a").await;
    assert_eq!(found.as_deref(), Some("of one again"));
}

#[tokio::test(start_paused = true)]
async fn only_what_was_seen_is_taken_over() {
    let home = embedded().await;
    let (one, two) = (
        Instance::start(&home.store, 1),
        Instance::start(&home.store, 2),
    );
    let take = async |key: &str, seen| {
        let taken = two.presences.take_over(b(key), b("of two"), seen).await;
        settled(taken.unwrap()).await
    };
    let Settlement::Written(seen) = one.assert("p/a", "of one").await else {
        panic!("not written");
    };
    one.assert("p/a", "changed").await;
    assert_eq!(take("p/a", seen).await, Settlement::Taken);
    let seen = get(&home.store, "p/a").await.unwrap().mod_revision;
    assert!(matches!(take("p/a", seen).await, Settlement::Written(_)));
    two.withdraw("p/a").await;
    assert_eq!(take("p/a", seen).await, Settlement::Taken, "it is gone");
    assert_eq!(value(&home.store, "p/a").await, None);
}

#[tokio::test(start_paused = true)]
async fn the_newest_value_is_written_once_the_store_is_back() {
    let home = embedded().await;
    let one = Instance::start(&home.store, 1);
    one.assert("p/a", "first").await;
    one.way.set_away(true);
    let before = one.way.txns();
    let mut waiting = Vec::new();
    for n in 0..500 {
        let value = b(&n.to_string());
        waiting.push(one.presences.assert(b("p/a"), value.clone()).await.unwrap());
        waiting.push(one.presences.put(b("s/a"), value).await.unwrap());
    }
    one.way.set_away(false);
    let last = waiting.split_off(998);
    for settled in waiting {
        assert_eq!(settled.within(WAIT).await, Err(Unsettled::Superseded));
    }
    for one in last {
        assert!(matches!(settled(one).await, Settlement::Written(_)));
    }
    assert_eq!(value(&home.store, "p/a").await.as_deref(), Some("499"));
    assert_eq!(value(&home.store, "s/a").await.as_deref(), Some("499"));
    assert!(one.way.txns() - before <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_plain_write_stays_when_its_instance_is_gone() {
    let home = embedded().await;
    let one = Instance::start(&home.store, 1);
    one.assert("p/a", "v").await;
    let written = one.presences.put(b("s/a"), b("v")).await.unwrap();
    assert!(matches!(settled(written).await, Settlement::Written(_)));
    // Whoever deletes it later is right.
    delete(&home.store, "s/a").await;
    let written = one.presences.put(b("s/b"), b("v")).await.unwrap();
    settled(written).await;
    tokio::time::sleep(Duration::from_secs(200)).await;
    drop(one);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(value(&home.store, "p/a").await, None);
    assert_eq!(value(&home.store, "s/a").await, None);
    let kept = get(&home.store, "s/b").await.unwrap();
    assert_eq!(kept.lease, None);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_is_found_again() {
    let home = embedded().await;
    let one = Instance::start(&home.store, 1);
    one.assert("p/known", "v").await;
    one.way.lose_answers(true);
    let held = one.presences.assert(b("p/held"), b("1")).await.unwrap();
    let ended = one.presences.assert(b("p/ended"), b("1")).await.unwrap();
    let updated = one.presences.update(b("p/known"), b("2")).await.unwrap();
    until("all are written", async || {
        count(&home.store, "p/").await == 3
    })
    .await;
    let withdrawn = one.presences.withdraw(b("p/ended")).await.unwrap();
    let known = one.presences.update(b("p/known"), b("3")).await.unwrap();
    one.way.lose_answers(false);
    assert!(matches!(settled(held).await, Settlement::Written(_)));
    assert_eq!(ended.within(WAIT).await, Err(Unsettled::Superseded));
    assert_eq!(updated.within(WAIT).await, Err(Unsettled::Superseded));
    assert_eq!(settled(withdrawn).await, Settlement::Withdrawn);
    assert!(matches!(settled(known).await, Settlement::Written(_)));
    assert_eq!(value(&home.store, "p/held").await.as_deref(), Some("1"));
    assert_eq!(value(&home.store, "p/known").await.as_deref(), Some("3"));
    assert_eq!(value(&home.store, "p/ended").await, None);
}

#[tokio::test(start_paused = true)]
async fn the_audit_puts_back_what_was_deleted_and_else_writes_nothing() {
    let home = embedded().await;
    let one = Instance::start(&home.store, 1);
    for n in 0..300 {
        let _ = one.presences.assert(b(&format!("p/{n}")), b("v")).await;
    }
    one.assert("p/last", "v").await;
    let quiet_at = page(&home.store, "p/", 1).await.revision;
    let before = one.way.txns();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(page(&home.store, "p/", 1).await.revision, quiet_at);
    assert!(one.way.txns() - before >= 9, "it looked at all of them");
    delete(&home.store, "p/7").await;
    put(&home.store, "p/8", "of a hand").await;
    until("it is back", async || {
        value(&home.store, "p/7").await.is_some()
    })
    .await;
    assert_eq!(
        value(&home.store, "p/8").await.as_deref(),
        Some("of a hand")
    );
    assert_eq!(one.withdraw("p/8").await, Settlement::Taken);
}

#[tokio::test(start_paused = true)]
async fn what_no_store_takes_is_refused_at_once() {
    let home = embedded().await;
    let one = Instance::start(&home.store, 1);
    let large = one
        .presences
        .assert(b("p/a"), b(&"x".repeat(300_000)))
        .await;
    let refused = large.unwrap_err().to_string();
    assert_eq!(
        refused,
        "the value has 300000 bytes; allowed: at most 262144"
    );
    one.way.set_away(true);
    for n in 0..ENTRIES_MAX {
        let _ = one.presences.put(b(&n.to_string()), b("v")).await.unwrap();
    }
    let more = one.presences.put(b("one more"), b("v")).await;
    assert_eq!(more.unwrap_err(), Refused::Full);
    let known = one.presences.put(b("0"), b("w")).await;
    assert!(known.is_ok(), "a newer value of a key takes no room");
}

#[tokio::test(start_paused = true)]
async fn large_values_are_split_over_transactions() {
    let home = embedded().await;
    let one = Instance::start(&home.store, 1);
    let value = "x".repeat(200_000);
    let all = (0..20).map(|n| one.assert_owned(format!("p/{n}"), value.clone()));
    for settlement in join_all(all).await {
        assert!(matches!(settlement, Settlement::Written(_)));
    }
    assert!((3..=8).contains(&one.way.txns()));
}

impl Instance {
    async fn assert_owned(&self, key: String, value: String) -> Settlement {
        self.assert(&key, &value).await
    }
}
