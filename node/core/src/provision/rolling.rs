//! Which outdated engine of a service is replaced next, and whether any is: what fails once is not done to all.

use std::time::Instant;

use crate::ids::EngineId;

/// An engine that is out of date and serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    /// Which.
    pub id: EngineId,
    /// What runs on it.
    pub in_flight: u64,
    /// Since when nothing does.
    pub idle_since: Option<Instant>,
    /// It has its VPN's forwarded port: nobody serves in its stead while it is replaced.
    pub forwarded: bool,
}

/// The one to replace: who is idle before who is not, and of these who is missed least.
pub fn next_outdated(outdated: &[Outdated]) -> Option<&EngineId> {
    let first = outdated.iter().min_by_key(|engine| {
        let Outdated {
            id,
            in_flight,
            idle_since,
            forwarded,
        } = engine;
        (*in_flight, *forwarded, *idle_since, id)
    });
    first.map(|engine| &engine.id)
}

/// An engine was ended before another one was there for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Missing {
    /// Engines that served before.
    served: usize,
    /// Until when one that takes its place is waited for, as long as there are engines enough.
    until: Instant,
}

/// The replacement of all outdated engines of a service by this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rolling {
    stopped: Option<String>,
    missing: Option<Missing>,
}

impl Rolling {
    /// An engine as it should be did not get ready. Tells whether this is news.
    pub fn failed(&mut self, why: &str) -> bool {
        let is_news = self.stopped.is_none();
        self.stopped = Some(why.to_owned());
        is_news
    }

    /// An engine as it should be serves: more of them will.
    pub fn proved(&mut self) {
        *self = Self::default();
    }

    /// The configuration is another one: it may work. Whoever is missing is missing still.
    pub fn anew(&mut self) {
        self.stopped = None;
    }

    /// One of `served` engines ends, and nobody serves in its stead yet. Whether somebody will is known by `until`.
    pub fn ended_first(&mut self, served: usize, until: Instant) {
        self.missing = Some(Missing { served, until });
    }

    /// Whether the next one may be replaced while so many serve, of at least `least`.
    pub fn may_go_on(&self, serve: usize, least: usize, now: Instant) -> bool {
        let is_replaced = self.missing.is_none_or(|missing| {
            serve >= missing.served || (now >= missing.until && serve >= least)
        });
        self.stopped.is_none() && is_replaced
    }

    /// Why none is replaced any more.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_idle_go_before_the_busy_and_the_forwarded_one_after_its_likes() {
        let now = Instant::now();
        let outdated = |id: &str, in_flight, idle_for: u64, forwarded| Outdated {
            id: id.into(),
            in_flight,
            idle_since: (in_flight == 0).then(|| now + Duration::from_secs(100 - idle_for)),
            forwarded,
        };
        let mut all = vec![
            outdated("busy", 3, 0, false),
            outdated("led", 0, 90, true),
            outdated("tv-2", 0, 10, false),
            outdated("tv-1", 0, 50, false),
            outdated("less", 1, 0, false),
        ];
        let mut order = Vec::new();
        while let Some(next) = next_outdated(&all).cloned() {
            all.retain(|engine| engine.id != next);
            order.push(next.to_string());
        }
        assert_eq!(order, ["tv-1", "tv-2", "led", "less", "busy"]);
    }

    #[test]
    fn a_failure_stops_it_until_one_serves_and_is_news_once() {
        let now = Instant::now();
        let mut rolling = Rolling::default();
        assert!(rolling.may_go_on(3, 1, now));
        assert!(rolling.failed("not ready") && !rolling.failed("still not"));
        assert_eq!(rolling.stopped(), Some("still not"));
        assert!(!rolling.may_go_on(3, 1, now + Duration::from_secs(100_000)));
        rolling.proved();
        assert!(rolling.may_go_on(3, 1, now) && rolling.stopped().is_none());
    }

    #[test]
    fn whoever_was_ended_first_is_replaced_before_the_next_one_ends() {
        let now = Instant::now();
        let until = now + Duration::from_secs(300);
        let mut rolling = Rolling::default();
        rolling.ended_first(3, until);
        assert!(!rolling.may_go_on(2, 2, now));
        assert!(rolling.may_go_on(3, 2, now), "somebody serves in its stead");
        assert!(rolling.may_go_on(2, 2, until), "nobody wants another one");
        assert!(!rolling.may_go_on(2, 3, until), "there are too few");
        rolling.proved();
        assert!(rolling.may_go_on(2, 3, now));
    }

    #[test]
    fn another_configuration_lets_it_go_on_once_whoever_was_ended_first_is_replaced() {
        let now = Instant::now();
        let mut rolling = Rolling::default();
        rolling.ended_first(3, now + Duration::from_secs(300));
        rolling.failed("not ready");
        rolling.anew();
        assert!(!rolling.may_go_on(2, 3, now) && rolling.may_go_on(3, 3, now));
    }
}
