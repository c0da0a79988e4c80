use super::*;

const RULES: ScalingRules = ScalingRules {
    engines_min: 2,
    engines_max: 10,
    engines_free: 1,
    streams_max: 3,
    burst_max: 2,
    idle_grace: Duration::from_secs(60),
    scale_down_cooldown: Duration::from_secs(120),
};

const NOTHING: Demand = Demand {
    waiting: 0,
    used_at: None,
};

fn waits(waiting: u32) -> Demand {
    Demand {
        waiting,
        used_at: None,
    }
}

fn engine(slot: usize, standing: EngineStanding, in_flight: u32) -> EngineFacts {
    EngineFacts {
        id: format!("tv-{slot}").as_str().into(),
        standing,
        in_flight,
        vpn: None,
        forwarded: false,
    }
}

/// Ready engines with so many streams each; idle ones since `since`.
fn ready(since: Instant, streams: &[u32]) -> Vec<EngineFacts> {
    let standing = |in_flight| EngineStanding::Ready {
        idle_since: (in_flight == 0).then_some(since),
    };
    let engines = streams.iter().enumerate();
    engines
        .map(|(slot, n)| engine(slot, standing(*n), *n))
        .collect()
}

fn with(mut engines: Vec<EngineFacts>, standing: EngineStanding, count: usize) -> Vec<EngineFacts> {
    let from = engines.len();
    engines.extend((from..from + count).map(|slot| engine(slot, standing, 0)));
    engines
}

fn decide(engines: &[EngineFacts]) -> Scaling {
    Scaler::default().decide(&RULES, engines, NOTHING, Instant::now())
}

/// Decides once now and once after each of the waits.
fn decide_later(engines: &[EngineFacts], now: Instant, waits: &[u64]) -> Vec<Scaling> {
    let mut scaler = Scaler::default();
    let times = waits.iter().map(|wait| now + Duration::from_secs(*wait));
    times
        .map(|at| scaler.decide(&RULES, engines, NOTHING, at))
        .collect()
}

fn stop(slots: &[usize]) -> Scaling {
    let id = |slot: &usize| EngineId::from(format!("tv-{slot}").as_str());
    Scaling::Stop(slots.iter().map(id).collect())
}

#[test]
fn the_minimum_is_started_at_once_and_the_rest_two_at_a_time() {
    let now = Instant::now();
    let rules = ScalingRules {
        engines_min: 5,
        engines_free: 6,
        ..RULES
    };
    let mut scaler = Scaler::default();
    assert_eq!(scaler.decide(&rules, &[], NOTHING, now), Scaling::Start(6));
    let five = with(Vec::new(), EngineStanding::Starting, 5);
    assert_eq!(
        scaler.decide(&rules, &five, NOTHING, now),
        Scaling::Start(1)
    );
    assert_eq!(decide(&ready(now, &[2, 2, 2, 2])), Scaling::Start(1));
    let busy = ready(now, &[1, 1]);
    let rules = ScalingRules {
        engines_free: 5,
        ..RULES
    };
    assert_eq!(
        scaler.decide(&rules, &busy, NOTHING, now),
        Scaling::Start(2)
    );
    let under_way = with(busy, EngineStanding::Starting, 2);
    assert_eq!(
        scaler.decide(&rules, &under_way, NOTHING, now),
        Scaling::Keep
    );
}

#[test]
fn what_is_under_way_counts() {
    let now = Instant::now();
    assert_eq!(
        decide(&with(Vec::new(), EngineStanding::Starting, 2)),
        Scaling::Keep
    );
    let one = with(ready(now, &[1, 1]), EngineStanding::Starting, 1);
    assert_eq!(decide(&one), Scaling::Keep);
}

#[test]
fn an_engine_that_is_nearly_full_asks_for_one_more_unless_another_has_room() {
    let now = Instant::now();
    let rules = ScalingRules {
        engines_free: 0,
        ..RULES
    };
    let decide =
        |streams: &[u32]| Scaler::default().decide(&rules, &ready(now, streams), NOTHING, now);
    assert_eq!(decide(&[2, 1]), Scaling::Keep);
    assert_eq!(decide(&[2, 2]), Scaling::Start(1));
    assert_eq!(decide(&[3, 2, 2]), Scaling::Start(1));
    assert_eq!(decide(&[3, 2, 2, 0]), Scaling::Keep);
}

#[test]
fn streams_that_wait_get_engines_also_from_none() {
    let now = Instant::now();
    let rules = ScalingRules {
        engines_min: 0,
        engines_free: 0,
        ..RULES
    };
    let decide =
        |engines: &[_], waiting| Scaler::default().decide(&rules, engines, waits(waiting), now);
    assert_eq!(decide(&[], 0), Scaling::Keep);
    assert_eq!(decide(&[], 3), Scaling::Start(1));
    assert_eq!(decide(&[], 4), Scaling::Start(2));
    let under_way = with(ready(now, &[1]), EngineStanding::Starting, 1);
    assert_eq!(decide(&under_way, 3), Scaling::Keep);
}

#[test]
fn an_engine_of_one_stream_is_nearly_full_with_it() {
    let now = Instant::now();
    let rules = ScalingRules {
        engines_free: 0,
        streams_max: 1,
        ..RULES
    };
    let mut scaler = Scaler::default();
    assert_eq!(
        scaler.decide(&rules, &ready(now, &[0, 0]), NOTHING, now),
        Scaling::Keep
    );
    assert_eq!(
        scaler.decide(&rules, &ready(now, &[1, 1]), NOTHING, now),
        Scaling::Start(1)
    );
}

#[test]
fn the_maximum_counts_whatever_still_runs_and_wins_over_the_minimum() {
    let now = Instant::now();
    let leaving = with(ready(now, &[3; 8]), EngineStanding::Leaving, 1);
    assert_eq!(decide(&leaving), Scaling::Start(1));
    let full = with(ready(now, &[3; 8]), EngineStanding::Leaving, 2);
    assert_eq!(decide(&full), Scaling::Keep);
    let rules = ScalingRules {
        engines_min: 7,
        engines_max: 3,
        ..RULES
    };
    assert_eq!(
        Scaler::default().decide(&rules, &[], NOTHING, now),
        Scaling::Start(3)
    );
}

#[test]
fn an_unhealthy_engine_keeps_its_place_and_its_work_is_done_elsewhere() {
    let now = Instant::now();
    let unhealthy = with(ready(now, &[0, 0]), EngineStanding::Unhealthy, 3);
    assert_eq!(decide(&unhealthy), Scaling::Keep);
    let unhealthy = with(Vec::new(), EngineStanding::Unhealthy, 3);
    assert_eq!(decide(&unhealthy), Scaling::Start(1), "one free, not three");
    let full = with(ready(now, &[2]), EngineStanding::Unhealthy, 1);
    assert_eq!(decide(&full), Scaling::Start(1), "it has no room");
}

#[test]
fn what_was_too_many_for_the_grace_is_stopped_once_down_to_what_is_wanted() {
    let now = Instant::now();
    let engines = ready(now, &[1, 0, 0, 0, 0]);
    let decisions = decide_later(&engines, now, &[0, 30, 59, 60, 61]);
    assert_eq!(
        decisions[..3],
        [Scaling::Keep, Scaling::Keep, Scaling::Keep]
    );
    assert_eq!(decisions[3], stop(&[4, 3, 2]));
    assert_eq!(decisions[4], Scaling::Keep, "the next one has to wait");
}

#[test]
fn only_the_least_surplus_of_the_grace_is_stopped() {
    let now = Instant::now();
    let mut scaler = Scaler::default();
    let at = |seconds| now + Duration::from_secs(seconds);
    assert_eq!(
        scaler.decide(&RULES, &ready(now, &[0; 6]), NOTHING, now),
        Scaling::Keep
    );
    let busier = ready(now, &[1, 1, 1, 0, 0, 0]);
    assert_eq!(
        scaler.decide(&RULES, &busier, NOTHING, at(30)),
        Scaling::Keep
    );
    assert_eq!(
        scaler.decide(&RULES, &ready(now, &[0; 6]), NOTHING, at(60)),
        stop(&[5, 4])
    );
}

#[test]
fn nothing_is_stopped_soon_after_a_start_or_a_stop() {
    let now = Instant::now();
    let mut scaler = Scaler::default();
    let at = |seconds| now + Duration::from_secs(seconds);
    assert_eq!(
        scaler.decide(&RULES, &ready(now, &[0]), NOTHING, now),
        Scaling::Start(1)
    );
    let engines = ready(now, &[0, 0, 0]);
    assert_eq!(
        scaler.decide(&RULES, &engines, NOTHING, at(10)),
        Scaling::Keep
    );
    assert_eq!(
        scaler.decide(&RULES, &engines, NOTHING, at(119)),
        Scaling::Keep
    );
    assert_eq!(
        scaler.decide(&RULES, &engines, NOTHING, at(120)),
        stop(&[2])
    );
    assert_eq!(
        scaler.decide(&RULES, &engines, NOTHING, at(130)),
        Scaling::Keep
    );
    assert_eq!(
        scaler.decide(&RULES, &engines, NOTHING, at(239)),
        Scaling::Keep
    );
    assert_eq!(
        scaler.decide(&RULES, &engines, NOTHING, at(240)),
        stop(&[2])
    );
}

#[test]
fn engines_that_are_only_starting_let_no_ready_one_go() {
    let now = Instant::now();
    let engines = with(ready(now, &[0, 0]), EngineStanding::Starting, 3);
    let decisions = decide_later(&engines, now, &[0, 60, 600]);
    assert_eq!(decisions, [Scaling::Keep, Scaling::Keep, Scaling::Keep]);
}

#[test]
fn a_forwarded_engine_stays_while_followers_remain() {
    let now = Instant::now();
    let mut engines = ready(now, &[0, 0, 0, 1]);
    for engine in &mut engines {
        engine.vpn = Some("a".into());
    }
    engines[0].forwarded = true;
    let rules = ScalingRules {
        engines_min: 0,
        engines_free: 0,
        ..RULES
    };
    let mut scaler = Scaler::default();
    let later = now + Duration::from_secs(60);
    assert_eq!(scaler.decide(&rules, &engines, NOTHING, now), Scaling::Keep);
    assert_eq!(
        scaler.decide(&rules, &engines, NOTHING, later),
        stop(&[2, 1])
    );
    // With its followers gone it may go, in the same decision even.
    engines.pop();
    let mut scaler = Scaler::default();
    assert_eq!(scaler.decide(&rules, &engines, NOTHING, now), Scaling::Keep);
    assert_eq!(
        scaler.decide(&rules, &engines, NOTHING, later),
        stop(&[2, 1, 0])
    );
}

#[test]
fn engines_are_stopped_where_a_vpn_has_most() {
    let now = Instant::now();
    let mut engines = ready(now, &[0, 0, 0, 0, 0]);
    for (slot, engine) in engines.iter_mut().enumerate() {
        engine.vpn = Some(if slot == 4 { "b" } else { "a" }.into());
    }
    let decisions = decide_later(&engines, now, &[0, 60]);
    assert_eq!(decisions[1], stop(&[3, 2, 1]));
}

#[test]
fn times_that_do_not_rise_stop_nothing() {
    let now = Instant::now();
    let later = now + Duration::from_secs(600);
    let engines = ready(later, &[0, 0, 0, 0]);
    let mut scaler = Scaler::default();
    assert_eq!(
        scaler.decide(&RULES, &engines, NOTHING, later),
        Scaling::Keep
    );
    assert_eq!(scaler.decide(&RULES, &engines, NOTHING, now), Scaling::Keep);
}

#[test]
fn each_stop_waits_for_a_grace_of_its_own() {
    let now = Instant::now();
    let rules = ScalingRules {
        scale_down_cooldown: Duration::ZERO,
        ..RULES
    };
    let mut scaler = Scaler::default();
    let mut decide = |streams: &[u32], seconds| {
        let at = now + Duration::from_secs(seconds);
        scaler.decide(&rules, &ready(now, streams), NOTHING, at)
    };
    assert_eq!(decide(&[0, 0, 0], 60), Scaling::Keep);
    assert_eq!(decide(&[0, 0, 0], 120), stop(&[2]));
    assert_eq!(decide(&[0, 0, 0], 121), Scaling::Keep);
    assert_eq!(decide(&[0, 0, 0], 180), Scaling::Keep);
    assert_eq!(decide(&[0, 0, 0], 181), stop(&[2]));
}

#[test]
fn an_engine_just_idle_or_just_promised_stays() {
    let now = Instant::now();
    let later = now + Duration::from_secs(60);
    let mut engines = ready(now, &[0, 0, 0, 0]);
    let just_idle = Some(now + Duration::from_secs(1));
    for engine in &mut engines[..3] {
        engine.standing = EngineStanding::Ready {
            idle_since: just_idle,
        };
    }
    engines[3].in_flight = 1;
    let mut scaler = Scaler::default();
    assert_eq!(scaler.decide(&RULES, &engines, NOTHING, now), Scaling::Keep);
    assert_eq!(
        scaler.decide(&RULES, &engines, NOTHING, later),
        Scaling::Keep
    );
    let longer = later + Duration::from_secs(1);
    assert_eq!(
        scaler.decide(&RULES, &engines, NOTHING, longer),
        stop(&[2, 1])
    );
}

#[test]
fn the_last_engine_of_a_service_that_is_used_now_and_then_stays() {
    let now = Instant::now();
    let rules = ScalingRules {
        engines_min: 0,
        engines_free: 0,
        ..RULES
    };
    let at = |seconds| now + Duration::from_secs(seconds);
    let used = |seconds| Demand {
        waiting: 0,
        used_at: Some(at(seconds)),
    };
    let mut scaler = Scaler::default();
    let two = ready(now, &[0, 0]);
    // Its streams are so short that no look sees one.
    assert_eq!(scaler.decide(&rules, &two, used(0), now), Scaling::Keep);
    assert_eq!(scaler.decide(&rules, &two, used(59), at(60)), stop(&[1]));
    let one = ready(now, &[0]);
    for seconds in (60..600).step_by(10) {
        let decided = scaler.decide(&rules, &one, used(seconds - 5), at(seconds));
        assert_eq!(decided, Scaling::Keep);
    }
    assert_eq!(
        scaler.decide(&rules, &one, used(595), at(654)),
        Scaling::Keep
    );
    assert_eq!(scaler.decide(&rules, &one, used(595), at(655)), stop(&[0]));
}

#[test]
fn streams_that_wait_are_not_counted_again_once_their_engine_is_there() {
    let now = Instant::now();
    let rules = ScalingRules {
        engines_min: 0,
        engines_free: 0,
        ..RULES
    };
    let mut scaler = Scaler::default();
    let mut decide = |engines: &[_], waiting| scaler.decide(&rules, engines, waits(waiting), now);
    assert_eq!(decide(&[], 2), Scaling::Start(1));
    assert_eq!(
        decide(&with(Vec::new(), EngineStanding::Starting, 1), 3),
        Scaling::Keep
    );
    // It is ready, and the streams have not moved to it yet.
    assert_eq!(decide(&ready(now, &[0]), 3), Scaling::Keep);
    // They have, and it is full: the look-ahead is as ever.
    assert_eq!(decide(&ready(now, &[3]), 0), Scaling::Start(1));
}
