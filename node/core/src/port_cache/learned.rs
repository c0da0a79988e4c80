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

/// A picture that is pushed is under way for less than this: a stream that is slower has to be broken off.
pub const PUSH_DELAY_MAX: Duration = Duration::from_secs(30);

/// How a picture came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// On a stream, in the order in which pictures were made.
    Pushed,
    /// As the answer to a question that this node asked.
    Asked {
        /// When.
        at: Instant,
    },
    /// As the answer of an origin that was told of an invalidation here, and began a new epoch for it.
    Invalidated {
        /// When it was told.
        at: Instant,
    },
}

impl Came {
    /// How long it was under way at most, as far as that is known.
    fn way(self, now: Instant) -> Duration {
        match self {
            Self::Pushed => Duration::ZERO,
            Self::Asked { at } | Self::Invalidated { at } => now.saturating_duration_since(at),
        }
    }
}

/// How far another node's pictures were followed.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    origin: Origin,
    epoch: u64,
    /// The origin began this epoch, or one before it, after the last invalidation here: whatever it knows was asked
    /// for since.
    pub(super) is_confirmed: bool,
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
    /// A higher epoch of the same origin invalidates here too. After an invalidation here, tell the origin and learn
    /// its answer as [`Came::Invalidated`]: until then only what was certainly asked for since is taken. When a
    /// question was put to the owner, learn its answer and then abandon the question's ticket.
    pub fn learn(
        &mut self,
        now: Instant,
        origin: &Origin,
        picture: &Picture,
        came: Came,
    ) -> Outcome {
        let before = self.state();
        if !self.follow(now, origin, picture.epoch, came) {
            return self.dropped();
        }
        let Some(latest) = picture.latest else {
            return self.changed_from(before);
        };
        let at = |age: Duration| now.checked_sub(age.saturating_add(came.way(now)));
        let (Some(asked_at), Some(told_at)) = (at(latest.asked_age), at(latest.told_age)) else {
            return self.dropped();
        };
        let is_newer = self.latest.is_none_or(|known| asked_at >= known.asked_at);
        if !is_newer || !self.is_certain(asked_at, came) {
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
            && self.is_certain(asked_at, came)
            && self.good.is_none_or(|(_, ours)| ours < asked_at)
        {
            self.good = Some((port, asked_at));
        }
        self.changed_from(before)
    }

    /// False for an epoch that is over; begins a new epoch here when the origin did.
    fn follow(&mut self, now: Instant, origin: &Origin, epoch: u64, came: Came) -> bool {
        let before = self.followed.take_if(|followed| followed.origin == *origin);
        if let Some(followed) = &before {
            if epoch < followed.epoch {
                self.followed = before;
                return false;
            }
            if epoch > followed.epoch {
                // What the origin knows it asked for in its new epoch, which began there before now.
                let void_before = self.void_before;
                self.invalidate(Reason::Owner, now);
                self.void_before = void_before;
            }
        }
        let is_confirmed_now = match came {
            Came::Invalidated { at } => self.may_be_believed(at),
            Came::Pushed | Came::Asked { .. } => false,
        };
        self.followed = Some(Followed {
            origin: origin.clone(),
            epoch,
            is_confirmed: is_confirmed_now || before.is_some_and(|followed| followed.is_confirmed),
        });
        true
    }

    /// Whether something was certainly asked for after the last invalidation here.
    fn is_certain(&self, asked_at: Instant, came: Came) -> bool {
        let is_confirmed = self
            .followed
            .as_ref()
            .is_some_and(|followed| followed.is_confirmed);
        match came {
            _ if is_confirmed => true,
            Came::Pushed => self
                .void_before
                .is_none_or(|void| asked_at >= void + PUSH_DELAY_MAX),
            Came::Asked { .. } | Came::Invalidated { .. } => self.may_be_believed(asked_at),
        }
    }

    pub(super) fn changed_from(&self, from: State) -> Outcome {
        let to = self.state();
        match from == to {
            true => Outcome::Same,
            false => Outcome::Changed { from, to },
        }
    }
}
