//! A part of all topics, under one lock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use weir_core::broadcast::{Epoch, HistoryLimits, TopicName};
use weir_core::cache::UnixMs;

use super::topic::Topic;
use crate::account::Account;

/// How long a topic is remembered that nobody wants anything of: its epoch goes with it.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(60);

/// A part of all topics.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) topics: HashMap<TopicName, Topic>,
    /// Topics that keep messages, each once, and when their oldest was published at the earliest.
    oldest: BinaryHeap<Reverse<(UnixMs, TopicName)>>,
    random: fastrand::Rng,
    pub(crate) published: u64,
}

impl Lane {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            topics: HashMap::new(),
            oldest: BinaryHeap::new(),
            random: fastrand::Rng::with_seed(seed),
            published: 0,
        }
    }

    /// An epoch after this one.
    pub(crate) fn next_epoch(&mut self, before: Epoch) -> Epoch {
        before.next(self.random.u64(..))
    }

    /// Adds a topic.
    pub(crate) fn add(&mut self, name: &TopicName, now: UnixMs, account: &Account) {
        let epoch = Epoch::begun(now, self.random.u64(..));
        self.topics
            .insert(name.clone(), Topic::new(epoch, now, account));
    }

    /// Notes that a topic keeps something now.
    pub(crate) fn list(&mut self, name: &TopicName) {
        if let Some(topic) = self.topics.get_mut(name)
            && !topic.is_listed
            && let Some(at) = topic.history.oldest_at()
        {
            topic.is_listed = true;
            self.oldest.push(Reverse((at, name.clone())));
        }
    }

    /// When the oldest message was published that is kept, if one is.
    pub(crate) fn oldest_at(&mut self) -> Option<UnixMs> {
        loop {
            let Reverse((listed_at, _)) = self.oldest.peek()?;
            let listed_at = *listed_at;
            let Reverse((_, name)) = self.oldest.pop()?;
            let Some(topic) = self.topics.get_mut(&name) else {
                continue;
            };
            match topic.history.oldest_at() {
                None => topic.is_listed = false,
                Some(at) => {
                    self.oldest.push(Reverse((at, name)));
                    if at == listed_at {
                        return Some(at);
                    }
                }
            }
        }
    }

    /// Drops the oldest message of all.
    pub(crate) fn evict(&mut self) {
        if self.oldest_at().is_some()
            && let Some(Reverse((_, name))) = self.oldest.peek()
            && let Some(topic) = self.topics.get_mut(name)
        {
            topic.history.evict();
        }
    }

    /// Drops what is too old; how many topics went.
    pub(crate) fn sweep(
        &mut self,
        now: UnixMs,
        limits: &HistoryLimits,
        account: &Account,
    ) -> usize {
        let before = self.topics.len();
        self.topics.retain(|_, topic| {
            topic.history.trim(now, limits);
            topic.recent.forget_old(now);
            topic.charge_keys(account);
            !topic.is_idle() || now.since(topic.touched_at) < IDLE_MAX
        });
        let gone = before - self.topics.len();
        if gone > 0 {
            let topics = &self.topics;
            self.oldest
                .retain(|Reverse((_, name))| topics.contains_key(name));
        }
        gone
    }
}
