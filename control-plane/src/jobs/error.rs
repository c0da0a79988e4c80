//! Why something was not done with a job.

use weir_core::tuning::Problem;

use super::types::{Holder, State};
use crate::keys::InvalidName;
use crate::problem::one_line;
use crate::{records, store};

/// Why something was not done with a job.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong.
    #[error("{}", one_line(.0))]
    Problems(Vec<Problem>),
    /// The claim or the hold is no longer the caller's.
    #[error("`{name}` is no longer claimed or held by the caller{}", taken(.by))]
    Lost {
        /// The job or the hold.
        name: String,
        /// Who has it now, if somebody has.
        by: Option<Holder>,
    },
    /// Somebody else has the hold.
    #[error("`{name}` is held by {}", told(.by))]
    Held {
        /// What is held.
        name: String,
        /// By whom.
        by: Holder,
    },
    /// The queue is full.
    #[error("queue `{queue}` has {open} open jobs, and may have {open_max}")]
    Full {
        /// Which.
        queue: String,
        /// Its open jobs.
        open: u64,
        /// The bound.
        open_max: u64,
    },
    /// There is no such job, or it is forgotten.
    #[error("no job `{job_id}` is known")]
    NotFound {
        /// Its id.
        job_id: String,
    },
    /// The job's state forbids it.
    #[error("job `{job_id}` is {}", state_text(*.state))]
    State {
        /// Which.
        job_id: String,
        /// How it is.
        state: State,
    },
    /// Only one open job may have an idempotency key.
    #[error("the open job `{by_job_id}` has the idempotency key of `{job_id}`")]
    KeyTaken {
        /// The job that wants it.
        job_id: String,
        /// The job that has it.
        by_job_id: String,
    },
    /// The store did not do it.
    #[error(transparent)]
    Store(store::Error),
    /// The answer was lost, and the store stayed away: it may have been done.
    #[error("it may have been done or not: the store's answer was lost")]
    Uncertain(#[source] store::Error),
    /// Others changed the same all the time.
    #[error("others changed the same all the time; nothing was done")]
    Contended,
    /// What the store holds cannot be read.
    #[error(transparent)]
    Record(#[from] records::Error),
    /// The control plane said no for another reason, or is away.
    #[error("the control plane: {message}")]
    Remote {
        /// What kind of reason.
        code: tonic::Code,
        /// In words.
        message: String,
        /// Whether it may have been done.
        uncertain: bool,
    },
}

impl Error {
    /// Whether the change may have been made all the same.
    pub fn is_uncertain(&self) -> bool {
        match self {
            Self::Uncertain(_) => true,
            Self::Remote { uncertain, .. } => *uncertain,
            _ => false,
        }
    }

    /// Whether the caller has to stop, because what it works on is no longer its own.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }
}

impl From<InvalidName> for Error {
    fn from(name: InvalidName) -> Self {
        Self::Problems(vec![name.into()])
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

/// A state as people read it.
pub(crate) fn state_text(state: State) -> &'static str {
    match state {
        State::Unspecified => "unknown",
        State::Ready => "ready",
        State::Waiting => "waiting",
        State::Claimed => "claimed",
        State::Dead => "dead",
        State::Done => "done",
        State::Cancelled => "cancelled",
    }
}

fn told(holder: &Holder) -> String {
    format!("node `{}` (boot {})", holder.node_id, holder.boot_id)
}

fn taken(by: &Option<Holder>) -> String {
    by.as_ref()
        .map_or_else(String::new, |by| format!("; {} has it", told(by)))
}
