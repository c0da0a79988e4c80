//! How many engines a service should have.
//!
//! What is wanted follows from the load alone: the engines in use and the idle ones wanted beside them, one more than
//! are nearly full, at least the minimum, at most the maximum. Starts follow at once, a few at a time. Stops take only
//! what was too many during all of a grace, and not soon after another start or stop: a load that comes and goes
//! faster than that changes nothing.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::ids::{EngineId, VpnName};

/// How many engines a service may and should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalingRules {
    /// Engines that it always has.
    pub engines_min: usize,
    /// Engines that it never has more of, whatever their state; wins over the minimum.
    pub engines_max: usize,
    /// Idle engines wanted beside those in use.
    pub engines_free: usize,
    /// Streams that one engine takes.
    pub streams_max: u32,
    /// Starts under way at a time beyond the minimum.
    pub burst_max: usize,
    /// How long an engine must be idle, and engines too many, until one is stopped.
    pub idle_grace: Duration,
    /// Time between a start or stop and the next stop.
    pub scale_down_cooldown: Duration,
}

impl Default for ScalingRules {
    fn default() -> Self {
        Self {
            engines_min: 1,
            engines_max: 20,
            engines_free: 1,
            streams_max: 3,
            burst_max: 2,
            idle_grace: Duration::from_secs(60),
            scale_down_cooldown: Duration::from_secs(120),
        }
    }
}

/// What an engine counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineStanding {
    /// Takes streams.
    Ready {
        /// Since when nothing runs on it; `None` while something does.
        idle_since: Option<Instant>,
    },
    /// Will be ready: it is being started, or its job waits.
    Starting,
    /// Out of service and expected back or replaced: it keeps its place, and another one does its work.
    Unhealthy,
    /// Drained, being stopped, or behind a VPN that is down: it counts for the maximum only.
    Leaving,
}

/// An engine, or a job under way that makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFacts {
    /// Which.
    pub id: EngineId,
    /// What it counts as.
    pub standing: EngineStanding,
    /// Streams that run on it or are promised to it.
    pub in_flight: u32,
    /// The VPN that it is behind.
    pub vpn: Option<VpnName>,
    /// Whether it is its VPN's forwarded engine.
    pub forwarded: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// Nothing.
    Keep,
    /// Start so many more.
    Start(usize),
    /// Stop these; they are idle.
    Stop(Vec<EngineId>),
}

/// What is asked of a service beside the streams that run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Streams that no engine has taken yet.
    pub waiting: u32,
    /// When a stream began last or ran, or waited. Streams that are shorter than the time between two looks are seen
    /// on no engine.
    pub used_at: Option<Instant>,
}

/// More engines ready than wanted, without a break.
#[derive(Clone, Copy, Debug)]
struct Surplus {
    since: Instant,
    /// The least that it was.
    least: usize,
}

/// The scaling of one service.
#[derive(Clone, Debug, Default)]
pub struct Scaler {
    surplus: Option<Surplus>,
    last_change: Option<Instant>,
}

impl Scaler {
    /// What to do now. `engines` are all that there are, and all jobs under way that make one.
    pub fn decide(
        &mut self,
        rules: &ScalingRules,
        engines: &[EngineFacts],
        demand: Demand,
        now: Instant,
    ) -> Scaling {
        let census = Census::of(rules, engines);
        let wanted = census.wanted(rules, demand.waiting);
        let missing = census.missing(rules, wanted);
        let decision = if missing > 0 {
            Scaling::Start(missing)
        } else {
            let surplus = self.lasting_surplus(rules, census.ready.saturating_sub(wanted), now);
            let is_used = demand
                .used_at
                .is_some_and(|at| now.saturating_duration_since(at) < rules.idle_grace);
            // Or the next stream would wait for an engine that was there.
            let surplus = surplus.min(census.ready.saturating_sub(usize::from(is_used)));
            let stops = stops(rules, engines, surplus, now);
            match stops.is_empty() {
                true => Scaling::Keep,
                false => Scaling::Stop(stops),
            }
        };
        if decision != Scaling::Keep {
            self.surplus = None;
            self.last_change = Some(now);
        }
        decision
    }

    /// What was too many for as long as a stop takes; 0 before.
    fn lasting_surplus(&mut self, rules: &ScalingRules, surplus: usize, now: Instant) -> usize {
        if surplus == 0 {
            self.surplus = None;
            return 0;
        }
        let lasting = self.surplus.get_or_insert(Surplus {
            since: now,
            least: surplus,
        });
        lasting.least = lasting.least.min(surplus);
        let has_lasted = |since, wait| now.saturating_duration_since(since) >= wait;
        let calm = self
            .last_change
            .is_none_or(|at| has_lasted(at, rules.scale_down_cooldown));
        match calm && has_lasted(lasting.since, rules.idle_grace) {
            true => lasting.least,
            false => 0,
        }
    }
}

/// Engines by what they mean for the decision.
#[derive(Default)]
struct Census {
    ready: usize,
    in_use: usize,
    nearly_full: usize,
    starting: usize,
    unhealthy: usize,
    leaving: usize,
}

impl Census {
    fn of(rules: &ScalingRules, engines: &[EngineFacts]) -> Self {
        let nearly = rules.streams_max.saturating_sub(1).max(1);
        let mut census = Self::default();
        for engine in engines {
            match engine.standing {
                EngineStanding::Ready { .. } => {
                    census.ready += 1;
                    census.in_use += usize::from(engine.in_flight > 0);
                    census.nearly_full += usize::from(engine.in_flight >= nearly);
                }
                EngineStanding::Starting => census.starting += 1,
                EngineStanding::Unhealthy => census.unhealthy += 1,
                EngineStanding::Leaving => census.leaving += 1,
            }
        }
        census
    }

    /// Those that are or will be there.
    fn present(&self) -> usize {
        self.ready + self.starting + self.unhealthy
    }

    fn wanted(&self, rules: &ScalingRules, waiting: u32) -> usize {
        let for_waiting = waiting.div_ceil(rules.streams_max.max(1)) as usize;
        let free = rules.engines_free.max(for_waiting);
        let with_free = (self.in_use + self.unhealthy).saturating_add(free);
        let ahead = match self.nearly_full {
            0 => 0,
            nearly_full => nearly_full + self.unhealthy + 1,
        };
        let wanted = with_free.max(ahead).max(rules.engines_min);
        wanted.min(rules.engines_max)
    }

    /// How many to start now: up to the minimum all, beyond it a few at a time.
    fn missing(&self, rules: &ScalingRules, wanted: usize) -> usize {
        let present = self.present();
        let base = rules.engines_min.min(wanted);
        let up_to_base = base.saturating_sub(present);
        let beyond = wanted.saturating_sub(present.max(base));
        let under_way = self.starting.min(present.saturating_sub(base));
        let burst = beyond.min(rules.burst_max.saturating_sub(under_way));
        let room = rules.engines_max.saturating_sub(present + self.leaving);
        (up_to_base + burst).min(room)
    }
}

/// At most `most` idle engines: followers before the forwarded one, from the VPN with the most, idle for longest first.
fn stops(
    rules: &ScalingRules,
    engines: &[EngineFacts],
    most: usize,
    now: Instant,
) -> Vec<EngineId> {
    let mut staying: Vec<&EngineFacts> = engines
        .iter()
        .filter(|engine| engine.standing != EngineStanding::Leaving)
        .collect();
    let mut stops = Vec::new();
    while stops.len() < most {
        let behind = |engine: &EngineFacts| staying.iter().filter(|e| e.vpn == engine.vpn).count();
        let chosen = staying
            .iter()
            .enumerate()
            .filter(|(_, engine)| !engine.forwarded || behind(engine) == 1)
            .filter_map(|(at, engine)| Some((at, idle_for(engine, now)?)))
            .filter(|(_, idle)| *idle >= rules.idle_grace)
            .max_by_key(|(at, idle)| {
                let engine = staying[*at];
                (!engine.forwarded, behind(engine), *idle, &engine.id)
            });
        let Some((at, _)) = chosen else {
            break;
        };
        stops.push(staying.swap_remove(at).id.clone());
    }
    stops
}

fn idle_for(engine: &EngineFacts, now: Instant) -> Option<Duration> {
    match engine.standing {
        EngineStanding::Ready {
            idle_since: Some(since),
        } if engine.in_flight == 0 => Some(now.saturating_duration_since(since)),
        _ => None,
    }
}
