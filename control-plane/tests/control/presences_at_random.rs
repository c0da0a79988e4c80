//! Two instances, every fault there is, and at the end one truth.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_control_plane::leases::Settlement;

use crate::faulty::until;
use crate::presences::{Instance, settled};
use crate::support::{Shared, b, embedded, get, page, text};

const KEYS: usize = 12;
const STEPS: usize = 150;

#[tokio::test(start_paused = true)]
async fn leases_are_granted_as_they_are_wanted_and_shared() {
    let home = embedded().await;
    let one = Instance::start(&home.store, 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(one.way.grants(), 0);
    one.assert("p/a", "v").await;
    assert_eq!(one.way.grants(), 1);
    for n in 0..400 {
        let _ = one.presences.assert(b(&format!("p/{n}")), b("v")).await;
    }
    one.assert("p/last", "v").await;
    let held = async || {
        let mut leases = BTreeSet::new();
        for n in 0..400 {
            leases.extend(get(&home.store, &format!("p/{n}")).await.unwrap().lease);
        }
        leases
    };
    until("all are there", async || {
        get(&home.store, "p/399").await.is_some()
    })
    .await;
    let before = held().await;
    assert!((55..=64).contains(&before.len()), "{} leases", before.len());
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(held().await, before, "renewed, not replaced");
    assert!(one.way.grants() <= 64);
}

async fn step(store: &Shared, all: &[Instance; 2], random: &mut fastrand::Rng, step: usize) {
    let who = random.usize(..2);
    let one = &all[who];
    let key = b(&format!("p/{}", random.usize(..KEYS)));
    let value = b(&format!("{who}: {step}"));
    match random.u8(..100) {
        0..40 => drop(one.presences.assert(key, value).await.unwrap()),
        40..55 => drop(one.presences.withdraw(key).await.unwrap()),
        55..70 => drop(one.presences.update(key, value).await.unwrap()),
        70..75 => {
            if let Some(found) = get(store, &text(&key)).await {
                let taken = one.presences.take_over(key, value, found.mod_revision);
                drop(taken.await.unwrap());
            }
        }
        75..82 => one.way.set_away(true),
        82..86 => one.way.lose_answers(true),
        86..97 => {
            one.way.set_away(false);
            one.way.lose_answers(false);
        }
        _ => {
            for entry in page(store, "p/", 200).await.entries {
                let _ = store.revoke(entry.lease.unwrap()).await;
            }
        }
    }
    let pause = [0, 5, 30, 500, 5_000][random.usize(..5)];
    tokio::time::sleep(Duration::from_millis(pause)).await;
}

/// Each key that is there is believed in by the one who wrote it and by nobody else.
async fn agree(store: &Shared, all: &[Instance; 2], seed: u64) {
    for key in (0..KEYS).map(|key| format!("p/{key}")) {
        let found = get(store, &key).await.map(|entry| text(&entry.value));
        for (who, one) in all.iter().enumerate() {
            let is_holder = found
                .as_ref()
                .is_some_and(|value| value.starts_with(&who.to_string()));
            let value = format!("{who}: end");
            let updated = one.presences.update(b(&key), b(&value)).await.unwrap();
            let is_believed = matches!(settled(updated).await, Settlement::Written(_));
            assert_eq!(
                is_believed, is_holder,
                "seed {seed}: {who}, {key}, {found:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_any_faults_each_key_has_one_holder_at_most() {
    for seed in 0..12 {
        let home = embedded().await;
        let all = [1, 2].map(|n| Instance::start(&home.store, seed * 2 + n));
        let mut random = fastrand::Rng::with_seed(seed);
        for n in 0..STEPS {
            step(&home.store, &all, &mut random, n).await;
        }
        for one in &all {
            one.way.set_away(false);
            one.way.lose_answers(false);
        }
        // Two audits, and whatever waits.
        tokio::time::sleep(Duration::from_secs(180)).await;
        agree(&home.store, &all, seed).await;
    }
}
