//! Never doubled, never lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::{Instant, timeout};
use weir_control_plane::jobs::{DEFAULT_QUEUE, Failed, JobQueue, State};

use crate::faulty::{Fault, Faulty};
use crate::support::{Home, PATIENCE, Shared, TTL, holder, new, want};

const Q: &str = DEFAULT_QUEUE;
const FAULTS: [&[Fault]; 6] = [
    &[Fault::Made],
    &[Fault::NotMade],
    &[Fault::Stuck],
    &[Fault::MadeWithNext],
    &[Fault::MadeThenAway],
    &[Fault::NotMade, Fault::Stuck, Fault::Made],
];

/// The same jobs over a store with these faults to come.
async fn faulty(home: &Home, faults: &[Fault]) -> (Arc<Faulty>, Arc<dyn JobQueue>) {
    let faulty = Faulty::new(&home.store, faults);
    let store: Shared = faulty.clone();
    let jobs = home.through(&store, |_| {}).await;
    (faulty, jobs)
}

/// What was stuck is made too late, or never.
async fn comes_too_late(faulty: &Faulty) {
    assert_ne!(faulty.arrive().await, Some(true));
}

pub(crate) async fn a_lost_answer_adds_one_job(home: Home) {
    for (n, faults) in FAULTS.iter().enumerate() {
        let key = format!("tv-{n}");
        let (faulty, jobs) = faulty(&home, faults).await;
        let added = jobs.enqueue(new(&key)).await.unwrap();
        assert!(!added.already, "{faults:?}");
        // It is taken and done before what was stuck arrives.
        let claim = home.ask("a").await.unwrap();
        assert_eq!(claim.ticket.job_id, added.job_id);
        home.jobs
            .complete(&claim.ticket, String::new())
            .await
            .unwrap();
        comes_too_late(&faulty).await;
        assert_eq!(home.ask("a").await, None, "{faults:?}");
    }
    assert_eq!(home.all(&[]).await.len(), FAULTS.len());
}

pub(crate) async fn a_lost_answer_of_a_claim_leaks_nothing(home: Home) {
    for (n, faults) in FAULTS.iter().enumerate() {
        // Of several jobs the next try may choose another one than what was stuck.
        for of in 0..4 {
            home.add(&format!("tv-{n}-{of}")).await;
        }
        let (faulty, jobs) = faulty(&home, faults).await;
        let asked = Instant::now();
        let mut claims = Vec::new();
        claims.extend(jobs.claim(want("a")).await.ok().flatten());
        comes_too_late(&faulty).await;
        while claims.len() < 4 {
            claims.push(home.claim("b").await);
        }
        assert!(asked.elapsed() < TTL * 3, "{faults:?}");
        assert_eq!(home.ask("c").await, None, "{faults:?}");
        for claim in claims {
            home.jobs.extend(&claim.ticket).await.unwrap();
            home.jobs
                .complete(&claim.ticket, String::new())
                .await
                .unwrap();
        }
    }
    assert_eq!(home.all(&[State::Done]).await.len(), FAULTS.len() * 4);
    assert_eq!(home.count(home.keys().all_claims()).await, 0);
}

pub(crate) async fn a_lost_answer_ends_a_claim_once(home: Home) {
    for (n, faults) in FAULTS.iter().enumerate() {
        let job = home
            .add_with(&format!("tv-{n}"), |job| job.limits.attempts_max = 9)
            .await;
        let claim = home.ask("a").await.unwrap();
        let (faulty_store, jobs) = faulty(&home, faults).await;
        jobs.release(&claim.ticket).await.unwrap();
        comes_too_late(&faulty_store).await;
        let claim = home.ask("a").await.unwrap();
        assert_eq!(claim.attempt, 1, "{faults:?}");
        let (faulty_store, jobs) = faulty(&home, faults).await;
        let failed = jobs
            .fail(&claim.ticket, "no".to_owned(), true)
            .await
            .unwrap();
        comes_too_late(&faulty_store).await;
        let Failed::RetryAt(at) = failed else {
            panic!("attempts are left");
        };
        assert_eq!(home.get(&job).await.not_before_unix_ms, at);
        home.advance(std::time::Duration::from_millis(at - home.now()));
        let claim = home.ask("a").await.unwrap();
        assert_eq!(claim.attempt, 2, "{faults:?}");
        let (faulty_store, jobs) = faulty(&home, faults).await;
        jobs.complete(&claim.ticket, "here".to_owned())
            .await
            .unwrap();
        comes_too_late(&faulty_store).await;
        assert_eq!(home.state(&job).await, State::Done);
        // Sent once more it is done; another end of it is refused.
        jobs.complete(&claim.ticket, "here".to_owned())
            .await
            .unwrap();
        let failed = jobs.fail(&claim.ticket, "no".to_owned(), true).await;
        assert!(failed.unwrap_err().is_lost());
    }
    assert_eq!(home.all(&[]).await.len(), FAULTS.len());
}

pub(crate) async fn a_lost_answer_of_an_operator_changes_once(home: Home) {
    for (n, faults) in FAULTS.iter().enumerate() {
        let job = home.add(&format!("tv-{n}")).await;
        let claim = home.ask("a").await.unwrap();
        home.jobs
            .fail(&claim.ticket, "no".to_owned(), false)
            .await
            .unwrap();
        let (faulty_store, jobs) = faulty(&home, faults).await;
        jobs.requeue(Q, &job).await.unwrap();
        comes_too_late(&faulty_store).await;
        assert_eq!(home.state(&job).await, State::Ready, "{faults:?}");
        let (faulty_store, jobs) = faulty(&home, faults).await;
        jobs.cancel(Q, &job).await.unwrap();
        comes_too_late(&faulty_store).await;
        assert_eq!(home.state(&job).await, State::Cancelled, "{faults:?}");
        assert_eq!(home.ask("a").await, None);
    }
    assert_eq!(home.all(&[]).await.len(), FAULTS.len());
}

pub(crate) async fn a_lost_answer_of_a_hold_leaks_nothing(home: Home) {
    for (n, faults) in FAULTS.iter().enumerate() {
        let name = format!("vpn-{n}");
        let (faulty, jobs) = faulty(&home, faults).await;
        let asked = Instant::now();
        let held = match jobs.hold(Q, &name, holder("a")).await {
            Ok(held) => held,
            Err(_) => {
                comes_too_late(&faulty).await;
                let held = home.jobs.hold(Q, &name, holder("b")).await.unwrap();
                assert!(asked.elapsed() < TTL * 2, "{faults:?}");
                held
            }
        };
        comes_too_late(&faulty).await;
        home.jobs.extend_hold(&held).await.unwrap();
    }
}

/// Claims and completes until nothing is ready; what it completed, by id.
async fn work(jobs: Arc<dyn JobQueue>, node: &'static str) -> BTreeMap<String, u64> {
    let mut done = BTreeMap::new();
    while let Some(claim) = jobs.claim(want(node)).await.unwrap() {
        jobs.complete(&claim.ticket, node.to_owned()).await.unwrap();
        let again = done.insert(claim.ticket.job_id, claim.ticket.fence);
        assert_eq!(again, None);
    }
    done
}

pub(crate) async fn a_thousand_jobs_are_each_completed_once(home: Home) {
    const JOBS: usize = 1_000;
    for n in 0..JOBS {
        home.add(&format!("tv-{n}")).await;
    }
    let working = ["a", "b", "c"].map(|node| tokio::spawn(work(Arc::clone(&home.jobs), node)));
    let worked = timeout(PATIENCE * 6, futures::future::join_all(working)).await;
    let mut done = BTreeMap::new();
    for part in worked.expect("it ends") {
        for (job, fence) in part.unwrap() {
            assert_eq!(done.insert(job, fence), None, "completed twice");
        }
    }
    assert_eq!(done.len(), JOBS);
    let kept = home.all(&[]).await;
    assert_eq!(kept.len(), JOBS);
    assert!(
        kept.iter()
            .all(|job| job.state() == State::Done && job.attempt == 1)
    );
}
