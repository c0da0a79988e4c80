//! What one node tells the others of a VPN's port.

use std::time::{Duration, Instant};

use super::entry::{Entry, Known};
use super::state::{Failure, Outcome, Port, Reading, Reason, State};

/// What an entry knows, as its node tells it to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Of the entry; rises with each invalidation.
    pub epoch: u64,
    /// The newest answer; none since the last invalidation.
    pub latest: Option<Latest>,
    /// The last good port, when the newest answer is that nobody answers.
    pub fallback: Option<Good>,
}

/// The newest answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latest {
    /// What was said.
    pub reading: Reading,
    /// Since it was asked for.
    pub asked_age: Duration,
    /// Since the answer came.
    pub told_age: Duration,
}

/// A port that was right once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Good {
    /// Which.
    pub port: Port,
    /// Since it was asked for.
    pub age: Duration,
}

/// Whose picture it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The node.
    pub node: String,
    /// Of that node's entry: another number counts its epochs anew.
    pub incarnation: u64,
}

/// How far another node's pictures were followed.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    origin: Origin,
    epoch: u64,
    /// Things of this epoch are void here.
    pub(super) is_void: bool,
}

impl Entry {
    /// What this node tells others; ages are told, because clocks of nodes do not compare.
    pub fn picture(&self, now: Instant) -> Picture {
        let age = |at: Instant| now.saturating_duration_since(at);
        let is_out = self.state() == State::Failed(Failure::Unreachable);
        Picture {
            epoch: self.epoch,
            latest: self.latest.map(|known| Latest {
                reading: known.reading,
                asked_age: age(known.asked_at),
                told_age: age(known.told_at),
            }),
            fallback: self.good.filter(|_| is_out).map(|(port, asked_at)| Good {
                port,
                age: age(asked_at),
            }),
        }
    }

    /// Takes over what another node knows.
    ///
    /// `way` is how long the picture was under way at most: since this node asked for it, or zero on a stream that
    /// brings each picture at once. It counts as age, so what was asked for before an invalidation here is dropped.
    /// A higher epoch of the same origin invalidates here too. After an invalidation here, pictures of the epoch that
    /// was followed are dropped until the origin began another: tell it of the invalidation.
    pub fn learn(
        &mut self,
        now: Instant,
        origin: &Origin,
        picture: &Picture,
        way: Duration,
    ) -> Outcome {
        let before = self.state();
        if !self.follow(now, origin, picture.epoch) {
            return self.dropped();
        }
        let Some(latest) = picture.latest else {
            return self.changed_from(before);
        };
        let at = |age: Duration| now.checked_sub(age.saturating_add(way));
        let (Some(asked_at), Some(told_at)) = (at(latest.asked_age), at(latest.told_age)) else {
            return self.dropped();
        };
        if !self.is_news(asked_at) {
            return self.dropped();
        }
        self.take(Known {
            reading: latest.reading,
            asked_at,
            told_at,
        });
        let fallback = picture
            .fallback
            .and_then(|good| Some((good.port, at(good.age)?)));
        if let Some((port, asked_at)) = fallback
            && latest.reading == Err(Failure::Unreachable)
            && self.may_be_believed(asked_at)
            && self.good.is_none_or(|(_, ours)| ours < asked_at)
        {
            self.good = Some((port, asked_at));
        }
        self.changed_from(before)
    }

    /// Whether things of this epoch may be taken; begins a new epoch here when the origin did.
    fn follow(&mut self, now: Instant, origin: &Origin, epoch: u64) -> bool {
        let same = self
            .followed
            .as_ref()
            .filter(|followed| followed.origin == *origin);
        match same {
            Some(followed) if epoch < followed.epoch => return false,
            Some(followed) if epoch == followed.epoch => return !followed.is_void,
            Some(_) => {
                // What the origin knows it asked for in its new epoch, which began there before now.
                let void_before = self.void_before;
                self.invalidate(Reason::Owner, now);
                self.void_before = void_before;
            }
            None => {}
        }
        self.followed = Some(Followed {
            origin: origin.clone(),
            epoch,
            is_void: false,
        });
        true
    }

    pub(super) fn changed_from(&self, from: State) -> Outcome {
        let to = self.state();
        match from == to {
            true => Outcome::Same,
            false => Outcome::Changed { from, to },
        }
    }
}
