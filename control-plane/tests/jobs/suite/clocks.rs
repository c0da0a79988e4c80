//! Wall clocks that step in either direction.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_control_plane::jobs::{Failed, State};

use crate::support::{Home, TTL};

const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);

fn step_back(home: &Home, by: Duration) {
    let by_ms = u64::try_from(by.as_millis()).unwrap();
    home.clock.fetch_sub(by_ms, Ordering::SeqCst);
}

/// Claims all there is; the jobs.
async fn claim_all(home: &Home, node: &str) -> Vec<weir_control_plane::jobs::Claim> {
    let mut claims = Vec::new();
    while let Some(claim) = home.ask(node).await {
        claims.push(claim);
    }
    claims
}

pub(crate) async fn a_clock_that_steps_while_jobs_are_claimed_loses_and_doubles_none(home: Home) {
    for forward in [true, false] {
        for number in 0..6 {
            home.add(&format!("tv-{number}")).await;
        }
        let hers = claim_all(&home, "a").await;
        assert_eq!(hers.len(), 6);
        match forward {
            true => home.advance(DAY),
            false => step_back(&home, DAY),
        }
        // Leases go by another clock.
        assert_eq!(home.ask("b").await, None);
        for claim in &hers {
            home.jobs.extend(&claim.ticket).await.unwrap();
        }
        let (done, failed) = hers.split_at(2);
        for claim in done {
            let ended = home.jobs.complete(&claim.ticket, String::new());
            ended.await.unwrap();
        }
        for claim in failed {
            let error = "no".to_owned();
            let retry = home.jobs.fail(&claim.ticket, error, true).await.unwrap();
            let Failed::RetryAt(at) = retry else {
                panic!("it is tried again")
            };
            assert!((at - home.now()).abs_diff(60_000) <= 6_000);
        }
        assert_eq!(home.ask("b").await, None, "they wait");
        home.advance(MINUTE + MINUTE / 10);
        let theirs = claim_all(&home, "b").await;
        let of = |claims: &[weir_control_plane::jobs::Claim]| -> BTreeSet<String> {
            claims
                .iter()
                .map(|claim| claim.ticket.job_id.clone())
                .collect()
        };
        assert_eq!((theirs.len(), of(&theirs)), (4, of(failed)));
        assert!(theirs.iter().all(|claim| claim.attempt == 2));
        for claim in &theirs {
            let ended = home.jobs.complete(&claim.ticket, String::new());
            ended.await.unwrap();
        }
        for claim in failed {
            let late = home.jobs.complete(&claim.ticket, String::new()).await;
            assert!(late.unwrap_err().is_lost());
        }
    }
    assert_eq!(home.all(&[State::Done]).await.len(), 12);
    assert_eq!(home.count(home.keys().all_claims()).await, 0);
}

pub(crate) async fn what_a_wrong_clock_told_to_wait_is_handed_out_when_it_is_right_again(
    home: Home,
) {
    home.advance(DAY);
    for key in ["added", "given-back", "failed", "lost"] {
        home.add(key).await;
    }
    let later = home.now() + 10 * 86_400_000;
    home.add_with("far", |job| job.not_before_unix_ms = later)
        .await;
    let claims = claim_all(&home, "a").await;
    let claim = |key: &str| {
        let found = claims.iter().find(|claim| claim.spec.slot == key);
        found.unwrap().ticket.clone()
    };
    home.jobs.release(&claim("added")).await.unwrap();
    home.jobs.release(&claim("given-back")).await.unwrap();
    let failed = claim("failed");
    let failed = home.jobs.fail(&failed, "no".to_owned(), true).await;
    failed.unwrap();
    step_back(&home, DAY);
    let mut keys = BTreeSet::new();
    tokio::time::sleep(TTL * 2).await;
    for claim in claim_all(&home, "b").await {
        assert!(keys.insert(claim.spec.slot));
    }
    let expected = ["added", "failed", "given-back", "lost"].map(str::to_owned);
    assert_eq!(keys, BTreeSet::from(expected));
    assert_eq!(home.all(&[State::Waiting]).await.len(), 1, "that far away");
}
