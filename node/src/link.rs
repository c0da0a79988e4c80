//! The bounded way to an actor.
//!
//! actix bounds a mailbox per address clone and `send` never waits, so the bound lies here: a permit
//! travels in each message and is released when the message was handled, skipped or dropped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Context, Handler, MailboxError, Message, Recipient};
use arc_swap::ArcSwapOption;
use tokio::time::Instant;
use weir_core::trace::TraceContext;

use crate::mailbox::{Mailbox, Place, Watched};

/// A message on its way, with the permit that counts it and the trace that it belongs to.
pub struct Carried<M> {
    /// What was sent.
    pub message: M,
    /// The sampled span that sent it.
    pub context: Option<TraceContext>,
    /// When it entered the mailbox.
    pub sent_at: Instant,
    /// Where its sender wants to know when it was taken.
    taken_at: Option<Arc<OnceLock<Instant>>>,
    _place: Place,
}

impl<M> Carried<M> {
    /// Its handler begins: what was before that was the wait in the mailbox.
    pub fn taken(&self) {
        if let Some(taken_at) = &self.taken_at {
            // The first time counts.
            let _ = taken_at.set(Instant::now());
        }
    }
}

impl<M: Message> Message for Carried<M> {
    type Result = M::Result;
}

/// Why an actor did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many messages wait as may wait.
    #[error("its queue is full")]
    Full,
    /// It is restarting or stopped.
    #[error("it is away")]
    Away,
    /// No answer in time.
    #[error("it did not answer in time")]
    Late,
}

/// How many messages one actor may have waiting, all kinds together.
#[derive(Clone, Debug)]
pub struct Permits(Mailbox);

impl Permits {
    /// At most `waiting_max` messages.
    pub fn new(waiting_max: usize) -> Self {
        Self(Mailbox::new(waiting_max))
    }
}

/// An answer, and how long its question waited in the mailbox.
pub type Timed<R> = (R, Duration);

/// The way to one actor for one kind of message. Cheap to clone; survives restarts of its target.
pub struct Link<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    to: Arc<ArcSwapOption<Recipient<Carried<M>>>>,
    permits: Permits,
    lives: Arc<AtomicU64>,
}

impl<M> Clone for Link<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self {
            to: Arc::clone(&self.to),
            permits: self.permits.clone(),
            lives: Arc::clone(&self.lives),
        }
    }
}

impl<M> Link<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// A link that leads nowhere until the guardian points it at a life of its target.
    pub fn new(permits: &Permits) -> Self {
        Self {
            to: Arc::new(ArcSwapOption::empty()),
            permits: permits.clone(),
            lives: Arc::default(),
        }
    }

    /// Hands the message over or refuses at once; never waits.
    pub fn offer(&self, message: M) -> Result<(), Refused> {
        let carried = self.carry(message, None)?;
        let to = self.to.load();
        let to = to.as_ref().ok_or(Refused::Away)?;
        to.try_send(carried).map_err(|_| Refused::Away)
    }

    /// As [`Link::offer`]; a message that is refused comes back.
    pub fn offer_back(&self, message: M) -> Result<(), M> {
        let to = self.to.load();
        let Some(to) = to.as_ref() else {
            return Err(message);
        };
        match self.permits.0.place() {
            // Between here and there nobody takes it back: a target that ends drops it with its mailbox.
            Some(place) => to
                .try_send(carried(message, None, place))
                .map_err(|refused| refused.into_inner().message),
            None => Err(message),
        }
    }

    /// Asks and waits for the answer, at most `within`.
    pub async fn ask(
        &self,
        message: M,
        context: Option<TraceContext>,
        within: Duration,
    ) -> Result<M::Result, Refused> {
        self.send(self.carry(message, context)?, within).await
    }

    async fn send(&self, carried: Carried<M>, within: Duration) -> Result<M::Result, Refused> {
        let to = self.to.load_full().ok_or(Refused::Away)?;
        to.send(carried)
            .timeout(within)
            .await
            .map_err(|error| match error {
                MailboxError::Closed => Refused::Away,
                MailboxError::Timeout => Refused::Late,
            })
    }

    /// As [`Link::ask`], and tells how long the message waited to be taken, if its handler says so.
    pub async fn ask_timed(
        &self,
        message: M,
        within: Duration,
    ) -> Result<Timed<M::Result>, Refused> {
        let taken_at = Arc::<OnceLock<Instant>>::default();
        let carried = Carried {
            taken_at: Some(Arc::clone(&taken_at)),
            ..self.carry(message, None)?
        };
        let sent_at = carried.sent_at;
        let answer = self.send(carried, within).await?;
        let taken_at = taken_at.get().copied().unwrap_or(sent_at);
        Ok((answer, taken_at.saturating_duration_since(sent_at)))
    }

    /// Points at a new life of the target.
    pub(crate) fn point_at<A>(&self, life: &Addr<A>)
    where
        A: Actor<Context = Context<A>> + Handler<Carried<M>>,
        Context<A>: ToEnvelope<A, Carried<M>>,
    {
        self.to.store(Some(Arc::new(life.clone().recipient())));
        self.lives.fetch_add(1, Ordering::Relaxed);
    }

    /// The target's mailbox and restarts; of all links to one target any does.
    pub fn watched(&self, name: &'static str) -> Watched {
        Watched::new(name, &self.permits.0, &self.lives)
    }

    fn carry(&self, message: M, context: Option<TraceContext>) -> Result<Carried<M>, Refused> {
        let place = self.permits.0.place().ok_or(Refused::Full)?;
        Ok(carried(message, context, place))
    }
}

fn carried<M>(message: M, context: Option<TraceContext>, place: Place) -> Carried<M> {
    Carried {
        message,
        context,
        sent_at: place.taken_at(),
        taken_at: None,
        _place: place,
    }
}
