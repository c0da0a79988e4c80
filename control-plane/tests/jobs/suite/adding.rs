//! What may be added.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_control_plane::jobs::{DEFAULT_QUEUE, Error, NewJob, State};

use crate::support::{Home, new};

pub(crate) async fn an_open_job_with_the_same_key_is_named_instead(home: Home) {
    let first = home.add("tv-1").await;
    let again = home.jobs.enqueue(new("tv-1")).await.unwrap();
    assert_eq!((&again.job_id, again.already), (&first, true));
    // Also while it is claimed; not when it is done.
    let claim = home.ask("a").await.unwrap();
    assert_eq!(claim.spec, new("tv-1").spec);
    let again = home.jobs.enqueue(new("tv-1")).await.unwrap();
    assert_eq!((&again.job_id, again.already), (&first, true));
    let done = home.jobs.complete(&claim.ticket, "at :9001".to_owned());
    done.await.unwrap();
    let second = home.add("tv-1").await;
    assert_ne!(second, first);
    let job = home.get(&first).await;
    assert_eq!((job.state(), &*job.result), (State::Done, "at :9001"));
    assert_eq!(job.spec.unwrap().payload, b"");
}

pub(crate) async fn of_jobs_added_at_once_with_one_key_there_is_one(home: Home) {
    let adding = (0..8).map(|_| {
        let jobs = Arc::clone(&home.jobs);
        tokio::spawn(async move { jobs.enqueue(new("tv-1")).await.unwrap() })
    });
    let added = futures::future::join_all(adding).await;
    let added: Vec<_> = added.into_iter().map(Result::unwrap).collect();
    let ids: BTreeSet<&str> = added.iter().map(|added| &*added.job_id).collect();
    assert_eq!(ids.len(), 1, "{added:?}");
    assert_eq!(added.iter().filter(|added| !added.already).count(), 1);
    assert_eq!(home.all(&[]).await.len(), 1);
}

pub(crate) async fn of_a_thousand_jobs_added_at_once_each_is_taken(home: Home) {
    let adding = (0..1_000).map(|number| {
        let jobs = Arc::clone(&home.jobs);
        tokio::spawn(async move { jobs.enqueue(new(&format!("tv-{number}"))).await })
    });
    for added in futures::future::join_all(adding).await {
        assert!(!added.unwrap().unwrap().already);
    }
    assert_eq!(home.all(&[]).await.len(), 1_000);
}

pub(crate) async fn a_full_queue_refuses_and_names_its_bound(home: Home) {
    let jobs = home
        .through(&home.store, |options| options.open_max = 3)
        .await;
    for key in ["a", "b", "c"] {
        jobs.enqueue(new(key)).await.unwrap();
    }
    let refused = jobs.enqueue(new("d")).await.unwrap_err();
    assert!(
        matches!(refused, Error::Full { open_max: 3, .. }),
        "{refused:?}"
    );
    let told = "queue `engines` has 3 open jobs, and may have 3";
    assert_eq!(refused.to_string(), told);
    // One that is there is still named, and one that ends makes room.
    assert!(jobs.enqueue(new("c")).await.unwrap().already);
    let claim = home.ask("a").await.unwrap();
    jobs.fail(&claim.ticket, "no".to_owned(), true)
        .await
        .unwrap();
    assert!(jobs.enqueue(new("d")).await.is_err(), "what waits is open");
    jobs.cancel(DEFAULT_QUEUE, &claim.ticket.job_id)
        .await
        .unwrap();
    jobs.enqueue(new("d")).await.unwrap();
}

pub(crate) async fn adders_at_once_never_pass_the_bound_that_they_name(home: Home) {
    const BOUND: u64 = 20;
    let bounded = |key: &str, most| NewJob {
        queue_max: Some(most),
        ..new(key)
    };
    // Each of these has a line of its own, as processes have.
    let mut adding = Vec::new();
    for node in 0..4 {
        let jobs = home.through(&home.store, |_| {}).await;
        adding.extend((0..20).map(|number| {
            let (jobs, key) = (Arc::clone(&jobs), format!("tv-{node}-{number}"));
            tokio::spawn(async move { jobs.enqueue(bounded(&key, BOUND)).await })
        }));
    }
    let mut added = 0;
    for outcome in futures::future::join_all(adding).await {
        match outcome.unwrap() {
            Ok(_) => added += 1,
            Err(Error::Full { open, open_max, .. }) => assert_eq!((open, open_max), (BOUND, BOUND)),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(added, BOUND);
    let open = home.all(&[]).await;
    assert_eq!(open.len(), 20);
    // A claimed one is open; one that has ended makes room; each adder is held to its own bound.
    let claim = home.ask("a").await.unwrap();
    let refused = home.jobs.enqueue(bounded("more", BOUND)).await;
    assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
    let again = home
        .jobs
        .enqueue(bounded(&open[0].idempotency_key, 0))
        .await;
    assert!(again.unwrap().already, "one that is there is no more");
    home.jobs
        .complete(&claim.ticket, String::new())
        .await
        .unwrap();
    let lower = home.jobs.enqueue(bounded("more", BOUND - 1)).await;
    let told = "queue `engines` has 19 open jobs, and may have 19";
    assert_eq!(lower.unwrap_err().to_string(), told);
    home.jobs.enqueue(bounded("more", BOUND)).await.unwrap();
}

pub(crate) async fn a_wrong_job_is_refused_by_field(home: Home) {
    let mut job = new("a/b");
    job.priority = 10;
    job.spec.payload = vec![0; 16_385];
    let refused = home.jobs.enqueue(job).await.unwrap_err().to_string();
    for field in [
        "spec.payload: `16385` is out of bounds (allowed: 0 to 16384 bytes)",
        "priority: `10` is out of bounds (allowed: 0 to 9)",
        "idempotency_key: `a/b`",
    ] {
        assert!(refused.contains(field), "{refused}");
    }
    assert_eq!(home.all(&[]).await, []);
}
