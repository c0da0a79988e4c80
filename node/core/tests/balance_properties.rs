//! What must hold for every choice of a backend.

#![allow(
    clippy::disallowed_methods,
    reason = "tests need some instant to start from"
)]
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weir_core::balance::sticky::Sticky;
use weir_core::balance::{BackendLoad, Candidate, Pick, Policy, Selector, Spread, hash_key};
use weir_core::ids::BackendId;

const UNIT_WEIGHT: u32 = 1_000;
const BOUNDED: Policy = Policy::ConsistentHash {
    bounded_load_percent: 125,
};

fn candidates(weights: &[u32], epoch: Instant) -> Vec<Candidate> {
    weights
        .iter()
        .enumerate()
        .map(|(i, &weight)| Candidate {
            id: BackendId::from(format!("10.0.0.{i}:8080").as_str()),
            weight,
            load: Arc::new(BackendLoad::new(2, epoch)),
        })
        .collect()
}

fn selector(policy: Policy, weights: &[u32]) -> Selector {
    Selector::new(policy, candidates(weights, Instant::now()))
}

fn at(now: Instant, hash: Option<u64>, tried: &[usize]) -> Pick<'_> {
    Pick {
        core: 0,
        now,
        hash,
        tried,
    }
}

fn picks(selector: &Selector, picks: u32) -> Vec<usize> {
    let mut rng = fastrand::Rng::with_seed(0);
    (0..picks)
        .map(|_| selector.pick(at(Instant::now(), None, &[]), &mut rng))
        .map(|pick| pick.expect("a candidate with weight"))
        .collect()
}

fn count(picks: &[usize], index: usize) -> usize {
    picks.iter().filter(|&&pick| pick == index).count()
}

/// Where each of 2000 keys goes, by backend id, with nothing in flight.
fn placement(selector: &Selector) -> Vec<BackendId> {
    let mut rng = fastrand::Rng::with_seed(0);
    (0..2_000u32)
        .map(|key| Some(hash_key(&key.to_le_bytes())))
        .map(|hash| selector.pick(at(Instant::now(), hash, &[]), &mut rng))
        .map(|pick| selector.candidates()[pick.expect("a candidate")].id.clone())
        .collect()
}

#[test]
fn a_weight_of_five_three_two_gives_exactly_five_three_two_in_ten() {
    let selector = selector(Policy::RoundRobin, &[5_000, 3_000, 2_000]);
    for _ in 0..3 {
        let picks = picks(&selector, 10);
        assert_eq!([0, 1, 2].map(|i| count(&picks, i)), [5, 3, 2]);
        assert_eq!(picks, [0, 1, 2, 0, 0, 1, 0, 2, 1, 0]);
    }
}

#[test]
fn a_rebuilt_selector_goes_on_where_the_last_one_stopped() {
    let first = selector(Policy::RoundRobin, &[5_000, 3_000, 2_000]);
    let mut sent = picks(&first, 4);
    let rebuilt = Selector::new(Policy::RoundRobin, first.candidates().to_vec());
    sent.extend(picks(&rebuilt, 6));
    assert_eq!([0, 1, 2].map(|i| count(&sent, i)), [5, 3, 2]);
}

#[test]
fn a_backend_whose_weight_fell_is_not_starved_for_its_past() {
    let heavy = selector(Policy::RoundRobin, &[1_000_000_000, 999_999_999]);
    picks(&heavy, 1);
    let mut light = heavy.candidates().to_vec();
    light[0].weight = UNIT_WEIGHT;
    light[1].weight = UNIT_WEIGHT;
    let picks = picks(&Selector::new(Policy::RoundRobin, light), 20);
    assert!(count(&picks, 0).abs_diff(10) <= 2, "{picks:?}");
}

#[test]
fn least_connections_fills_backends_in_proportion_to_weight() {
    let selector = selector(Policy::LeastConnections, &[5_000, 3_000, 2_000]);
    let mut rng = fastrand::Rng::with_seed(1);
    for core in [0, 1].into_iter().cycle().take(100) {
        let pick = Pick {
            core,
            ..at(Instant::now(), None, &[])
        };
        let index = selector.pick(pick, &mut rng).expect("a candidate");
        selector.candidates()[index].load.started(core);
    }
    let in_flight = [0, 1, 2].map(|i| selector.candidates()[i].load.in_flight());
    assert_eq!(in_flight, [50, 30, 20]);
}

#[test]
fn least_connections_does_not_favour_the_first_of_equals() {
    let selector = selector(Policy::LeastConnections, &[UNIT_WEIGHT; 3]);
    let picks = picks(&selector, 3_000);
    for index in 0..3 {
        assert!(count(&picks, index).abs_diff(1_000) < 150);
    }
}

#[test]
fn without_a_key_consistent_hashing_spreads_at_random() {
    let picks = picks(&selector(BOUNDED, &[UNIT_WEIGHT; 2]), 1_000);
    assert!(count(&picks, 0).abs_diff(500) < 100);
}

fn policies() -> impl Strategy<Value = Policy> {
    prop_oneof![
        Just(Policy::RoundRobin),
        Just(Policy::LeastConnections),
        Just(Policy::default()),
        Just(Policy::Random),
        Just(BOUNDED),
    ]
}

proptest! {
    #[test]
    fn round_robin_is_exact_over_a_cycle_and_smooth(
        weights in prop::collection::vec(0..20u32, 1..8),
    ) {
        let total: u32 = weights.iter().sum();
        prop_assume!(total > 0);
        let picks = picks(&selector(Policy::RoundRobin, &weights), total);
        for (index, &weight) in weights.iter().enumerate() {
            prop_assert_eq!(count(&picks, index), weight as usize);
            for sent in 1..=picks.len() {
                let fair = sent as f64 * f64::from(weight) / f64::from(total);
                let ahead = count(&picks[..sent], index) as f64 - fair;
                prop_assert!(ahead < 1.0, "{} is ahead by {}", index, ahead);
                prop_assert!(-ahead < weights.len() as f64, "{} lags by {}", index, ahead);
            }
        }
    }

    #[test]
    fn no_policy_picks_weight_zero_or_tried_and_all_find_what_is_left(
        policy in policies(),
        weights in prop::collection::vec(prop_oneof![Just(0), 1..9_000u32], 0..12),
        tried in prop::collection::vec(0..14usize, 0..12),
        busy in prop::collection::vec(0..12usize, 0..40),
        hash in any::<Option<u64>>(),
        seed in any::<u64>(),
    ) {
        let selector = selector(policy, &weights);
        for index in busy {
            if let Some(candidate) = selector.candidates().get(index) {
                candidate.load.started(1);
            }
        }
        let left = |index: usize| weights[index] > 0 && !tried.contains(&index);
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..20 {
            match selector.pick(at(Instant::now(), hash, &tried), &mut rng) {
                Some(index) => prop_assert!(left(index)),
                None => prop_assert!(!(0..weights.len()).any(left)),
            }
        }
    }

    #[test]
    fn a_backend_that_leaves_moves_only_its_own_keys(
        weights in prop::collection::vec(500..3_000u32, 2..20),
        gone in any::<prop::sample::Index>(),
    ) {
        let before = selector(BOUNDED, &weights);
        let gone = gone.index(weights.len());
        let mut rest = before.candidates().to_vec();
        let gone_id = rest.remove(gone).id;
        rest.reverse();
        let after = Selector::new(BOUNDED, rest);
        let (old, new) = (placement(&before), placement(&after));
        let mut moved = 0;
        for (old, new) in old.iter().zip(&new) {
            prop_assert!(old == new || *old == gone_id);
            moved += u32::from(old != new);
        }
        let share = f64::from(weights[gone]) / f64::from(weights.iter().sum::<u32>());
        prop_assert!(f64::from(moved) / 2_000.0 < share * 1.6 + 0.01, "{} of {}", moved, share);
    }

    #[test]
    fn bounded_load_never_takes_a_backend_beyond_its_bound(
        weights in prop::collection::vec(1..5_000u32, 1..10),
        keys in prop::collection::vec(0..4u64, 1..120),
    ) {
        let selector = selector(BOUNDED, &weights);
        let total_weight: u64 = weights.iter().copied().map(u64::from).sum();
        let mut rng = fastrand::Rng::with_seed(0);
        for (sent, key) in (1u64..).zip(keys) {
            let hash = Some(hash_key(&key.to_le_bytes()));
            let index = selector.pick(at(Instant::now(), hash, &[]), &mut rng);
            let index = index.expect("one always has room");
            let load = &selector.candidates()[index].load;
            load.started((sent % 2) as usize);
            let bound = (125 * sent * u64::from(weights[index])).div_ceil(100 * total_weight);
            prop_assert!(load.in_flight() <= bound);
        }
    }

    #[test]
    fn a_sticky_session_survives_reordering_and_ends_with_its_backend(
        backends in 1..30usize,
        chosen in any::<prop::sample::Index>(),
        seed in any::<u64>(),
        secret in any::<u64>(),
    ) {
        let sticky = Sticky::new("weir", Duration::from_secs(60), secret).expect("a token");
        let pool = candidates(&vec![0; backends], Instant::now());
        let ids: Vec<BackendId> = pool.into_iter().map(|candidate| candidate.id).collect();
        let chosen = chosen.get(&ids);
        let value = sticky.issue(sticky.tag(chosen), 1_000);
        let mut order: Vec<&BackendId> = ids.iter().collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut order);
        let mut tags: Vec<_> = order.iter().map(|id| sticky.tag(id)).collect();
        let found = sticky.find(&value, &tags, 1_001).expect("it takes work");
        prop_assert_eq!(order[found], chosen);
        tags.remove(found);
        prop_assert_eq!(sticky.find(&value, &tags, 1_001), None);
    }

    #[test]
    fn no_cookie_value_breaks_the_reader(value in "[0-9a-fé]{0,40}|\\PC*", now_unix in any::<u64>()) {
        let sticky = Sticky::new("weir", Duration::MAX, 1).expect("a token");
        let tag = sticky.tag(&"a:1".into());
        prop_assert_eq!(sticky.find(&value, &[tag], now_unix), None);
        sticky.issue(tag, now_unix);
    }
}

/// Streams on engines: what a selector with hints is to do, step by step.
#[derive(Clone, Debug)]
struct Step {
    core: usize,
    after_ms: u64,
    ends: Option<usize>,
    tried: Vec<usize>,
    has_key: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let ends = prop::option::of(any::<usize>());
    let tried = prop::collection::vec(0..6usize, 0..3);
    (0..2usize, 0..3_000u64, ends, tried, any::<bool>()).prop_map(
        |(core, after_ms, ends, tried, has_key)| Step {
            core,
            after_ms,
            ends,
            tried,
            has_key,
        },
    )
}

proptest! {
    #[test]
    fn hints_never_keep_work_from_all_nor_give_it_to_who_settles_beside_who_has_settled(
        policy in prop::sample::select(
            &["round_robin", "least_connections", "peak_ewma", "random", "consistent_hash"][..],
        ),
        weights in prop::collection::vec(prop_oneof![Just(0), 1..5_000u32], 1..6),
        groups in prop::collection::vec(prop::option::of(0..3u8), 6),
        settle_ms in 0..5_000u64,
        steps in prop::collection::vec(step(), 1..80),
        seed in any::<u64>(),
    ) {
        let policy: Policy = policy.parse().unwrap();
        let epoch = Instant::now();
        let settle = Duration::from_millis(settle_ms);
        let groups = groups[..weights.len()].to_vec();
        let selector = Selector::new(policy, candidates(&weights, epoch)).spread(Spread { settle, groups });
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut now = epoch;
        let mut last: Vec<Option<Instant>> = vec![None; weights.len()];
        let mut running: Vec<(usize, usize)> = Vec::new();
        for step in steps {
            now += Duration::from_millis(step.after_ms);
            if let Some(which) = step.ends.filter(|_| !running.is_empty()) {
                let (engine, core) = running.swap_remove(which % running.len());
                selector.candidates()[engine].load.finished(core, true);
            }
            let hash = step.has_key.then(|| hash_key(&step.after_ms.to_le_bytes()));
            let pick = Pick { core: step.core, ..at(now, hash, &step.tried) };
            let may = |engine: &usize| weights[*engine] > 0 && !step.tried.contains(engine);
            let settles = |engine: usize| {
                let works = selector.candidates()[engine].load.in_flight() > 0;
                works && last[engine].is_some_and(|at| now - at < settle)
            };
            let all: Vec<usize> = (0..weights.len()).filter(may).collect();
            let picked = selector.pick(pick, &mut rng);
            prop_assert_eq!(picked.is_none(), all.is_empty());
            let Some(picked) = picked else { continue };
            prop_assert!(all.contains(&picked));
            let by_key = matches!(policy, Policy::ConsistentHash { .. }) && step.has_key;
            let nobody_has = all.iter().all(|engine| settles(*engine));
            prop_assert!(by_key || nobody_has || !settles(picked));
            selector.candidates()[picked].load.started(step.core);
            last[picked] = Some(now);
            running.push((picked, step.core));
        }
    }
}
