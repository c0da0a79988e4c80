//! Which start may begin now: permits, spacing and a bounded queue, first come first served.
//!
//! One owner holds permits and the time of the last start together, so the spacing holds between any two starts and not
//! only between bursts.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::{Refusal, RefusalCode, after};

/// How many starts there may be, and how close to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateLimits {
    /// Starts under way at a time; 0 lets none begin.
    pub concurrent_max: usize,
    /// Time between the beginnings of two starts.
    pub interval_min: Duration,
    /// Starts that wait; one more is refused.
    pub queue_max: usize,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            concurrent_max: 5,
            interval_min: Duration::from_millis(500),
            queue_max: 1_024,
        }
    }
}

/// Where a start that was admitted is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// It waits, behind so many others that wait.
    Waiting {
        /// The others.
        ahead: usize,
    },
    /// It is under way.
    Running,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<Id> {
    /// Begin this one; it holds a permit from now on, until [`Gate::ended`]. Ask again at once.
    Start(Id),
    /// Nothing before this time; ask again then, and when something changes.
    WaitUntil(Instant),
    /// All permits are held; ask again when one is given back or limits change.
    AtCapacity,
    /// Nothing waits.
    Idle,
}

/// The one way to begin a start.
#[derive(Clone, Debug)]
pub struct Gate<Id> {
    limits: GateLimits,
    waiting: VecDeque<Id>,
    running: BTreeSet<Id>,
    last_start: Option<Instant>,
}

impl<Id: Clone + Ord> Gate<Id> {
    /// An empty gate.
    pub fn new(limits: GateLimits) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            running: BTreeSet::new(),
            last_start: None,
        }
    }

    /// Queues a start. One that is here already keeps its place.
    ///
    /// # Errors
    /// [`RefusalCode::QueueFull`] when as many wait as may wait.
    pub fn admit(&mut self, id: Id) -> Result<Position, Refusal> {
        if let Some(position) = self.position(&id) {
            return Ok(position);
        }
        let ahead = self.waiting.len();
        if ahead >= self.limits.queue_max {
            let message = format!("{ahead} starts wait, and {} may", self.limits.queue_max);
            return Err(Refusal::new(RefusalCode::QueueFull, message));
        }
        self.waiting.push_back(id);
        Ok(Position::Waiting { ahead })
    }

    /// What to do now; a start that is told has begun.
    pub fn next(&mut self, now: Instant) -> Next<Id> {
        if self.waiting.is_empty() {
            return Next::Idle;
        }
        if self.running.len() >= self.limits.concurrent_max {
            return Next::AtCapacity;
        }
        if let Some(earliest) = self.earliest_start().filter(|earliest| now < *earliest) {
            return Next::WaitUntil(earliest);
        }
        let Some(id) = self.waiting.pop_front() else {
            return Next::Idle;
        };
        self.running.insert(id.clone());
        self.last_start = Some(now);
        Next::Start(id)
    }

    /// A start is over, however it went; gives its permit back. Says whether it held one.
    pub fn ended(&mut self, id: &Id) -> bool {
        self.running.remove(id)
    }

    /// Takes a start back that waits. One that is under way stays: its permit is given back by [`Gate::ended`] only.
    pub fn remove(&mut self, id: &Id) -> bool {
        let place = self.waiting.iter().position(|waiting| waiting == id);
        place.and_then(|place| self.waiting.remove(place)).is_some()
    }

    /// Where a start is; `None` when it is not here.
    pub fn position(&self, id: &Id) -> Option<Position> {
        if self.running.contains(id) {
            return Some(Position::Running);
        }
        let ahead = self.waiting.iter().position(|waiting| waiting == id)?;
        Some(Position::Waiting { ahead })
    }

    /// Changes the limits, for what waits also. What is under way goes on, and what waits is not refused afterwards.
    pub fn set_limits(&mut self, limits: GateLimits) {
        self.limits = limits;
    }

    /// The limits in force.
    pub fn limits(&self) -> GateLimits {
        self.limits
    }

    /// Starts that wait, next one first.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = &Id> {
        self.waiting.iter()
    }

    /// Starts under way.
    pub fn running(&self) -> impl ExactSizeIterator<Item = &Id> {
        self.running.iter()
    }

    fn earliest_start(&self) -> Option<Instant> {
        let last = self.last_start?;
        Some(after(last, self.limits.interval_min))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(concurrent_max: usize, interval_ms: u64, queue_max: usize) -> Gate<u32> {
        Gate::new(GateLimits {
            concurrent_max,
            interval_min: Duration::from_millis(interval_ms),
            queue_max,
        })
    }

    /// Runs a gate until nothing waits, each start taking `length`; tells the time of each start in ms.
    fn run(gate: &mut Gate<u32>, length: Duration) -> Vec<(u32, u64)> {
        let epoch = Instant::now();
        let (mut now, mut ends, mut starts) = (epoch, VecDeque::new(), Vec::new());
        loop {
            match gate.next(now) {
                Next::Start(id) => {
                    starts.push((id, u64::try_from((now - epoch).as_millis()).unwrap()));
                    ends.push_back((now + length, id));
                    assert!(gate.running().len() <= gate.limits().concurrent_max);
                }
                Next::WaitUntil(at) => now = at,
                Next::AtCapacity => {
                    let (at, id) = ends.pop_front().unwrap();
                    now = now.max(at);
                    assert!(gate.ended(&id));
                }
                Next::Idle => return starts,
            }
            ends.retain(|(at, id)| *at > now || !gate.ended(id));
        }
    }

    #[test]
    fn a_burst_of_1000_is_spaced_bounded_and_loses_none() {
        let mut gate = gate(5, 500, 1_000);
        for id in 0..1_000 {
            let ahead = id as usize;
            assert_eq!(gate.admit(id), Ok(Position::Waiting { ahead }));
        }
        // With 10 s each, permits rule: five begin in each 10 s.
        let starts = run(&mut gate, Duration::from_secs(10));
        let ids: Vec<u32> = starts.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, (0..1_000).collect::<Vec<_>>());
        assert!(starts.windows(2).all(|pair| pair[1].1 - pair[0].1 >= 500));
        assert_eq!(starts.last().map(|(_, at)| *at), Some(199 * 10_000 + 2_000));
    }

    #[test]
    fn short_starts_are_spaced_one_from_the_other_and_not_in_bursts() {
        let mut gate = gate(5, 500, 10);
        (0..10).for_each(|id| assert!(gate.admit(id).is_ok()));
        let starts = run(&mut gate, Duration::from_millis(200));
        let at: Vec<u64> = starts.iter().map(|(_, at)| *at).collect();
        assert_eq!(at, (0..10).map(|n| n * 500).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_queue_refuses_by_name_and_takes_again_when_one_left() {
        let mut gate = gate(1, 0, 2);
        let now = Instant::now();
        assert!(gate.admit(1).is_ok() && gate.admit(2).is_ok());
        let refusal = gate.admit(3).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::QueueFull);
        assert_eq!(refusal.message, "2 starts wait, and 2 may");
        // What is here keeps its place, also in a full queue.
        assert_eq!(gate.admit(2), Ok(Position::Waiting { ahead: 1 }));
        assert_eq!(gate.next(now), Next::Start(1));
        assert_eq!(gate.admit(1), Ok(Position::Running));
        assert_eq!(gate.admit(3), Ok(Position::Waiting { ahead: 1 }));
        assert!(gate.remove(&2) && !gate.remove(&2));
        assert_eq!(gate.position(&3), Some(Position::Waiting { ahead: 0 }));
        assert!(!gate.remove(&1), "what is under way stays");
        assert_eq!(gate.next(now), Next::AtCapacity);
    }

    #[test]
    fn new_limits_apply_to_what_waits_and_cancel_nothing() {
        let mut gate = gate(3, 60_000, 10);
        let now = Instant::now();
        (0..6).for_each(|id| assert!(gate.admit(id).is_ok()));
        assert_eq!(gate.next(now), Next::Start(0));
        let minute = now + Duration::from_secs(60);
        assert_eq!(gate.next(now), Next::WaitUntil(minute));
        gate.set_limits(GateLimits {
            interval_min: Duration::ZERO,
            ..gate.limits()
        });
        assert_eq!(gate.next(now), Next::Start(1));
        assert_eq!(gate.next(now), Next::Start(2));
        gate.set_limits(GateLimits {
            concurrent_max: 1,
            queue_max: 0,
            ..gate.limits()
        });
        assert_eq!((gate.running().len(), gate.waiting().len()), (3, 3));
        assert!(gate.ended(&0) && gate.ended(&1) && !gate.ended(&1));
        assert_eq!(gate.next(now), Next::AtCapacity);
        assert!(gate.ended(&2));
        assert_eq!(gate.next(now), Next::Start(3));
    }

    #[test]
    fn an_endless_interval_waits_and_does_not_overflow() {
        let mut gate = gate(2, 0, 2);
        let now = Instant::now();
        assert!(gate.admit(1).is_ok() && gate.admit(2).is_ok());
        assert_eq!(gate.next(now), Next::Start(1));
        gate.set_limits(GateLimits {
            interval_min: Duration::MAX,
            ..gate.limits()
        });
        assert!(matches!(gate.next(now), Next::WaitUntil(at) if at > now));
    }
}
