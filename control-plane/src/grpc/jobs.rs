//! `weir.control.v1.Jobs`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::jobs_server;

use super::{actor_of, status};
use crate::clock::NowUnixMs;
use crate::governance::audit::Actor;
use crate::governance::guard::allow;
use crate::governance::identity::Action;
use crate::jobs::{By, Error, Failed, JobQueue as _, Jobs, wire};

/// Durable jobs.
pub struct JobsService {
    jobs: Arc<Jobs>,
    now_unix_ms: NowUnixMs,
}

impl std::fmt::Debug for JobsService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobsService").finish_non_exhaustive()
    }
}

impl JobsService {
    /// On these jobs and this clock.
    pub fn new(jobs: Arc<Jobs>, now_unix_ms: NowUnixMs) -> Self {
        Self { jobs, now_unix_ms }
    }

    fn by<'a>(&self, actor: &'a Actor, message: &'a str) -> By<'a> {
        By {
            actor,
            message,
            now_unix_ms: (self.now_unix_ms)(),
            audit_id: fastrand::u64(..),
        }
    }
}

/// A node works only as itself.
fn works<T>(request: &Request<T>, node_id: &str) -> Result<(), Status> {
    allow(request, &Action::WorkAs(node_id)).map(drop)
}

/// The ticket of a request, if it is that of the node that asks.
fn ticket_of<T>(
    request: &Request<T>,
    of: impl Fn(&T) -> &Option<pb::JobTicket>,
) -> Result<pb::JobTicket, Status> {
    let ticket = of(request.get_ref()).clone().unwrap_or_default();
    works(request, &ticket.node_id)?;
    Ok(ticket)
}

fn node_of(holder: &Option<pb::JobHolder>) -> &str {
    holder.as_ref().map_or("", |holder| &*holder.node_id)
}

/// A hold of a request, if it is that of the node that asks.
fn hold_of<T>(
    request: &Request<T>,
    of: impl Fn(&T) -> &Option<pb::JobHold>,
) -> Result<crate::jobs::Hold, Status> {
    let hold = of(request.get_ref()).clone().unwrap_or_default();
    works(request, node_of(&hold.holder))?;
    Ok(wire::hold(hold))
}

fn answer<T, W>(
    done: Result<T, Error>,
    on_wire: impl FnOnce(T) -> W,
) -> Result<Response<W>, Status> {
    match done {
        Ok(done) => Ok(Response::new(on_wire(done))),
        Err(error) => Err(status::jobs(&error)),
    }
}

#[tonic::async_trait]
impl jobs_server::Jobs for JobsService {
    async fn enqueue(
        &self,
        request: Request<pb::EnqueueJobRequest>,
    ) -> Result<Response<pb::EnqueueJobResponse>, Status> {
        let asked = request.get_ref();
        let actor = match &*asked.node_id {
            "" => Some(actor_of(&request, &Action::ChangeJobs, &asked.author)?),
            node_id => {
                works(&request, node_id)?;
                None
            }
        };
        let asked = request.into_inner();
        let message = asked.message.clone();
        let by = actor.as_ref().map(|actor| self.by(actor, &message));
        let added = self.jobs.enqueue_by(wire::new_job(asked), by).await;
        answer(added, |added| pb::EnqueueJobResponse {
            job_id: added.job_id,
            already: added.already,
        })
    }

    async fn claim(
        &self,
        request: Request<pb::ClaimJobRequest>,
    ) -> Result<Response<pb::ClaimJobResponse>, Status> {
        works(&request, node_of(&request.get_ref().holder))?;
        let want = wire::want(request.into_inner());
        answer(self.jobs.claim(want).await, wire::claim_response)
    }

    async fn extend(
        &self,
        request: Request<pb::ExtendJobRequest>,
    ) -> Result<Response<pb::ExtendJobResponse>, Status> {
        let ticket = ticket_of(&request, |asked| &asked.ticket)?;
        let kept = self.jobs.extend(&ticket).await;
        answer(kept, |()| pb::ExtendJobResponse {})
    }

    async fn complete(
        &self,
        request: Request<pb::CompleteJobRequest>,
    ) -> Result<Response<pb::CompleteJobResponse>, Status> {
        let ticket = ticket_of(&request, |asked| &asked.ticket)?;
        let done = self
            .jobs
            .complete(&ticket, request.into_inner().result)
            .await;
        answer(done, |()| pb::CompleteJobResponse {})
    }

    async fn fail(
        &self,
        request: Request<pb::FailJobRequest>,
    ) -> Result<Response<pb::FailJobResponse>, Status> {
        let ticket = ticket_of(&request, |asked| &asked.ticket)?;
        let asked = request.into_inner();
        let failed = self.jobs.fail(&ticket, asked.error, asked.retryable).await;
        answer(failed, |failed| pb::FailJobResponse {
            retry_at_unix_ms: match failed {
                Failed::RetryAt(at) => at,
                Failed::Dead => 0,
            },
        })
    }

    async fn release(
        &self,
        request: Request<pb::ReleaseJobRequest>,
    ) -> Result<Response<pb::ReleaseJobResponse>, Status> {
        let ticket = ticket_of(&request, |asked| &asked.ticket)?;
        let given = self.jobs.release(&ticket).await;
        answer(given, |()| pb::ReleaseJobResponse {})
    }

    async fn cancel(
        &self,
        request: Request<pb::CancelJobRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        let asked = request.get_ref();
        let actor = actor_of(&request, &Action::ChangeJobs, &asked.author)?;
        let by = Some(self.by(&actor, &asked.message));
        let cancelled = self.jobs.cancel_by(&asked.queue, &asked.job_id, by).await;
        answer(cancelled, |job| job)
    }

    async fn hold(
        &self,
        request: Request<pb::HoldRequest>,
    ) -> Result<Response<pb::JobHold>, Status> {
        works(&request, node_of(&request.get_ref().holder))?;
        let asked = request.into_inner();
        let holder = asked.holder.unwrap_or_default();
        let held = self.jobs.hold(&asked.queue, &asked.name, holder).await;
        answer(held, wire::hold_message)
    }

    async fn extend_hold(
        &self,
        request: Request<pb::ExtendHoldRequest>,
    ) -> Result<Response<pb::ExtendHoldResponse>, Status> {
        let hold = hold_of(&request, |asked| &asked.hold)?;
        let kept = self.jobs.extend_hold(&hold).await;
        answer(kept, |()| pb::ExtendHoldResponse {})
    }

    async fn release_hold(
        &self,
        request: Request<pb::ReleaseHoldRequest>,
    ) -> Result<Response<pb::ReleaseHoldResponse>, Status> {
        let hold = hold_of(&request, |asked| &asked.hold)?;
        let ended = self.jobs.release_hold(&hold).await;
        answer(ended, |()| pb::ReleaseHoldResponse {})
    }

    async fn list(
        &self,
        request: Request<pb::ListJobsRequest>,
    ) -> Result<Response<pb::ListJobsResponse>, Status> {
        match &*request.get_ref().node_id {
            "" => allow(&request, &Action::ReadAll).map(drop)?,
            // Who decides how many engines there are has to know which are under way.
            node_id => works(&request, node_id)?,
        }
        let list = wire::list(request.into_inner());
        answer(self.jobs.list(list).await, wire::list_response)
    }

    async fn get(&self, request: Request<pb::GetJobRequest>) -> Result<Response<pb::Job>, Status> {
        allow(&request, &Action::ReadAll)?;
        let asked = request.get_ref();
        let found = self.jobs.get(&asked.queue, &asked.job_id).await;
        answer(found, |job| job)
    }

    async fn requeue(
        &self,
        request: Request<pb::RequeueJobRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        let asked = request.get_ref();
        let actor = actor_of(&request, &Action::ChangeJobs, &asked.author)?;
        let by = Some(self.by(&actor, &asked.message));
        let again = self.jobs.requeue_by(&asked.queue, &asked.job_id, by).await;
        answer(again, |job| job)
    }
}
