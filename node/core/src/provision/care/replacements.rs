//! Whose turn it is to be replaced: one engine of a service at a time, and some time between two.

use std::time::{Duration, Instant};

use super::super::after;
use crate::ids::EngineId;

/// Whether an engine may be replaced now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may, until [`Replacements::ended`].
    Granted,
    /// Another one is being replaced.
    Busy(EngineId),
    /// Not before this time.
    WaitUntil(Instant),
}

#[derive(Clone, Debug)]
struct Current {
    id: EngineId,
    /// When it counts as lost, so that it cannot keep all others from being replaced.
    until: Instant,
}

/// The replacements of one service.
#[derive(Clone, Debug)]
pub struct Replacements {
    cooldown: Duration,
    limit: Duration,
    current: Option<Current>,
    last_end: Option<Instant>,
}

impl Replacements {
    /// `cooldown` lies between the end of one and the next; one that takes longer than `limit` counts as ended.
    pub fn new(cooldown: Duration, limit: Duration) -> Self {
        Self {
            cooldown,
            limit,
            current: None,
            last_end: None,
        }
    }

    /// Asks for a turn. Whoever has it gets it again.
    pub fn ask(&mut self, id: &EngineId, now: Instant) -> Turn {
        if let Some(lost) = self.current.take_if(|current| now >= current.until) {
            self.last_end = Some(lost.until);
        }
        if let Some(current) = &self.current {
            return match current.id == *id {
                true => Turn::Granted,
                false => Turn::Busy(current.id.clone()),
            };
        }
        let earliest = self.last_end.map(|end| after(end, self.cooldown));
        if let Some(earliest) = earliest.filter(|earliest| now < *earliest) {
            return Turn::WaitUntil(earliest);
        }
        self.current = Some(Current {
            id: id.clone(),
            until: after(now, self.limit),
        });
        Turn::Granted
    }

    /// The replacement is there, or was given up. Says whether it had the turn.
    pub fn ended(&mut self, id: &EngineId, now: Instant) -> bool {
        let had_it = self.current.take_if(|current| current.id == *id).is_some();
        if had_it {
            self.last_end = Some(now);
        }
        had_it
    }

    /// There is no reason to replace it any more: the next one need not wait.
    pub fn withdrawn(&mut self, id: &EngineId) {
        self.current.take_if(|current| current.id == *id);
    }

    /// Who is being replaced.
    pub fn current(&self) -> Option<&EngineId> {
        self.current.as_ref().map(|current| &current.id)
    }

    /// Changes the times, for what is not granted yet.
    pub fn set_times(&mut self, cooldown: Duration, limit: Duration) {
        (self.cooldown, self.limit) = (cooldown, limit);
    }
}

impl Default for Replacements {
    fn default() -> Self {
        Self::new(Duration::from_secs(60), Duration::from_secs(300))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_a_cooldown_between_two() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let (a, b) = (EngineId::from("tv-1"), EngineId::from("tv-2"));
        let mut turns = Replacements::default();
        assert_eq!(turns.ask(&a, now), Turn::Granted);
        assert_eq!(turns.ask(&a, at(1)), Turn::Granted);
        assert_eq!(turns.ask(&b, at(1)), Turn::Busy(a.clone()));
        assert!(!turns.ended(&b, at(2)) && turns.ended(&a, at(10)));
        assert_eq!(turns.ask(&b, at(69)), Turn::WaitUntil(at(70)));
        assert_eq!(turns.ask(&b, at(70)), Turn::Granted);
        assert_eq!(turns.current(), Some(&b));
        turns.withdrawn(&a);
        assert_eq!(turns.current(), Some(&b), "it is not its turn");
        turns.withdrawn(&b);
        assert_eq!(turns.ask(&a, at(70)), Turn::Granted);
    }

    #[test]
    fn a_lost_replacement_holds_up_others_for_a_limited_time() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let (a, b) = (EngineId::from("tv-1"), EngineId::from("tv-2"));
        let mut turns = Replacements::default();
        assert_eq!(turns.ask(&a, now), Turn::Granted);
        assert_eq!(turns.ask(&b, at(299)), Turn::Busy(a.clone()));
        assert_eq!(turns.ask(&b, at(300)), Turn::WaitUntil(at(360)));
        assert!(!turns.ended(&a, at(310)), "too late");
        assert_eq!(turns.ask(&b, at(360)), Turn::Granted);
    }
}
