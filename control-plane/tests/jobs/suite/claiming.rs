//! Who gets what.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weir_control_plane::jobs::{Claim, DEFAULT_QUEUE, Error, NewJob, State, Want};

use crate::support::{Home, NOW, TTL, new, want};

/// What a store may be late by when a lease ends, and what a busy machine takes.
const LATE: Duration = Duration::from_secs(3);

pub(crate) async fn of_claimers_at_once_one_gets_the_job(home: Home) {
    let job = home.add("tv-1").await;
    let claiming = ["a", "b", "c", "d"].map(|node| {
        let jobs = Arc::clone(&home.jobs);
        tokio::spawn(async move { jobs.claim(want(node)).await.unwrap() })
    });
    let claims = futures::future::join_all(claiming).await;
    let claims: Vec<_> = claims.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(claims.len(), 1, "{claims:?}");
    assert_eq!(claims[0].ticket.job_id, job);
    assert_eq!((claims[0].attempt, claims[0].attempts_max), (1, 3));
    assert_eq!(claims[0].ttl, TTL);
    let job = home.get(&job).await;
    let node = job.holder.clone().unwrap().node_id;
    assert_eq!(
        (job.state(), node),
        (State::Claimed, claims[0].ticket.node_id.clone())
    );
}

pub(crate) async fn jobs_come_by_priority_then_time(home: Home) {
    let added = [
        ("late", 5, 3),
        ("low", 9, 1),
        ("first", 0, 9),
        ("early", 5, 2),
    ];
    for (key, priority, time) in added {
        let time = NOW + time;
        home.add_with(key, |job| {
            (job.priority, job.not_before_unix_ms) = (priority, time);
        })
        .await;
    }
    home.advance(Duration::from_millis(10));
    let mut order = Vec::new();
    while let Some(claim) = home.ask("a").await {
        order.push(claim.spec.slot);
    }
    assert_eq!([&*order[0], &*order[3]], ["first", "low"], "{order:?}");
}

pub(crate) async fn jobs_that_wait_hold_nothing_up(home: Home) {
    for n in 0..40 {
        home.add_with(&format!("waits-{n}"), |job| {
            job.not_before_unix_ms = NOW + 60_000
        })
        .await;
    }
    home.add_with("ready", |job| job.priority = 9).await;
    assert_eq!(home.ask("a").await.unwrap().spec.slot, "ready");
    assert_eq!(home.ask("a").await, None);
    assert_eq!(home.all(&[State::Waiting]).await.len(), 40);
    home.advance(Duration::from_secs(60));
    assert!(home.ask("a").await.is_some());
    assert_eq!(home.all(&[State::Ready]).await.len(), 39);
}

pub(crate) async fn only_wanted_services_are_handed_out(home: Home) {
    for n in 0..40 {
        home.add(&format!("tv-{n}")).await;
    }
    home.add_with("radio-1", |job| job.spec.service = "radio".to_owned())
        .await;
    let radio = Want {
        services: vec!["radio".to_owned(), "other".to_owned()],
        ..want("a")
    };
    let claim = home.jobs.claim(radio.clone()).await.unwrap().unwrap();
    assert_eq!(claim.spec.slot, "radio-1");
    assert_eq!(home.jobs.claim(radio).await.unwrap(), None);
}

pub(crate) async fn a_dead_holders_job_goes_to_another_with_a_higher_fence(home: Home) {
    home.add("tv-1").await;
    let first = home.ask("a").await.unwrap();
    let claimed = Instant::now();
    let second = home.claim("b").await;
    assert!(claimed.elapsed() < TTL + LATE, "{:?}", claimed.elapsed());
    assert_eq!(second.ticket.job_id, first.ticket.job_id);
    assert!(second.ticket.fence > first.ticket.fence);
    assert_eq!(second.attempt, 2);
    let told = home.get(&second.ticket.job_id).await.last_error;
    assert_eq!(told, "its holder, node `a`, went away");
}

pub(crate) async fn a_zombie_is_told_that_it_is_one(home: Home) {
    home.add("tv-1").await;
    let zombie = home.ask("a").await.unwrap().ticket;
    let owner = home.claim("b").await.ticket;
    let jobs = &home.jobs;
    for lost in [
        jobs.complete(&zombie, String::new()).await.unwrap_err(),
        jobs.fail(&zombie, String::new(), true).await.unwrap_err(),
        jobs.release(&zombie).await.unwrap_err(),
        jobs.extend(&zombie).await.unwrap_err(),
    ] {
        match lost {
            Error::Lost { by: Some(by), .. } => assert_eq!(by.node_id, "b"),
            other => panic!("{other:?}"),
        }
    }
    // Nor may anybody else use a claim.
    let mut forged = owner.clone();
    forged.node_id = "a".to_owned();
    assert!(
        jobs.complete(&forged, String::new())
            .await
            .unwrap_err()
            .is_lost()
    );
    jobs.complete(&owner, String::new()).await.unwrap();
    assert!(
        jobs.complete(&zombie, String::new())
            .await
            .unwrap_err()
            .is_lost()
    );
    assert_eq!(home.all(&[State::Done]).await.len(), 1);
}

pub(crate) async fn a_claim_that_is_extended_lives_on(home: Home) {
    home.add("tv-1").await;
    let claim = home.ask("a").await.unwrap();
    let until = Instant::now() + TTL + TTL / 2;
    while Instant::now() < until {
        home.jobs.extend(&claim.ticket).await.unwrap();
        assert_eq!(home.ask("b").await, None);
        tokio::time::sleep(TTL / 8).await;
    }
    home.jobs
        .complete(&claim.ticket, String::new())
        .await
        .unwrap();
}

pub(crate) async fn a_job_that_was_given_back_did_not_fail(home: Home) {
    let job = home.add("tv-1").await;
    for _ in 0..5 {
        let claim = home.ask("a").await.unwrap();
        assert_eq!(claim.attempt, 1);
        home.jobs.release(&claim.ticket).await.unwrap();
        assert_eq!(home.state(&job).await, State::Ready);
    }
    assert_eq!(home.count(home.keys().all_claims()).await, 0);
    assert_eq!(home.count(home.keys().all_held()).await, 0);
}

/// Adds a job within a bound that is by chance lower than what is open, or ends one that is claimed.
async fn add_or_end(home: &Home, key: &str, claims: &mut Vec<Claim>, chance: &mut fastrand::Rng) {
    if chance.bool() || claims.is_empty() {
        let bounded = NewJob {
            queue_max: Some(chance.u64(..10)),
            ..new(key)
        };
        let added = home.jobs.enqueue(bounded).await;
        assert!(
            matches!(added, Ok(_) | Err(Error::Full { .. })),
            "{added:?}"
        );
        return;
    }
    let claim = claims.swap_remove(chance.usize(..claims.len()));
    if chance.bool() {
        let done = home.jobs.complete(&claim.ticket, String::new());
        return done.await.unwrap();
    }
    let failed = home.jobs.fail(&claim.ticket, "no".to_owned(), false);
    failed.await.unwrap();
}

pub(crate) async fn a_claimed_job_is_cut_by_no_bound_however_low(home: Home) {
    for seed in 0..2 {
        let (mut chance, mut claims) = (fastrand::Rng::with_seed(seed), Vec::new());
        for step in 0..25 {
            let key = format!("tv-{seed}-{step}");
            add_or_end(&home, &key, &mut claims, &mut chance).await;
            if claims.len() < 5 {
                claims.extend(home.ask("a").await);
            }
            // Whoever comes next keeps hardly anything, and nothing for long.
            let low = home.local(&home.store, |options| {
                options.open_max = chance.u64(..2);
                (options.done_max, options.dead_max) = (chance.u64(..2), chance.u64(..2));
                options.done_age_max = Duration::ZERO;
            });
            low.prune(DEFAULT_QUEUE, None).await.unwrap();
            for claim in &claims {
                home.jobs.extend(&claim.ticket).await.unwrap();
                assert_eq!(home.state(&claim.ticket.job_id).await, State::Claimed);
            }
        }
        for claim in claims {
            let done = home.jobs.complete(&claim.ticket, String::new());
            done.await.unwrap();
        }
    }
}
