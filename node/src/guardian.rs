//! Restarts an actor that panicked, within a budget.
//!
//! actix's own supervisor does not restart after a panic. Here each life is a fresh actor from the
//! factory with a fresh address, which `publish` hands to every link.

use std::collections::VecDeque;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext as _, Context};
use tokio::time::Instant;

/// How many restarts are allowed, and how long to wait before each.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Restarts within `window`; one more ends the node.
    pub restarts_max: usize,
    /// The length of the window.
    pub window: Duration,
    /// The wait before the first restart; doubles with each further one in the window.
    pub backoff: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            restarts_max: 5,
            window: Duration::from_secs(60),
            backoff: Duration::from_millis(50),
        }
    }
}

/// An actor panicked more often than its budget allows.
#[derive(Debug, thiserror::Error)]
#[error("actor {actor} panicked {panics} times within {window:?}")]
pub struct BudgetSpent {
    /// The actor's name.
    pub actor: &'static str,
    /// How often it panicked.
    pub panics: usize,
    /// Within which time.
    pub window: Duration,
}

/// Runs lives of an actor until one stops by itself (`Ok`) or the budget is spent.
///
/// # Errors
/// [`BudgetSpent`] when the actor panicked too often; the node must end then.
pub async fn guard<A, F, P>(
    name: &'static str,
    waiting_max: usize,
    budget: Budget,
    mut make: F,
    mut publish: P,
) -> Result<(), BudgetSpent>
where
    A: Actor<Context = Context<A>>,
    F: FnMut() -> A,
    P: FnMut(&Addr<A>),
{
    let mut panics: VecDeque<Instant> = VecDeque::new();
    loop {
        let mut context = Context::<A>::new();
        // The links' permits are the bound; the mailbox must not refuse below it.
        context.set_mailbox_capacity(waiting_max);
        let life = context.address();
        publish(&life);
        let ended = tokio::task::spawn_local(context.into_future(make())).await;
        match ended {
            Err(error) if error.is_panic() => {}
            _ => return Ok(()),
        }
        let now = Instant::now();
        panics.push_back(now);
        while panics.front().is_some_and(|at| now - *at > budget.window) {
            panics.pop_front();
        }
        if panics.len() > budget.restarts_max {
            return Err(BudgetSpent {
                actor: name,
                panics: panics.len(),
                window: budget.window,
            });
        }
        let doublings = u32::try_from(panics.len() - 1).unwrap_or(u32::MAX).min(16);
        let wait = budget.backoff * 2_u32.pow(doublings);
        tracing::error!(
            actor = name,
            restart = panics.len(),
            ?wait,
            "actor panicked, restarting"
        );
        tokio::time::sleep(wait).await;
    }
}
