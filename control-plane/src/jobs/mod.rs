//! Durable jobs: work that survives whoever does it.
//!
//! A job waits by a `ready` key, which sorts by priority and time. A claim deletes that key and puts, in one
//! transaction, the `claim` key under a lease, the job with one more attempt, a `held` key under no lease, and the
//! place in the fleet's bound (`slot`) and the time of the last start (`gate`) where the fleet has bounds. The revision
//! at which the claim came to be is its **fence**: only who shows it completes or fails the job. When a holder dies its
//! lease takes `claim` and `slot`; `held` stays and tells that the job is to be given to others ([`Jobs::recover`]).
//! That happens when somebody claims, and every 30 s by the leader.
//!
//! Every change is one transaction that compares what it was made of, so a late one changes nothing. After a lost
//! answer the store is read again, and something that is the caller's alone tells whether the change was made: the id
//! of an added job, the lease of a claim or a hold, the fence of what settled a claim.
//!
//! Delivery is at least once, completion at most once: whatever a job does outside must be fit to be done again.

mod cancel;
mod claim;
mod duties;
mod enqueue;
mod error;
mod hold;
mod local;
mod moves;
mod prune;
mod queue;
mod read;
mod ready;
mod recover;
mod remote;
pub mod rules;
mod settle;
mod tries;
mod types;
pub(crate) mod wire;

pub use cancel::By;
pub(crate) use duties::run as run_duties;
pub use error::Error;
pub use local::{Jobs, Options};
pub use prune::Pruned;
pub use queue::JobQueue;
pub use remote::RemoteJobs;
pub use types::{
    Claim, DEFAULT_QUEUE, Enqueued, Failed, Hold, Holder, Job, JobList, JobPage, Limits, NewJob,
    PAYLOAD_BYTES_MAX, PRIORITY_MAX, Spec, State, TEXT_BYTES_MAX, TRACE_BYTES_MAX, Ticket, Want,
};
