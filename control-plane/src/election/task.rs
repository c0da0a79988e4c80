//! An instance in the election: standing by, leading, or giving back what it had.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use weir_core::backoff::Backoff;
use weir_proto::control::records::v1::Leader;

use super::seat::{Campaign, Mandate, Seat};
use super::{KEEP_ALIVE_EVERY, Options, Standing, TRY_WITHIN, TTL};
use crate::records;
use crate::store::follow::{self, Followed, Reason, follow};
use crate::store::{Entry, Error, Event, EventKind, Revision, Store};
use crate::wait::{answer, sleep_until};

const RETRY_MIN: Duration = Duration::from_millis(100);
/// Several tries fit between a keep-alive that failed and the end of the leadership.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// The answer to the one call in flight.
enum Answer {
    Campaigned(Result<Campaign, Error>),
    Kept {
        sent: Instant,
        result: Result<(), Error>,
    },
    GaveBack(Result<(), Error>),
}

pub(super) struct Task {
    seat: Seat,
    options: Options,
    random: fastrand::Rng,
    backoff: Backoff,
    publish: watch::Sender<Standing>,
    /// Set while this instance leads.
    mandate: Option<Mandate>,
    /// What it led with last, until the key is seen to be another's or gone.
    left: Option<Mandate>,
    /// What is at the key, as the follower told it.
    entry: Option<Entry>,
    /// Whether that is so now.
    is_entry_known: bool,
    call: Option<BoxFuture<'static, Answer>>,
    /// When to try, to keep alive or to give back.
    act_at: Option<Instant>,
}

impl Task {
    pub(super) fn new(
        store: Arc<dyn Store>,
        key: Bytes,
        options: Options,
        publish: watch::Sender<Standing>,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(options.seed);
        Self {
            seat: Seat::new(store, key, &options.instance),
            options,
            backoff: Backoff::new(RETRY_MIN..=RETRY_MAX, random.fork()),
            random,
            publish,
            mandate: None,
            left: None,
            entry: None,
            is_entry_known: false,
            call: None,
            act_at: None,
        }
    }

    /// Runs until it is told to resign, or the handle is gone.
    pub(super) async fn run(mut self, mut resigned: oneshot::Receiver<oneshot::Sender<()>>) {
        let options = follow::Options {
            backoff_max: RETRY_MAX * 2,
            ..follow::Options::new(self.random.u64(..))
        };
        let (store, key) = (Arc::clone(&self.seat.store), self.seat.key.clone());
        let mut follower = follow(store, key, options);
        loop {
            let ends_at = self.mandate.as_ref().map(Mandate::ends_at);
            tokio::select! {
                biased;
                done = &mut resigned => {
                    if let Ok(done) = done {
                        self.leave().await;
                        let _ = done.send(());
                    }
                    return;
                }
                () = sleep_until(ends_at) => self.step_down("no keep-alive worked in time"),
                answer = answer(&mut self.call) => self.proceed(answer),
                item = follower.next() => match item {
                    Some(item) => self.take_in(item),
                    None => return,
                },
                () = sleep_until(self.act_at), if self.call.is_none() => self.act(),
            }
            self.publish();
        }
    }

    /// Starts the call that is due.
    fn act(&mut self) {
        self.act_at = None;
        let seat = self.seat.clone();
        if let Some(mandate) = &self.mandate {
            let (lease, sent) = (mandate.lease, Instant::now());
            self.call = Some(Box::pin(async move {
                let result = seat.store.keep_alive(lease).await;
                Answer::Kept { sent, result }
            }));
        } else if let Some(left) = self.left_behind() {
            let left = left.clone();
            self.call = Some(Box::pin(async move {
                Answer::GaveBack(seat.give_back(left).await)
            }));
        } else if self.is_entry_known && self.entry.is_none() {
            self.call = Some(Box::pin(async move {
                Answer::Campaigned(seat.campaign().await)
            }));
        }
    }

    fn proceed(&mut self, answer: Answer) {
        let now = Instant::now();
        let failed = match answer {
            Answer::Campaigned(Ok(Campaign::Won(mandate))) => {
                tracing::info!(term = mandate.fence.term(), "this instance leads");
                self.act_at = Some(mandate.sent + KEEP_ALIVE_EVERY);
                self.mandate = Some(mandate);
                None
            }
            Answer::Campaigned(Ok(Campaign::Lost)) => {
                // The follower tells when it is free again; this is for what a follower may miss.
                self.act_at = self.act_at.or(Some(now + TTL));
                None
            }
            Answer::Kept {
                sent,
                result: Ok(()),
            } => {
                if let Some(mandate) = &mut self.mandate {
                    mandate.sent = sent;
                }
                self.act_at = Some(sent + KEEP_ALIVE_EVERY);
                None
            }
            Answer::Kept {
                result: Err(Error::LeaseNotFound),
                ..
            } => {
                self.step_down("its lease is gone");
                None
            }
            Answer::GaveBack(Ok(()) | Err(Error::LeaseNotFound)) => {
                self.left = None;
                self.plan();
                None
            }
            Answer::Campaigned(Err(error))
            | Answer::Kept {
                result: Err(error), ..
            }
            | Answer::GaveBack(Err(error)) => Some(error),
        };
        match failed {
            None => self.backoff.reset(),
            Some(error) => {
                tracing::debug!(%error, "the election goes on");
                self.act_at = Some(now + self.backoff.next_wait());
            }
        }
    }

    fn take_in(&mut self, item: Followed) {
        let (revision, events, is_other) = match item {
            Followed::Lost(_) => {
                self.is_entry_known = false;
                return;
            }
            Followed::Snapshot { revision, entries } => {
                let put = entries.into_iter().map(|entry| Event {
                    key: entry.key.clone(),
                    kind: EventKind::Put(entry),
                    previous: None,
                });
                (revision, put.collect(), false)
            }
            Followed::Changed { revision, events } => (revision, events, false),
            Followed::Resync {
                revision,
                reason,
                events,
            } => (revision, events, reason == Reason::OtherStore),
        };
        let of_the_seat = events
            .into_iter()
            .filter(|event| event.key == self.seat.key);
        for event in of_the_seat.collect::<Vec<Event>>() {
            self.entry = match event.kind {
                EventKind::Put(entry) => Some(entry),
                EventKind::Deleted => None,
            };
        }
        self.is_entry_known = true;
        self.see(revision, is_other);
    }

    /// Looks at what is at the key as of a revision.
    fn see(&mut self, revision: Revision, is_other_store: bool) {
        let term = self.mandate.as_ref().map(|mandate| mandate.fence.term);
        match term {
            None => self.plan(),
            Some(term) if self.is_entry_of(term) => {}
            // Older news than the leadership.
            Some(term) if revision < term && !is_other_store => {}
            Some(_) => self.step_down("the key is no longer its own"),
        }
    }

    fn step_down(&mut self, reason: &str) {
        if let Some(mandate) = self.mandate.take() {
            let term = mandate.fence.term();
            tracing::warn!(term, reason, "this instance leads no more");
            self.left = Some(mandate);
        }
        self.call = None;
        self.plan();
    }

    /// Decides what to do next, standing by.
    fn plan(&mut self) {
        let now = Instant::now();
        self.act_at = match (&self.entry, self.is_entry_known) {
            (_, false) => None,
            (None, true) => Some(now + TRY_WITHIN.mul_f64(self.random.f64())),
            (Some(_), true) => self.left_behind().map(|_| now),
        };
    }

    /// What this instance led with, if the key is still there: nobody can lead until it is gone.
    fn left_behind(&self) -> Option<&Mandate> {
        let is_there = |left: &&Mandate| self.is_entry_of(left.fence.term);
        self.left.as_ref().filter(is_there)
    }

    fn is_entry_of(&self, term: Revision) -> bool {
        let entry = self.entry.as_ref();
        entry.is_some_and(|entry| entry.create_revision == term)
    }

    async fn leave(&mut self) {
        if self.mandate.is_none()
            && let Some(call) = self.call.take()
            && let Answer::Campaigned(Ok(Campaign::Won(mandate))) = call.await
        {
            self.mandate = Some(mandate);
        }
        let mandate = self.mandate.take();
        self.entry = None;
        self.publish();
        if let Some(mandate) = mandate
            && let Err(error) = self.seat.clone().give_back(mandate).await
        {
            tracing::warn!(%error, "the leadership ends by itself in some seconds");
        }
    }

    fn publish(&self) {
        let standing = self.standing();
        self.publish.send_if_modified(|published| {
            let is_other = *published != standing;
            *published = standing;
            is_other
        });
    }

    fn standing(&self) -> Standing {
        if let Some(mandate) = &self.mandate {
            return Standing {
                leader: Some(self.options.instance.clone()),
                term: mandate.fence.term(),
                is_self: Some(mandate.fence.clone()),
            };
        }
        let entry = self.entry.as_ref().filter(|_| self.is_entry_known);
        // Given back soon.
        let Some(entry) = entry.filter(|_| self.left_behind().is_none()) else {
            return Standing::default();
        };
        let leader = records::decode::<Leader>(&entry.key, &entry.value);
        Standing {
            leader: leader.ok().map(|leader| leader.instance),
            term: entry.create_revision.0,
            is_self: None,
        }
    }
}
