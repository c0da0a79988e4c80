//! Whether the cache's tier in Redis is away.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use weir_cache::Store;
use weir_cache::redis::L2State;

use super::{Events, Kind};
use crate::data_plane::answer::Reason;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Records each time that Redis is away and that it is back, until the node ends.
pub async fn run(events: Events, store: Arc<Store<Reason>>) {
    let node = events.node().to_owned();
    let mut last = Last::default();
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let state = store.l2().map(|l2| l2.tier().state().borrow().clone());
        match last.look(state.as_ref()) {
            Some(News::Away(why)) => {
                events.record(Kind::CacheRedisAway, &node, [("why", why)]);
            }
            Some(News::Back) => events.record(Kind::CacheRedisBack, &node, []),
            None => {}
        }
    }
}

/// What was told last.
#[derive(Debug, Default)]
struct Last {
    is_away: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum News {
    Away(String),
    Back,
}

impl Last {
    /// What is to be told now. While Redis is tried again nothing is; without one nothing is away.
    fn look(&mut self, state: Option<&L2State>) -> Option<News> {
        match (state, self.is_away) {
            (Some(L2State::Away(outage)), false) => {
                self.is_away = true;
                Some(News::Away(outage.to_string()))
            }
            (Some(L2State::Up), true) => {
                self.is_away = false;
                Some(News::Back)
            }
            (None, _) => {
                self.is_away = false;
                None
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use weir_cache::redis::{Failure, FailureKind, Outage};

    use super::*;

    fn away(why: &str) -> L2State {
        L2State::Away(Outage {
            redis: "redis://cache:6379".to_owned(),
            failure: Failure::new(FailureKind::Late, why),
            since: Instant::now(),
        })
    }

    #[test]
    fn each_outage_is_told_once_and_its_end_once() {
        let mut last = Last::default();
        assert_eq!(last.look(Some(&L2State::Connecting)), None);
        assert_eq!(last.look(Some(&L2State::Up)), None);
        let told = "redis://cache:6379: late".to_owned();
        assert_eq!(last.look(Some(&away("late"))), Some(News::Away(told)));
        assert_eq!(last.look(Some(&away("refused"))), None);
        assert_eq!(last.look(Some(&L2State::Connecting)), None);
        assert_eq!(last.look(Some(&L2State::Up)), Some(News::Back));
        assert_eq!(last.look(Some(&L2State::Up)), None);
    }

    #[test]
    fn a_redis_that_is_taken_from_the_configuration_is_not_away() {
        let mut last = Last::default();
        last.look(Some(&away("late")));
        assert_eq!(last.look(None), None);
        assert_eq!(last.look(Some(&L2State::Up)), None);
    }
}
