//! What whoever uses jobs sees of them.

use futures::future::BoxFuture;

use super::{
    Claim, Enqueued, Error, Failed, Hold, Holder, Job, JobList, JobPage, NewJob, Ticket, Want,
};

/// Durable jobs, wherever they are kept: [`Jobs`](super::Jobs) over a store in this process, or
/// [`RemoteJobs`](super::RemoteJobs) behind gRPC.
///
/// Every call ends within some seconds. After an error for which [`Error::is_uncertain`] holds the change may have been
/// made; each call says what then is safe.
pub trait JobQueue: Send + Sync + 'static {
    /// Adds a job, unless an open one has its idempotency key. Sent again it adds nothing.
    fn enqueue(&self, job: NewJob) -> BoxFuture<'_, Result<Enqueued, Error>>;

    /// Takes a job that is ready; `None` if there is none or the fleet's bounds do not allow it now.
    ///
    /// A claim whose answer was lost ends after its time to live.
    fn claim(&self, want: Want) -> BoxFuture<'_, Result<Option<Claim>, Error>>;

    /// Lets a claim live its whole time again. To be called every third of [`Claim::ttl`].
    ///
    /// # Errors
    /// [`Error::Lost`] when it is somebody else's or nobody's: stop, and touch nothing outside any more.
    fn extend<'a>(&'a self, ticket: &'a Ticket) -> BoxFuture<'a, Result<(), Error>>;

    /// The job is done. Sent again it is done once.
    ///
    /// # Errors
    /// [`Error::Lost`] when the claim is no longer the caller's: somebody else does the job.
    fn complete<'a>(
        &'a self,
        ticket: &'a Ticket,
        result: String,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// The attempt failed; the job is tried again if that may help and attempts are left. Sent again it fails once.
    ///
    /// # Errors
    /// [`Error::Lost`] when the claim is no longer the caller's.
    fn fail<'a>(
        &'a self,
        ticket: &'a Ticket,
        error: String,
        retryable: bool,
    ) -> BoxFuture<'a, Result<Failed, Error>>;

    /// Gives the job back as if it had not been claimed. Sent again it is given back once.
    ///
    /// # Errors
    /// [`Error::Lost`] when the claim is no longer the caller's.
    fn release<'a>(&'a self, ticket: &'a Ticket) -> BoxFuture<'a, Result<(), Error>>;

    /// Ends an open job, whoever has it, or removes a dead one. Sent again it changes nothing.
    fn cancel<'a>(&'a self, queue: &'a str, job_id: &'a str) -> BoxFuture<'a, Result<Job, Error>>;

    /// Takes an exclusive hold.
    ///
    /// # Errors
    /// [`Error::Held`] with who has it. A hold whose answer was lost ends after its time to live.
    fn hold<'a>(
        &'a self,
        queue: &'a str,
        name: &'a str,
        holder: Holder,
    ) -> BoxFuture<'a, Result<Hold, Error>>;

    /// Lets a hold live its whole time again. To be called every third of [`Hold::ttl`].
    ///
    /// # Errors
    /// [`Error::Lost`] when it is no longer the caller's.
    fn extend_hold<'a>(&'a self, hold: &'a Hold) -> BoxFuture<'a, Result<(), Error>>;

    /// Ends a hold; one that is no longer the caller's is left alone.
    fn release_hold<'a>(&'a self, hold: &'a Hold) -> BoxFuture<'a, Result<(), Error>>;

    /// Jobs of a queue, a page at a time.
    fn list(&self, list: JobList) -> BoxFuture<'_, Result<JobPage, Error>>;

    /// One job, with its payload as long as it is open or dead.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none.
    fn get<'a>(&'a self, queue: &'a str, job_id: &'a str) -> BoxFuture<'a, Result<Job, Error>>;

    /// Gives a dead job all its attempts again. Sent again it changes nothing.
    ///
    /// # Errors
    /// [`Error::State`] when it is not dead, [`Error::KeyTaken`] when an open job has its idempotency key.
    fn requeue<'a>(&'a self, queue: &'a str, job_id: &'a str) -> BoxFuture<'a, Result<Job, Error>>;
}
