//! What must hold for the number of engines whatever the load does: a small world that obeys every decision.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests need some instant to start from, and may panic"
)]
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weir_core::provision::{Demand, EngineFacts, EngineStanding, Scaler, Scaling, ScalingRules};

const TICK: Duration = Duration::from_secs(10);
const TICKS_TO_START: u32 = 3;
const TICKS_TO_LEAVE: u32 = 2;

#[derive(Debug)]
struct Engine {
    facts: EngineFacts,
    ticks_left: u32,
}

/// Engines that do what is decided, and streams that choose the least loaded engine.
#[derive(Debug)]
struct World {
    rules: ScalingRules,
    scaler: Scaler,
    engines: Vec<Engine>,
    waiting: u32,
    now: Instant,
    made: usize,
}

impl World {
    fn new(rules: ScalingRules) -> Self {
        Self {
            rules,
            scaler: Scaler::default(),
            engines: Vec::new(),
            waiting: 0,
            now: Instant::now(),
            made: 0,
        }
    }

    fn streams(&self) -> u32 {
        let running: u32 = self.engines.iter().map(|e| e.facts.in_flight).sum();
        running + self.waiting
    }

    /// Streams come and go until there are so many. They go from the `which`th engine in use.
    fn load(&mut self, streams: u32, which: usize) {
        while self.streams() > streams {
            if self.waiting > 0 {
                self.waiting -= 1;
                continue;
            }
            let mut used: Vec<_> = self
                .engines
                .iter_mut()
                .filter(|e| e.facts.in_flight > 0)
                .collect();
            let at = which % used.len();
            used[at].facts.in_flight -= 1;
        }
        self.waiting += streams - self.streams();
        let streams_max = self.rules.streams_max;
        while self.waiting > 0 {
            let takes = |e: &&mut Engine| {
                matches!(e.facts.standing, EngineStanding::Ready { .. })
                    && e.facts.in_flight < streams_max
            };
            let least = self.engines.iter_mut().filter(takes);
            let Some(engine) = least.min_by_key(|e| e.facts.in_flight) else {
                break;
            };
            engine.facts.in_flight += 1;
            self.waiting -= 1;
        }
        for engine in &mut self.engines {
            let busy = engine.facts.in_flight > 0;
            if let EngineStanding::Ready { idle_since } = &mut engine.facts.standing {
                *idle_since = (!busy).then_some(idle_since.unwrap_or(self.now));
            }
        }
    }

    /// Time passes: engines become ready and leave.
    fn tick(&mut self) {
        self.now += TICK;
        for engine in &mut self.engines {
            engine.ticks_left = engine.ticks_left.saturating_sub(1);
            if engine.ticks_left == 0 && engine.facts.standing == EngineStanding::Starting {
                engine.facts.standing = EngineStanding::Ready {
                    idle_since: Some(self.now),
                };
            }
        }
        self.engines
            .retain(|e| e.ticks_left > 0 || e.facts.standing != EngineStanding::Leaving);
    }

    fn decide(&mut self) -> Result<Scaling, TestCaseError> {
        let facts: Vec<_> = self.engines.iter().map(|e| e.facts.clone()).collect();
        let demand = Demand {
            waiting: self.waiting,
            used_at: (self.streams() > 0).then_some(self.now),
        };
        let decision = self.scaler.decide(&self.rules, &facts, demand, self.now);
        match &decision {
            Scaling::Keep => {}
            Scaling::Start(count) => self.start(*count),
            Scaling::Stop(ids) => {
                for id in ids {
                    let stopped = self.engines.iter_mut().find(|e| e.facts.id == *id).unwrap();
                    prop_assert_eq!(stopped.facts.in_flight, 0, "only idle ones are stopped");
                    stopped.facts.standing = EngineStanding::Leaving;
                    stopped.ticks_left = TICKS_TO_LEAVE;
                }
                self.leaders_are_left()?;
            }
        }
        self.bounds_hold(&decision)?;
        Ok(decision)
    }

    fn start(&mut self, count: usize) {
        for _ in 0..count {
            self.made += 1;
            let vpn = ["a", "b"][self.made % 2];
            let has_leader = self
                .staying()
                .any(|e| e.forwarded && e.vpn == Some(vpn.into()));
            let facts = EngineFacts {
                id: format!("tv-{:04}", self.made).as_str().into(),
                standing: EngineStanding::Starting,
                in_flight: 0,
                vpn: Some(vpn.into()),
                forwarded: !has_leader,
            };
            self.engines.push(Engine {
                facts,
                ticks_left: TICKS_TO_START,
            });
        }
    }

    fn staying(&self) -> impl Iterator<Item = &EngineFacts> {
        let facts = self.engines.iter().map(|e| &e.facts);
        facts.filter(|e| e.standing != EngineStanding::Leaving)
    }

    fn leaders_are_left(&self) -> Result<(), TestCaseError> {
        for engine in self.staying() {
            let led = self.staying().any(|e| e.vpn == engine.vpn && e.forwarded);
            prop_assert!(led, "{} lost its leader", engine.id);
        }
        Ok(())
    }

    fn bounds_hold(&self, decision: &Scaling) -> Result<(), TestCaseError> {
        let (min, max) = (self.rules.engines_min, self.rules.engines_max);
        prop_assert!(self.engines.len() <= max);
        let staying = self.staying().count();
        if !matches!(decision, Scaling::Start(_)) {
            let leaving = self.engines.len() - staying;
            prop_assert!(staying >= min.min(max - leaving), "below the minimum");
        }
        let starting = |e: &&EngineFacts| e.standing == EngineStanding::Starting;
        let burst = self.staying().filter(starting).count();
        let beyond = burst.min(staying.saturating_sub(min.min(max)));
        prop_assert!(beyond <= self.rules.burst_max, "too many at once");
        Ok(())
    }

    /// Runs with the loads that `load` tells for each tick; counts decisions that change something.
    fn run(
        &mut self,
        ticks: u32,
        load: impl Fn(u32) -> (u32, usize),
    ) -> Result<u32, TestCaseError> {
        let mut changes = 0;
        for tick in 0..ticks {
            self.tick();
            let (streams, which) = load(tick);
            self.load(streams, which);
            changes += u32::from(self.decide()? != Scaling::Keep);
        }
        Ok(changes)
    }
}

fn rules() -> impl Strategy<Value = ScalingRules> {
    (0..4usize, 1..12usize, 0..4usize, 1..5u32, 1..4usize).prop_map(
        |(engines_min, engines_max, engines_free, streams_max, burst_max)| ScalingRules {
            engines_min,
            engines_max,
            engines_free,
            streams_max,
            burst_max,
            ..ScalingRules::default()
        },
    )
}

proptest! {
    #[test]
    fn any_load_keeps_the_bounds_and_stops_nothing_in_use(
        rules in rules(),
        loads in prop::collection::vec((0..40u32, any::<usize>()), 1..120),
    ) {
        let mut world = World::new(rules);
        world.run(u32::try_from(loads.len()).unwrap(), |tick| loads[tick as usize])?;
    }

    #[test]
    fn a_load_that_stays_changes_nothing_once_settled(
        rules in rules(),
        before in prop::collection::vec((0..40u32, any::<usize>()), 0..30),
        streams in 0..40u32,
    ) {
        let mut world = World::new(rules);
        world.run(u32::try_from(before.len()).unwrap(), |tick| before[tick as usize])?;
        world.run(300, |_| (streams, 0))?;
        prop_assert_eq!(world.run(300, |_| (streams, 0))?, 0);
        let served = streams.min(u32::try_from(rules.engines_max).unwrap() * rules.streams_max);
        prop_assert_eq!(world.streams() - world.waiting, served, "what can be served is");
    }

    #[test]
    fn noise_within_one_engine_makes_no_churn(
        rules in rules(),
        base in 0..30u32,
        noise in 1..5u32,
        period in 2..6u32,
    ) {
        let top = base + noise.min(rules.streams_max);
        // Down for all of a period but its first tick, always less than the grace.
        let load = |tick: u32| (if tick.is_multiple_of(period) { top } else { base }, 0);
        let mut world = World::new(rules);
        world.run(600, load)?;
        prop_assert_eq!(world.run(600, load)?, 0);
    }

    #[test]
    fn streams_that_others_follow_change_nothing_once_settled(
        rules in rules(),
        streams in 1..40u32,
        which in prop::collection::vec(any::<usize>(), 600),
    ) {
        let mut world = World::new(rules);
        let mut changes = 0;
        for (tick, which) in which.iter().enumerate() {
            world.load(streams - 1, *which);
            let changed = world.run(1, |_| (streams, 0))?;
            changes += if tick < 300 { 0 } else { changed };
        }
        prop_assert_eq!(changes, 0);
    }

    #[test]
    fn a_load_that_ends_leaves_the_minimum_and_the_free_ones(rules in rules(), streams in 0..40u32) {
        let mut world = World::new(rules);
        world.run(100, |_| (streams, 0))?;
        world.run(300, |_| (0, 0))?;
        let floor = rules.engines_min.max(rules.engines_free).min(rules.engines_max);
        prop_assert_eq!(world.engines.len(), floor);
    }
}
