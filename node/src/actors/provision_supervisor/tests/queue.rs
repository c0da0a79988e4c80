//! The queue of jobs as one life of a node reaches it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::future::BoxFuture;
use weir_control_plane::jobs::{
    Claim, Enqueued, Error, Failed, Hold, Holder, Job, JobList, JobPage, JobQueue, Jobs, NewJob,
    Ticket, Want,
};
use weir_control_plane::store;

use super::way::Way;

/// Jobs behind a way that can be cut, in a store that can be away.
pub(super) struct Reached {
    pub(super) jobs: Jobs,
    pub(super) way: Way,
    pub(super) is_away: Arc<AtomicBool>,
    /// Pages of jobs that were asked for.
    pub(super) pages: Arc<AtomicU64>,
}

impl Reached {
    async fn change<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.there()?;
        self.way.point().await;
        self.there()?;
        let answer = call.await;
        self.way.point().await;
        match self.way.store_is_away() {
            true => Err(away()),
            false => answer,
        }
    }

    async fn look<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.there()?;
        self.way.pass_unless_cut(call).await
    }

    fn there(&self) -> Result<(), Error> {
        match self.is_away.load(Ordering::Relaxed) || self.way.store_is_away() {
            true => Err(away()),
            false => Ok(()),
        }
    }
}

fn away() -> Error {
    Error::Store(store::Error::Unavailable {
        reason: "as the test wished".to_owned(),
    })
}

impl JobQueue for Reached {
    fn enqueue(&self, job: NewJob) -> BoxFuture<'_, Result<Enqueued, Error>> {
        Box::pin(self.change(self.jobs.enqueue(job)))
    }

    fn claim(&self, want: Want) -> BoxFuture<'_, Result<Option<Claim>, Error>> {
        Box::pin(self.change(self.jobs.claim(want)))
    }

    fn extend<'a>(&'a self, ticket: &'a Ticket) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.look(self.jobs.extend(ticket)))
    }

    fn complete<'a>(
        &'a self,
        ticket: &'a Ticket,
        result: String,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.change(self.jobs.complete(ticket, result)))
    }

    fn fail<'a>(
        &'a self,
        ticket: &'a Ticket,
        error: String,
        retryable: bool,
    ) -> BoxFuture<'a, Result<Failed, Error>> {
        Box::pin(self.change(self.jobs.fail(ticket, error, retryable)))
    }

    fn release<'a>(&'a self, ticket: &'a Ticket) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.change(self.jobs.release(ticket)))
    }

    fn cancel<'a>(&'a self, queue: &'a str, job_id: &'a str) -> BoxFuture<'a, Result<Job, Error>> {
        Box::pin(self.change(self.jobs.cancel(queue, job_id)))
    }

    fn hold<'a>(
        &'a self,
        queue: &'a str,
        name: &'a str,
        holder: Holder,
    ) -> BoxFuture<'a, Result<Hold, Error>> {
        Box::pin(self.change(self.jobs.hold(queue, name, holder)))
    }

    fn extend_hold<'a>(&'a self, hold: &'a Hold) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.look(self.jobs.extend_hold(hold)))
    }

    fn release_hold<'a>(&'a self, hold: &'a Hold) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.change(self.jobs.release_hold(hold)))
    }

    fn list(&self, list: JobList) -> BoxFuture<'_, Result<JobPage, Error>> {
        self.pages.fetch_add(1, Ordering::Relaxed);
        Box::pin(self.look(self.jobs.list(list)))
    }

    fn get<'a>(&'a self, queue: &'a str, job_id: &'a str) -> BoxFuture<'a, Result<Job, Error>> {
        Box::pin(self.look(self.jobs.get(queue, job_id)))
    }

    fn requeue<'a>(&'a self, queue: &'a str, job_id: &'a str) -> BoxFuture<'a, Result<Job, Error>> {
        Box::pin(self.change(self.jobs.requeue(queue, job_id)))
    }
}
