//! The bounds of the fleet.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use prost::Message;
use tokio::time::timeout;
use weir_control_plane::jobs::{JobQueue, State, Want};
use weir_control_plane::store::{EventKind, Revision, Watch, Watched};
use weir_proto::control::records::v1::JobGate;

use crate::support::{Home, PATIENCE, Shared, want};

const JOBS: usize = 40;
const CLAIMERS: u64 = 4;
const CONCURRENT_MAX: u32 = 3;

/// Claims, and does by chance one of all that can be done, until nothing is open.
async fn work(jobs: Arc<dyn JobQueue>, node: String, mut chance: fastrand::Rng) {
    let asked = Want {
        fleet_concurrent_max: CONCURRENT_MAX,
        ..want(&node)
    };
    loop {
        let Some(claim) = jobs.claim(asked.clone()).await.unwrap() else {
            let open = jobs.list(weir_control_plane::jobs::JobList {
                queue: asked.queue.clone(),
                states: vec![State::Ready, State::Waiting, State::Claimed],
                after: String::new(),
                entries_max: 1,
            });
            if open.await.unwrap().jobs.is_empty() {
                return;
            }
            continue;
        };
        match chance.u8(..20) {
            // It crashes: nobody says a word.
            0 => {}
            1..4 => jobs.release(&claim.ticket).await.unwrap(),
            4..7 => {
                let failed = jobs.fail(&claim.ticket, "no".to_owned(), true).await;
                failed.unwrap();
            }
            7..10 => {
                jobs.extend(&claim.ticket).await.unwrap();
                jobs.complete(&claim.ticket, String::new()).await.unwrap();
            }
            _ => jobs.complete(&claim.ticket, String::new()).await.unwrap(),
        }
    }
}

/// The values put below a prefix and the deletions, revision by revision, up to now.
async fn history(store: &Shared, prefix: Bytes) -> Vec<Vec<Option<Bytes>>> {
    let until = store.status().await.unwrap().revision;
    let from = Revision(2);
    let mut watch = store.watch(Watch { prefix, from }).await.unwrap();
    let mut history = Vec::new();
    // The last change may not be below the prefix: silence ends it, too.
    while let Ok(Some(item)) = timeout(Duration::from_millis(500), watch.next()).await {
        let Watched::Changed { revision, events } = item.unwrap() else {
            continue;
        };
        let told = events.into_iter().map(|event| match event.kind {
            EventKind::Put(entry) => Some(entry.value),
            EventKind::Deleted => None,
        });
        history.push(told.collect());
        if revision >= until {
            break;
        }
    }
    history
}

pub(crate) async fn no_more_jobs_run_than_the_fleet_may_whatever_happens(home: Home) {
    for n in 0..JOBS {
        home.add_with(&format!("tv-{n}"), |job| {
            job.limits.attempts_max = 100;
            job.limits.retry_delay = Duration::from_millis(1);
            job.limits.retry_delay_max = Duration::ZERO;
        })
        .await;
    }
    let mut chance = fastrand::Rng::with_seed(11);
    let workers = (0..CLAIMERS).map(|n| {
        let (jobs, chance) = (Arc::clone(&home.jobs), chance.fork());
        tokio::spawn(work(jobs, format!("node-{n}"), chance))
    });
    let ended = timeout(PATIENCE * 3, futures::future::join_all(workers)).await;
    ended.expect("it ends").into_iter().for_each(Result::unwrap);
    assert_eq!(home.all(&[State::Done]).await.len(), JOBS);
    let (mut claimed, mut most) = (0_usize, 0);
    for events in history(&home.store, home.keys().all_claims()).await {
        for event in events {
            match event {
                Some(_) => claimed += 1,
                None => claimed -= 1,
            }
        }
        most = most.max(claimed);
    }
    let bound = usize::try_from(CONCURRENT_MAX).unwrap();
    assert_eq!(
        (claimed, most),
        (0, bound),
        "the bound is reached, and kept"
    );
}

pub(crate) async fn starts_of_the_fleet_are_spaced(home: Home) {
    for n in 0..6 {
        home.add(&format!("tv-{n}")).await;
    }
    let spaced = |node: &str| Want {
        fleet_interval_min: Duration::from_millis(500),
        ..want(node)
    };
    for _ in 0..3 {
        let claiming = ["a", "b", "c"].map(|node| home.jobs.claim(spaced(node)));
        let claims = futures::future::join_all(claiming).await;
        let claims = claims.into_iter().filter_map(Result::unwrap);
        assert_eq!(claims.count(), 1);
        home.advance(Duration::from_millis(499));
        assert_eq!(home.jobs.claim(spaced("d")).await.unwrap(), None);
        home.advance(Duration::from_millis(1));
    }
    let gates = history(&home.store, home.keys().gate()).await;
    let starts: Vec<u64> = gates
        .into_iter()
        .flatten()
        .map(|gate| {
            JobGate::decode(&gate.unwrap()[1..])
                .unwrap()
                .last_start_unix_ms
        })
        .collect();
    assert_eq!(starts.len(), 3);
    assert!(
        starts.windows(2).all(|pair| pair[1] - pair[0] >= 500),
        "{starts:?}"
    );
}
