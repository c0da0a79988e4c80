//! What the owner of a topic owes to its replica, and when that one may go on in its place.
//!
//! While a replica is in step, nobody is given a message that it has not confirmed. An owner that cannot wait any
//! longer first lets pass the time for which the replica may believe so: the replica sends stamps of its own clock,
//! the owner sends the last one back, and for [`LEASE`] after it made a stamp that came back the replica may rely on
//! it. So no clocks are compared, and a replica that goes on has everything that anybody was given, whatever the link
//! lost.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use super::TopicName;

/// How long a stamp holds that came back.
pub const LEASE: Duration = Duration::from_secs(1);
/// How long the replica may take to confirm a message before the owner begins to do without it.
pub const CONFIRM_MAX: Duration = Duration::from_millis(250);
/// How long a replica that was too slow is not waited for again.
pub const REST: Duration = Duration::from_secs(5);

/// What one topic's replica was sent and has confirmed.
#[derive(Clone, Copy, Debug)]
struct Kept {
    sent: u64,
    confirmed: u64,
    /// Since when the oldest message waits that is not confirmed.
    since: Option<Duration>,
}

/// What an owner owes to another node, for all topics of which that one is the replica. Times are of any clock that
/// only rises.
#[derive(Debug, Default)]
pub struct Replication {
    topics: BTreeMap<TopicName, Kept>,
    /// When a stamp was last sent back.
    granted_at: Option<Duration>,
    /// No stamp is sent back any more.
    frozen: bool,
    rests_until: Option<Duration>,
    /// Which topics were looked at last.
    looked: Option<TopicName>,
}

/// Forgets what belongs to topics that are none any more, of the next `most` after `looked`, the last one before.
pub fn forget_ended<V>(
    map: &mut BTreeMap<TopicName, V>,
    looked: &mut Option<TopicName>,
    most: usize,
    is_known: impl Fn(&TopicName) -> bool,
) {
    let after = looked.take().map_or(Bound::Unbounded, Bound::Excluded);
    let next = map.range((after, Bound::Unbounded)).take(most);
    let next: Vec<_> = next.map(|(topic, _)| topic.clone()).collect();
    if next.len() == most {
        *looked = next.last().cloned();
    }
    for topic in next {
        if !is_known(&topic) {
            map.remove(&topic);
        }
    }
}

impl Replication {
    /// Whether a replica that has everything of a topic may be waited for from now on.
    pub fn may_join(&self, now: Duration) -> bool {
        !self.frozen && self.rests_until.is_none_or(|until| until <= now)
    }

    /// Whether no topic's messages wait for the replica.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// From here on messages of a topic wait for the replica, which has everything up to this one.
    pub fn join(&mut self, topic: &TopicName, offset: u64) {
        let kept = Kept {
            sent: offset,
            confirmed: offset,
            since: None,
        };
        self.topics.insert(topic.clone(), kept);
    }

    /// The last message that was sent, if messages of this topic wait for the replica.
    pub fn sent_up_to(&self, topic: &TopicName) -> Option<u64> {
        Some(self.topics.get(topic)?.sent)
    }

    /// Messages up to this one were sent.
    pub fn sent(&mut self, topic: &TopicName, offset: u64, now: Duration) {
        if let Some(kept) = self.topics.get_mut(topic) {
            kept.sent = kept.sent.max(offset);
            if kept.sent > kept.confirmed {
                kept.since.get_or_insert(now);
            }
        }
    }

    /// The replica has everything up to this message.
    pub fn confirmed(&mut self, topic: &TopicName, offset: u64, now: Duration) {
        if let Some(kept) = self.topics.get_mut(topic)
            && offset > kept.confirmed
        {
            kept.confirmed = offset;
            kept.since = (kept.sent > offset).then_some(now);
        }
    }

    /// A stamp came; whether it may be sent back.
    pub const fn stamp(&mut self, now: Duration) -> bool {
        if !self.frozen {
            self.granted_at = Some(now);
        }
        !self.frozen
    }

    /// Forgets topics that are none any more; looks at so many of them, one after the other.
    pub fn forget_ended(&mut self, most: usize, is_known: impl Fn(&TopicName) -> bool) {
        forget_ended(&mut self.topics, &mut self.looked, most, is_known);
    }

    /// The replica is to be done without: it does not hear any more, or is another node from now on.
    pub const fn freeze(&mut self) {
        self.frozen = true;
    }

    /// The replica's process is gone, so it relies on nothing: these topics need not wait.
    pub fn end(&mut self) -> Vec<TopicName> {
        let topics = std::mem::take(self).topics;
        topics.into_keys().collect()
    }

    /// Topics whose messages are not to wait any longer, the replica being told so.
    pub fn check(&mut self, now: Duration) -> Vec<TopicName> {
        let late = |kept: &Kept| {
            kept.since
                .is_some_and(|since| now.saturating_sub(since) >= CONFIRM_MAX)
        };
        self.frozen |= self.topics.values().any(late);
        let relies = self
            .granted_at
            .is_some_and(|at| now.saturating_sub(at) <= LEASE);
        if !self.frozen || relies {
            return Vec::new();
        }
        let topics = self.end();
        self.rests_until = Some(now + REST);
        topics
    }
}

/// What is known of an owner that is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It numbers nothing any more: it said so.
    Goodbye,
    /// Its process does not run any more.
    Process,
    /// It is not heard.
    Silent,
}

/// Whether a replica that becomes the owner goes on with the topic's epoch. `in_step` is what the owner last said, and
/// `stamp` is when the last stamp was made that came back, by the clock that says `now`.
pub fn may_go_on(in_step: bool, gone: Gone, stamp: Option<Duration>, now: Duration) -> bool {
    in_step
        && match gone {
            Gone::Goodbye => true,
            Gone::Process => stamp.is_some_and(|made| now.saturating_sub(made) < LEASE),
            Gone::Silent => false,
        }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// What an owner sends to its replica.
    #[derive(Debug)]
    enum Down {
        Messages(u64),
        InStep,
        OutOfStep,
        Stamp(u64),
    }

    #[derive(Debug)]
    enum Up {
        Confirm(u64),
        Stamp(u64),
    }

    /// One topic, its owner and its replica, and a link that keeps order, and delays or loses everything from some
    /// moment on.
    #[derive(Debug)]
    struct World {
        random: fastrand::Rng,
        now: u64,
        topic: TopicName,
        owner: Replication,
        holds: bool,
        numbered: u64,
        released: u64,
        down: VecDeque<(u64, Down)>,
        up: VecDeque<(u64, Up)>,
        is_cut: bool,
        has: u64,
        in_step: bool,
        stamp: Option<u64>,
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    impl World {
        fn new(seed: u64) -> Self {
            Self {
                random: fastrand::Rng::with_seed(seed),
                now: 0,
                topic: TopicName::new("t").unwrap(),
                owner: Replication::default(),
                holds: false,
                numbered: 0,
                released: 0,
                down: VecDeque::new(),
                up: VecDeque::new(),
                is_cut: false,
                has: 0,
                in_step: false,
                stamp: None,
            }
        }

        fn delay(&mut self, last: Option<u64>) -> u64 {
            let delay = [0, 1, 20, 300, 1_200][self.random.usize(..5)];
            (self.now + delay).max(last.unwrap_or(0))
        }

        fn tell(&mut self, what: Down) {
            if !self.is_cut {
                let at = self.delay(self.down.back().map(|(at, _)| *at));
                self.down.push_back((at, what));
            }
        }

        fn ask(&mut self, what: Up) {
            if !self.is_cut {
                let at = self.delay(self.up.back().map(|(at, _)| *at));
                self.up.push_back((at, what));
            }
        }

        fn publish(&mut self) {
            self.numbered += 1;
            if self.holds {
                self.owner.sent(&self.topic, self.numbered, ms(self.now));
            } else {
                self.released = self.numbered;
            }
            self.tell(Down::Messages(self.numbered));
        }

        fn owner_hears(&mut self, what: Up) {
            match what {
                Up::Stamp(made) => {
                    if self.owner.stamp(ms(self.now)) {
                        self.tell(Down::Stamp(made));
                    }
                }
                Up::Confirm(offset) if self.holds => {
                    self.owner.confirmed(&self.topic, offset, ms(self.now));
                    self.released = self.released.max(offset);
                }
                Up::Confirm(offset) => {
                    if offset == self.numbered && self.owner.may_join(ms(self.now)) {
                        self.owner.join(&self.topic, offset);
                        self.holds = true;
                        self.tell(Down::InStep);
                    }
                }
            }
        }

        fn replica_hears(&mut self, what: Down) {
            match what {
                Down::Messages(up_to) => {
                    self.has = self.has.max(up_to);
                    self.ask(Up::Confirm(self.has));
                }
                Down::InStep => self.in_step = true,
                Down::OutOfStep => self.in_step = false,
                Down::Stamp(made) => self.stamp = Some(made),
            }
        }

        fn pass(&mut self) {
            self.now += self.random.u64(1..40);
            while self.up.front().is_some_and(|(at, _)| *at <= self.now) && self.random.u8(..8) > 0
            {
                let (_, what) = self.up.pop_front().unwrap();
                self.owner_hears(what);
            }
            while self.down.front().is_some_and(|(at, _)| *at <= self.now)
                && self.random.u8(..8) > 0
            {
                let (_, what) = self.down.pop_front().unwrap();
                self.replica_hears(what);
            }
            if !self.owner.check(ms(self.now)).is_empty() {
                self.holds = false;
                self.released = self.numbered;
                self.tell(Down::OutOfStep);
            }
        }

        fn step(&mut self) {
            match self.random.u8(..10) {
                0..2 => self.publish(),
                2..4 => self.ask(Up::Stamp(self.now)),
                _ => self.pass(),
            }
        }
    }

    #[test]
    fn a_replica_that_goes_on_has_everything_that_anybody_was_given() {
        let mut went_on = 0;
        let mut waited = 0;
        for seed in 0..20_000 {
            let mut world = World::new(seed);
            let steps = world.random.usize(..200);
            for _ in 0..steps {
                world.step();
            }
            if world.random.bool() {
                // The link goes first, and the owner works on.
                world.is_cut = true;
                world.down.clear();
                world.up.clear();
                if world.random.bool() {
                    world.owner.freeze();
                }
                for _ in 0..world.random.usize(..100) {
                    world.step();
                }
            }
            waited += u64::from(world.released < world.numbered);
            // What was on its way may still come, and the replica learns of the end some time after it.
            let released = world.released;
            while let Some((_, what)) = world.down.pop_front() {
                if world.random.u8(..4) == 0 {
                    break;
                }
                world.replica_hears(what);
            }
            let now = world.now + world.random.u64(..100);
            if may_go_on(world.in_step, Gone::Process, world.stamp.map(ms), ms(now)) {
                went_on += 1;
                assert!(world.has >= released, "seed {seed}: {world:?}");
            }
        }
        assert!(went_on > 200 && waited > 200, "{went_on} {waited}");
    }

    #[test]
    fn a_replica_that_is_too_slow_is_waited_for_no_longer_than_it_may_rely_on_it() {
        let topic = TopicName::new("t").unwrap();
        let mut owner = Replication::default();
        owner.join(&topic, 7);
        assert!(owner.stamp(ms(1_000)));
        owner.sent(&topic, 8, ms(1_100));
        assert_eq!(owner.check(ms(1_349)), []);
        assert!(owner.stamp(ms(1_349)));
        assert_eq!(owner.check(ms(1_350)), []);
        assert!(!owner.stamp(ms(1_351)), "it may not rely on more");
        assert_eq!(owner.check(ms(2_349)), []);
        assert_eq!(owner.check(ms(2_350)), [topic]);
        assert!(!owner.may_join(ms(7_349)) && owner.may_join(ms(7_350)));
    }

    #[test]
    fn topics_that_ended_are_forgotten_a_part_at_a_time() {
        let mut owner = Replication::default();
        let topics: Vec<_> = (0..10)
            .map(|n| TopicName::new(&format!("t.{n}")).unwrap())
            .collect();
        topics.iter().for_each(|topic| owner.join(topic, 1));
        let is_known = |topic: &TopicName| topic.as_str() == "t.3";
        owner.forget_ended(6, is_known);
        assert_eq!(owner.topics.len(), 5);
        owner.forget_ended(6, is_known);
        owner.forget_ended(6, is_known);
        assert_eq!(owner.sent_up_to(&topics[3]), Some(1));
        assert_eq!(owner.topics.len(), 1);
    }

    #[test]
    fn an_owner_that_is_only_silent_ends_its_epoch() {
        let now = ms(5_000);
        for (in_step, gone, stamp, goes_on) in [
            (true, Gone::Process, Some(ms(4_001)), true),
            (true, Gone::Process, Some(ms(4_000)), false),
            (true, Gone::Process, None, false),
            (true, Gone::Silent, Some(now), false),
            (true, Gone::Goodbye, None, true),
            (false, Gone::Goodbye, Some(now), false),
        ] {
            assert_eq!(
                may_go_on(in_step, gone, stamp, now),
                goes_on,
                "{gone:?} {stamp:?}"
            );
        }
    }
}
