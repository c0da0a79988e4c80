use std::sync::Arc;

use super::*;
use crate::balance::{BackendLoad, Policy, Selector};

fn selector(settle: Duration, groups: &[Option<u8>], epoch: Instant) -> Selector {
    selector_by(Policy::LeastConnections, settle, groups, epoch)
}

fn selector_by(
    policy: Policy,
    settle: Duration,
    groups: &[Option<u8>],
    epoch: Instant,
) -> Selector {
    let candidate = |at: usize| Candidate {
        id: format!("e{at}").as_str().into(),
        weight: 1_000,
        load: Arc::new(BackendLoad::new(2, epoch)),
    };
    let spread = Spread {
        settle,
        groups: groups.to_vec(),
    };
    let candidates = (0..groups.len()).map(candidate).collect();
    Selector::new(policy, candidates).spread(spread)
}

fn pick(selector: &Selector, core: usize, now: Instant) -> usize {
    pick_by(selector, core, now, None, &mut fastrand::Rng::with_seed(1))
}

/// Picks, and begins a stream that does not end.
fn pick_by(
    selector: &Selector,
    core: usize,
    now: Instant,
    hash: Option<u64>,
    rng: &mut fastrand::Rng,
) -> usize {
    let picked = selector
        .pick(
            Pick {
                core,
                now,
                hash,
                tried: &[],
            },
            rng,
        )
        .unwrap();
    selector.candidates()[picked].load.started(core);
    picked
}

#[test]
fn an_engine_that_just_got_work_is_passed_over_whoever_gave_it() {
    let epoch = Instant::now();
    let selector = selector(Duration::from_secs(5), &[None, None], epoch);
    let first = pick(&selector, 0, epoch + Duration::from_secs(1));
    // The other one has two streams, and has settled.
    let other = 1 - first;
    selector.candidates()[other].load.started(1);
    selector.candidates()[other].load.started(1);
    assert_eq!(pick(&selector, 1, epoch + Duration::from_secs(2)), other);
    // Both are settling: the one that is nearer to having settled is taken.
    assert_eq!(pick(&selector, 1, epoch + Duration::from_secs(3)), first);
    let later = epoch + Duration::from_secs(60);
    assert_eq!(pick(&selector, 0, later), first, "everybody has settled");
}

#[test]
fn an_idle_engine_needs_no_time_to_settle() {
    let epoch = Instant::now();
    let selector = selector(Duration::from_secs(5), &[None], epoch);
    for second in 0..5 {
        assert_eq!(pick(&selector, 0, epoch + Duration::from_secs(second)), 0);
        selector.candidates()[0].load.finished(0, true);
    }
}

#[test]
fn of_equal_engines_the_one_in_the_emptier_group_is_taken() {
    let epoch = Instant::now();
    let groups = [Some(0), Some(0), Some(1), Some(1)];
    let selector = selector(Duration::ZERO, &groups, epoch);
    let picks: Vec<u8> = (0..4)
        .map(|_| groups[pick(&selector, 0, epoch)].unwrap())
        .collect();
    assert_ne!(picks[0], picks[1], "the second goes to the other group");
    assert_ne!(picks[2], picks[3]);
}

/// Every policy that may move a stream, by name.
fn policies() -> impl Iterator<Item = Policy> {
    let names = ["round_robin", "least_connections", "peak_ewma", "random"];
    // Requests without a key.
    let hashing = std::iter::once("consistent_hash");
    let all = names.into_iter().chain(hashing);
    all.map(|name| name.parse().unwrap())
}

fn in_groups(selector: &Selector, groups: &[Option<u8>]) -> [u64; 2] {
    let mut sums = [0; 2];
    for (candidate, group) in selector.candidates().iter().zip(groups) {
        sums[usize::from(group.unwrap())] += candidate.load.in_flight();
    }
    sums
}

#[test]
fn streams_are_spread_over_groups_whatever_the_policy() {
    let epoch = Instant::now();
    let groups = [0, 0, 0, 1, 1, 1].map(Some);
    for policy in policies() {
        for seed in 0..20 {
            let selector = selector_by(policy, Duration::ZERO, &groups, epoch);
            let mut rng = fastrand::Rng::with_seed(seed);
            for at in 0..60 {
                pick_by(&selector, at % 2, epoch, None, &mut rng);
            }
            let [one, other] = in_groups(&selector, &groups);
            assert!(one.abs_diff(other) <= 6, "{policy}: {one} and {other}");
        }
    }
}

#[test]
fn a_faster_group_gets_more_and_not_everything() {
    let epoch = Instant::now();
    let groups = [Some(0), Some(1)];
    let selector = selector_by(Policy::default(), Duration::ZERO, &groups, epoch);
    for (candidate, ms) in selector.candidates().iter().zip([10, 40]) {
        let latency = Duration::from_millis(ms);
        candidate
            .load
            .learned(0, epoch, crate::balance::Outcome::Success { latency });
    }
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..60 {
        pick_by(&selector, 0, epoch, None, &mut rng);
    }
    let [fast, slow] = in_groups(&selector, &groups);
    // By latency alone it would be 48 to 12.
    assert!((38..=42).contains(&fast), "{fast} and {slow}");
}

#[test]
fn groups_get_streams_by_their_engines_and_not_each_the_same() {
    let epoch = Instant::now();
    let groups = [0, 0, 0, 1].map(Some);
    for policy in policies() {
        let selector = selector_by(policy, Duration::ZERO, &groups, epoch);
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..80 {
            pick_by(&selector, 0, epoch, None, &mut rng);
        }
        let [three, one] = in_groups(&selector, &groups);
        assert!((16..=24).contains(&one), "{policy}: {three} and {one}");
    }
}

#[test]
fn a_new_engine_gets_no_burst_whatever_the_policy() {
    let epoch = Instant::now();
    let settle = Duration::from_secs(5);
    for policy in policies() {
        // A stream each 500 ms, where one each 1,250 ms would let everybody settle; and one each 2 s.
        for (every_ms, most) in [(500, 5), (2_000, 3)] {
            let selector = selector_by(policy, settle, &[None; 4], epoch);
            for candidate in &selector.candidates()[..3] {
                (0..10).for_each(|_| candidate.load.started(0));
            }
            let mut rng = fastrand::Rng::with_seed(5);
            let mut now = epoch;
            let mut times = Vec::new();
            while now < epoch + Duration::from_secs(10) {
                if pick_by(&selector, 0, now, None, &mut rng) == 3 {
                    times.push(now - epoch);
                }
                now += Duration::from_millis(every_ms);
            }
            let is_calm = match policy {
                // They do not look for the least load, and so make no burst.
                Policy::RoundRobin | Policy::Random | Policy::ConsistentHash { .. } => {
                    times.len() <= 2 * most
                }
                _ => (1..=most).contains(&times.len()),
            };
            assert!(is_calm, "{policy}, one each {every_ms} ms: {times:?}");
        }
    }
}

#[test]
fn what_settles_is_passed_over_whatever_the_policy_while_another_has_settled() {
    let epoch = Instant::now();
    let settle = Duration::from_secs(5);
    for policy in policies() {
        for seed in 0..20 {
            let selector = selector_by(policy, settle, &[None; 4], epoch);
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut picked: Vec<_> = (0..4)
                .map(|at| pick_by(&selector, at % 2, epoch, None, &mut rng))
                .collect();
            picked.sort_unstable();
            assert_eq!(picked, [0, 1, 2, 3], "{policy}");
            // All settle: somebody has to take it.
            pick_by(&selector, 0, epoch, None, &mut rng);
        }
    }
}

#[test]
fn a_key_stays_with_its_engine_whether_that_settles_or_not() {
    let epoch = Instant::now();
    let hashing = Policy::ConsistentHash {
        bounded_load_percent: 100_000,
    };
    let groups = [0, 0, 1, 1].map(Some);
    let spread = selector_by(hashing, Duration::from_secs(5), &groups, epoch);
    let plain = selector_by(hashing, Duration::ZERO, &[None; 4], epoch);
    let mut rng = fastrand::Rng::with_seed(1);
    for key in 0..100_u32 {
        let hash = Some(crate::balance::hash_key(&(key % 10).to_le_bytes()));
        let picked = pick_by(&spread, 0, epoch, hash, &mut rng);
        assert_eq!(picked, pick_by(&plain, 0, epoch, hash, &mut rng));
    }
}

#[test]
fn work_that_a_cookie_brought_counts_as_given() {
    let epoch = Instant::now();
    let selector = selector(Duration::from_secs(5), &[None, None], epoch);
    selector.given(0, 0, epoch);
    selector.candidates()[0].load.started(0);
    (0..5).for_each(|_| selector.candidates()[1].load.started(0));
    assert_eq!(pick(&selector, 0, epoch + Duration::from_secs(1)), 1);
}

#[test]
fn hints_that_say_nothing_are_dropped() {
    let says = |settle_s, groups: &[Option<u8>]| {
        let spread = Spread {
            settle: Duration::from_secs(settle_s),
            groups: groups.to_vec(),
        };
        spread.has_a_say()
    };
    assert!(!says(0, &[]));
    assert!(!says(0, &[None, None]));
    assert!(!says(0, &[Some(0), Some(0)]));
    assert!(says(0, &[Some(0), Some(1)]));
    assert!(says(0, &[Some(0), None]));
    assert!(says(1, &[None, None]));
}
