//! How jobs end.

use std::time::Duration;

use weir_control_plane::jobs::{
    Claim, DEFAULT_QUEUE, Error, Failed, JobList, Limits, Pruned, State,
};
use weir_control_plane::store::Compare;

use crate::support::{Home, new};

const Q: &str = DEFAULT_QUEUE;

async fn fail(home: &Home, claim: &Claim, retryable: bool) -> Failed {
    let failed = home
        .jobs
        .fail(&claim.ticket, "no port".to_owned(), retryable);
    failed.await.unwrap()
}

/// A dead job of this key.
async fn dead(home: &Home, key: &str) -> String {
    let job = home.add_with(key, |job| job.limits.attempts_max = 1).await;
    let claim = home.ask("a").await.unwrap();
    assert_eq!(fail(home, &claim, true).await, Failed::Dead);
    job
}

pub(crate) async fn a_failed_attempt_waits_and_the_last_one_is_dead(home: Home) {
    let limits = Limits {
        attempts_max: 3,
        retry_delay: Duration::from_secs(60),
        retry_delay_max: Duration::from_secs(100),
    };
    let job = home.add_with("tv-1", |job| job.limits = limits).await;
    for (attempt, seconds) in [(1, 60), (2, 100)] {
        let claim = home.ask("a").await.unwrap();
        assert_eq!(claim.attempt, attempt);
        let Failed::RetryAt(at) = fail(&home, &claim, true).await else {
            panic!("attempts are left");
        };
        let wait = Duration::from_millis(at - home.now());
        let expected = Duration::from_secs(seconds);
        assert!(
            wait >= expected.mul_f64(0.899) && wait <= expected.mul_f64(1.101),
            "{wait:?}"
        );
        assert_eq!(home.state(&job).await, State::Waiting);
        home.advance(wait - Duration::from_millis(1));
        assert_eq!(home.ask("a").await, None);
        home.advance(Duration::from_millis(1));
    }
    let claim = home.ask("a").await.unwrap();
    assert_eq!(fail(&home, &claim, true).await, Failed::Dead);
    let told = home.get(&job).await;
    assert_eq!((told.state(), &*told.last_error), (State::Dead, "no port"));
    assert_eq!(told.spec.unwrap().payload, b"opaque");
    home.advance(Duration::from_secs(86_400));
    assert_eq!(home.ask("a").await, None);
    // It is not open: its key is free.
    home.add("tv-1").await;
}

pub(crate) async fn what_cannot_be_retried_is_dead_at_once(home: Home) {
    let job = home.add("tv-1").await;
    let claim = home.ask("a").await.unwrap();
    assert_eq!(fail(&home, &claim, false).await, Failed::Dead);
    assert_eq!(home.state(&job).await, State::Dead);
}

pub(crate) async fn a_holder_that_dies_at_the_last_attempt_leaves_a_dead_job(home: Home) {
    let job = home
        .add_with("tv-1", |job| job.limits.attempts_max = 2)
        .await;
    home.ask("a").await.unwrap();
    assert_eq!(home.claim("b").await.attempt, 2);
    // The next look of whoever claims buries it.
    home.add_with("later", |job| job.not_before_unix_ms = u64::MAX / 2)
        .await;
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    while home.state(&job).await != State::Dead {
        assert!(tokio::time::Instant::now() < deadline);
        assert_eq!(home.ask("c").await, None);
    }
    assert_eq!(
        home.get(&job).await.last_error,
        "its holder, node `b`, went away"
    );
    assert_eq!(home.count(home.keys().all_held()).await, 0);
}

pub(crate) async fn a_dead_job_gets_all_its_attempts_again(home: Home) {
    let job = dead(&home, "tv-1").await;
    assert_eq!(
        home.jobs.requeue(Q, &job).await.unwrap().state(),
        State::Ready
    );
    let claim = home.ask("b").await.unwrap();
    assert_eq!((&claim.ticket.job_id, claim.attempt), (&job, 1));
    assert_eq!(claim.spec.payload, b"opaque");
    let refused = home.jobs.requeue(Q, &job).await.unwrap_err();
    let claimed = State::Claimed;
    assert!(
        matches!(refused, Error::State { state, .. } if state == claimed),
        "{refused:?}"
    );
    home.jobs
        .complete(&claim.ticket, String::new())
        .await
        .unwrap();
    let unknown = home.jobs.requeue(Q, &"0".repeat(28)).await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound { .. }), "{unknown:?}");
}

pub(crate) async fn a_dead_job_is_not_requeued_over_an_open_one(home: Home) {
    let job = dead(&home, "tv-1").await;
    let open = home.add("tv-1").await;
    match home.jobs.requeue(Q, &job).await.unwrap_err() {
        Error::KeyTaken { by_job_id, .. } => assert_eq!(by_job_id, open),
        other => panic!("{other:?}"),
    }
    assert_eq!(home.state(&job).await, State::Dead);
}

pub(crate) async fn a_cancelled_job_is_taken_from_its_holder(home: Home) {
    let claimed = home.add("tv-1").await;
    let claim = home.ask("a").await.unwrap();
    let ready = home.add("tv-2").await;
    let dead = {
        let waits = home.jobs.cancel(Q, &ready).await.unwrap();
        assert_eq!(waits.state(), State::Cancelled);
        dead(&home, "tv-3").await
    };
    for job in [&claimed, &dead] {
        home.jobs.cancel(Q, job).await.unwrap();
        // Again it changes nothing.
        home.jobs.cancel(Q, job).await.unwrap();
    }
    assert!(home.jobs.extend(&claim.ticket).await.unwrap_err().is_lost());
    let done = home.jobs.complete(&claim.ticket, String::new()).await;
    assert!(done.unwrap_err().is_lost());
    assert_eq!(home.all(&[State::Cancelled]).await.len(), 3);
    assert_eq!(home.ask("b").await, None);
    let keys = home.keys();
    for prefix in [
        keys.all_open(),
        keys.all_held(),
        keys.all_claims(),
        keys.all_ready(),
    ] {
        assert_eq!(home.count(prefix).await, 0);
    }
    let again = home.add("tv-1").await;
    let claim = home.ask("b").await.unwrap();
    home.jobs
        .complete(&claim.ticket, String::new())
        .await
        .unwrap();
    let refused = home.jobs.cancel(Q, &again).await.unwrap_err();
    assert!(matches!(refused, Error::State { .. }), "{refused:?}");
}

pub(crate) async fn what_is_dead_or_done_is_listed_and_forgotten_when_it_is_old(home: Home) {
    let jobs = home.local(&home.store, |options| {
        (options.done_max, options.dead_max) = (3, 2);
    });
    let mut ended = Vec::new();
    for n in 0..5 {
        ended.push(home.add(&format!("tv-{n}")).await);
        let claim = home.ask("a").await.unwrap();
        home.jobs
            .complete(&claim.ticket, String::new())
            .await
            .unwrap();
        home.advance(Duration::from_secs(1));
    }
    let mut buried = Vec::new();
    for n in 0..3 {
        buried.push(dead(&home, &format!("radio-{n}")).await);
        home.advance(Duration::from_secs(1));
    }
    // Who does not lead forgets nothing.
    let guard = Compare::Exists(home.keys().gate());
    let pruned = jobs.prune(Q, Some(&guard)).await.unwrap();
    assert_eq!(pruned, Pruned::default());
    let pruned = jobs.prune(Q, None).await.unwrap();
    assert_eq!(pruned, Pruned { done: 2, dead: 1 });
    let ids = |jobs: Vec<weir_control_plane::jobs::Job>| -> Vec<String> {
        jobs.into_iter().map(|job| job.job_id).collect()
    };
    assert_eq!(ids(home.all(&[State::Done]).await), ended[2..]);
    assert_eq!(ids(home.all(&[State::Dead]).await), buried[1..]);
    // The oldest that is left ended 6 s before now.
    home.advance(Duration::from_secs(7 * 86_400 - 5));
    let pruned = jobs.prune(Q, None).await.unwrap();
    assert_eq!(pruned, Pruned { done: 1, dead: 0 });
    home.advance(Duration::from_secs(86_400));
    let pruned = jobs.prune(Q, None).await.unwrap();
    assert_eq!(pruned, Pruned { done: 2, dead: 0 });
    assert_eq!(ids(home.all(&[]).await), buried[1..]);
    assert_eq!(jobs.queues().await.unwrap().len(), 1);
}

pub(crate) async fn a_list_comes_in_pages(home: Home) {
    dead(&home, "dead").await;
    for n in 0..5 {
        home.add(&format!("tv-{n}")).await;
    }
    let mut list = JobList {
        queue: Q.to_owned(),
        entries_max: 2,
        ..JobList::default()
    };
    let mut sizes = Vec::new();
    loop {
        let page = home.jobs.list(list.clone()).await.unwrap();
        assert!(
            page.jobs
                .iter()
                .all(|job| job.spec.clone().unwrap().payload.is_empty())
        );
        sizes.push(page.jobs.len());
        if page.next.is_empty() {
            break;
        }
        list.after = page.next;
    }
    assert_eq!(sizes, [2, 2, 1, 1, 0]);
    list.after = "elsewhere".to_owned();
    let refused = home.jobs.list(list).await.unwrap_err().to_string();
    assert!(refused.contains("after: `elsewhere`"), "{refused}");
    let other = home.jobs.enqueue(new("tv-0")).await.unwrap();
    assert!(other.already);
}
