//! What everyone else holds of the agent.

use std::sync::Arc;
use std::time::Duration;

use weir_core::trace::TraceContext;

use super::watch::Unreadable;
use super::{Applied, InForce, MESSAGES_WAITING_MAX, Offer, Rejected, Take, Verdict};
use crate::config::Give;
use crate::link::{Link, Permits, Refused};
use crate::snapshot::Snapshot;

/// How long a caller waits for a verdict.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(10);

/// The agent, for everyone else. Cheap to clone.
#[derive(Clone)]
pub struct ConfigAgentHandle {
    pub(crate) offer: Link<Offer>,
    pub(crate) take: Link<Take>,
    in_force: Snapshot<InForce>,
    pub(super) unreadable: Snapshot<Option<Unreadable>>,
}

impl ConfigAgentHandle {
    /// A handle to an agent that publishes to `in_force`.
    pub fn new(in_force: &Snapshot<InForce>) -> Self {
        let permits = Permits::new(MESSAGES_WAITING_MAX);
        Self {
            offer: Link::new(&permits),
            take: Link::new(&permits),
            in_force: in_force.clone(),
            unreadable: Snapshot::new(None),
        }
    }

    /// Asks for `text` to come into force.
    ///
    /// # Errors
    /// [`Refused`] when the agent did not answer; [`Rejected`] when it said no.
    pub async fn offer(&self, text: String) -> Result<Result<Applied, Rejected>, Refused> {
        self.offer.ask(Offer { text }, None, VERDICT_TIMEOUT).await
    }

    /// Hands over what the control plane gives. Weights and registered backends are never refused.
    ///
    /// # Errors
    /// [`Refused`] when the agent or the load balancer did not answer: nothing is known, and giving it again does
    /// no harm. Every problem when the profile does not go with the file; the old one stays in force then.
    pub async fn take(&self, give: Give) -> Result<Verdict, Refused> {
        self.take_under(give, None).await
    }

    /// The same on behalf of a span.
    ///
    /// # Errors
    /// Those of [`Self::take`].
    pub async fn take_under(
        &self,
        give: Give,
        context: Option<TraceContext>,
    ) -> Result<Verdict, Refused> {
        let take = Take { give };
        self.take.ask(take, context, VERDICT_TIMEOUT).await?
    }

    /// Why the file cannot be read, for people; `None` while it can.
    pub fn file_problem(&self) -> Option<String> {
        self.unreadable
            .load()
            .as_ref()
            .as_ref()
            .map(Unreadable::problem)
    }

    /// What is in force.
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.load()
    }
}
