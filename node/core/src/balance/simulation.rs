//! Peak-EWMA against simulated servers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;

const REQUESTS: u64 = 60_000;

fn selector(servers: usize, epoch: Instant) -> Selector {
    let candidates = (0..servers)
        .map(|i| Candidate {
            id: i.to_string().as_str().into(),
            weight: 1_000,
            load: Arc::new(BackendLoad::new(1, epoch)),
        })
        .collect();
    Selector::new(Policy::default(), candidates)
}

fn pick(selector: &Selector, now: Instant, rng: &mut fastrand::Rng) -> usize {
    let at = Pick {
        core: 0,
        now,
        hash: None,
        tried: &[],
    };
    selector.pick(at, rng).expect("a server")
}

/// Sends one request per millisecond for a minute to servers with these answer times, the last of
/// which fails each request if `last_fails`. Returns requests per server.
fn simulate(answer_ms: &[u64], last_fails: bool) -> Vec<u64> {
    let epoch = Instant::now();
    let selector = selector(answer_ms.len(), epoch);
    let mut rng = fastrand::Rng::with_seed(7);
    let mut answers = BinaryHeap::<Reverse<(u64, usize)>>::new();
    for now_ms in 0..REQUESTS {
        let now = epoch + Duration::from_millis(now_ms);
        while let Some(&Reverse((due_ms, server))) = answers.peek().filter(|a| a.0.0 <= now_ms) {
            answers.pop();
            let outcome = if last_fails && server + 1 == answer_ms.len() {
                let penalty = failure_penalty(None);
                Outcome::Failure { penalty }
            } else {
                let latency = Duration::from_millis(answer_ms[server]);
                Outcome::Success { latency }
            };
            let due = epoch + Duration::from_millis(due_ms);
            let load = &selector.candidates()[server].load;
            load.learned(0, due, outcome);
            load.finished(0, matches!(outcome, Outcome::Success { .. }));
        }
        let server = pick(&selector, now, &mut rng);
        selector.candidates()[server].load.started(0);
        answers.push(Reverse((now_ms + answer_ms[server], server)));
    }
    selector
        .candidates()
        .iter()
        .map(|candidate| candidate.load.requests())
        .collect()
}

#[test]
fn peak_ewma_moves_99_percent_away_from_a_server_ten_times_slower() {
    let requests = simulate(&[5, 5, 5, 50], false);
    assert!(requests[3] * 100 <= REQUESTS, "{requests:?}");
}

#[test]
fn peak_ewma_moves_99_percent_away_from_a_server_that_fails_fast() {
    let requests = simulate(&[5, 5, 5, 1], true);
    assert!(requests[3] * 100 <= REQUESTS, "{requests:?}");
}

#[test]
fn peak_ewma_spreads_evenly_over_equals() {
    for requests in simulate(&[5, 5, 5, 5], false) {
        assert!(requests.abs_diff(15_000) < 1_500, "{requests}");
    }
}

#[test]
fn a_newcomer_gets_work_at_once() {
    let now = Instant::now();
    let selector = selector(2, now);
    let known = &selector.candidates()[0].load;
    known.started(0);
    let latency = Duration::from_millis(1);
    known.learned(0, now, Outcome::Success { latency });
    known.finished(0, true);
    let mut rng = fastrand::Rng::with_seed(1);
    assert_eq!(pick(&selector, now, &mut rng), 1);
}
