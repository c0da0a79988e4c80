//! Jobs behind a control plane.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::jobs_client::JobsClient;

use super::error::Error;
use super::queue::JobQueue;
use super::rules::job_id;
use super::types::{
    Claim, Enqueued, Failed, Hold, Holder, Job, JobList, JobPage, NewJob, Ticket, Want,
};
use super::wire;
use crate::clock::NowUnixMs;

/// No call takes longer: the control plane itself tries for 5 s.
const CALL_LIMIT: Duration = Duration::from_secs(8);
/// How often a call is made that does the same however often it is made.
const CALLS_MAX: u32 = 3;
/// Before it is made again.
const PAUSE: Duration = Duration::from_millis(200);

/// Jobs of a control plane, for one node. Cheap calls on a channel that reconnects by itself.
pub struct RemoteJobs {
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
    node_id: String,
    now: NowUnixMs,
    draws: AtomicU64,
}

impl std::fmt::Debug for RemoteJobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let node_id = &self.node_id;
        f.debug_struct("RemoteJobs")
            .field("node_id", node_id)
            .finish_non_exhaustive()
    }
}

impl RemoteJobs {
    /// Those that this channel leads to, as this node. `token` is the header that proves it (`Bearer TOKEN`), where it
    /// takes one; `now` is the wall clock in ms since 1970; `seed` is for the names of jobs: draw it at random.
    pub fn new(
        channel: Channel,
        token: Option<MetadataValue<Ascii>>,
        node_id: &str,
        now: NowUnixMs,
        seed: u64,
    ) -> Self {
        Self {
            channel,
            token,
            node_id: node_id.to_owned(),
            now,
            draws: AtomicU64::new(seed),
        }
    }

    fn client(&self) -> JobsClient<Channel> {
        JobsClient::new(self.channel.clone())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        request
    }

    /// One call, or some while the control plane is away, if it does the same however often it is made.
    async fn call<M: Clone, T>(
        &self,
        kind: Call,
        message: M,
        call: impl AsyncCall<M, T>,
    ) -> Result<T, Error> {
        let answered = tokio::time::timeout(CALL_LIMIT, self.answered(kind, message, call)).await;
        let status = match answered {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded(format!("no answer within {CALL_LIMIT:?}")),
        };
        Err(wire::error(&status, kind != Call::Reads))
    }

    async fn answered<M: Clone, T>(
        &self,
        kind: Call,
        message: M,
        call: impl AsyncCall<M, T>,
    ) -> Result<T, Status> {
        let mut calls = 1;
        loop {
            let asked = call.start(self.client(), self.request(message.clone()));
            let status = match asked.await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            let may_help = kind != Call::Once && status.code() == Code::Unavailable;
            if !may_help || calls == CALLS_MAX {
                return Err(status);
            }
            calls += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether a call may be made again when its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// It changes nothing.
    Reads,
    /// Made twice, it changes the same as once.
    Repeats,
    /// Made twice, it may take something twice.
    Once,
}

type Answer<T> = BoxFuture<'static, Result<Response<T>, Status>>;

/// A method of the client.
trait AsyncCall<M, T>: Send + Sync {
    fn start(&self, client: JobsClient<Channel>, request: Request<M>) -> Answer<T>;
}

impl<M, T, F> AsyncCall<M, T> for F
where
    F: Fn(JobsClient<Channel>, Request<M>) -> Answer<T> + Send + Sync,
{
    fn start(&self, client: JobsClient<Channel>, request: Request<M>) -> Answer<T> {
        self(client, request)
    }
}

/// A method of the client as [`AsyncCall`] wants it.
macro_rules! method {
    ($name:ident) => {
        |mut client: JobsClient<Channel>, request| -> Answer<_> {
            Box::pin(async move { client.$name(request).await })
        }
    };
}

impl JobQueue for RemoteJobs {
    fn enqueue(&self, mut job: NewJob) -> BoxFuture<'_, Result<Enqueued, Error>> {
        Box::pin(async move {
            let step = 0x9e37_79b9_7f4a_7c15;
            let draw = self.draws.fetch_add(step, Ordering::Relaxed);
            let random = fastrand::Rng::with_seed(draw).u64(..);
            // Named here, so that it is one job however often it is sent.
            job.job_id
                .get_or_insert_with(|| job_id((self.now)(), random));
            let request = wire::enqueue_request(job, &self.node_id);
            let added = self.call(Call::Repeats, request, method!(enqueue)).await?;
            Ok(Enqueued {
                job_id: added.job_id,
                already: added.already,
            })
        })
    }

    fn claim(&self, want: Want) -> BoxFuture<'_, Result<Option<Claim>, Error>> {
        Box::pin(async move {
            let request = wire::claim_request(want);
            let taken = self.call(Call::Once, request, method!(claim)).await?;
            Ok(wire::claim(taken))
        })
    }

    fn extend<'a>(&'a self, ticket: &'a Ticket) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let ticket = Some(ticket.clone());
            let request = pb::ExtendJobRequest { ticket };
            self.call(Call::Repeats, request, method!(extend)).await?;
            Ok(())
        })
    }

    fn complete<'a>(
        &'a self,
        ticket: &'a Ticket,
        result: String,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let ticket = Some(ticket.clone());
            let request = pb::CompleteJobRequest { ticket, result };
            self.call(Call::Repeats, request, method!(complete)).await?;
            Ok(())
        })
    }

    fn fail<'a>(
        &'a self,
        ticket: &'a Ticket,
        error: String,
        retryable: bool,
    ) -> BoxFuture<'a, Result<Failed, Error>> {
        Box::pin(async move {
            let request = pb::FailJobRequest {
                ticket: Some(ticket.clone()),
                error: super::rules::bounded(&error),
                retryable,
            };
            let failed = self.call(Call::Repeats, request, method!(fail)).await?;
            Ok(match failed.retry_at_unix_ms {
                0 => Failed::Dead,
                at => Failed::RetryAt(at),
            })
        })
    }

    fn release<'a>(&'a self, ticket: &'a Ticket) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let ticket = Some(ticket.clone());
            let request = pb::ReleaseJobRequest { ticket };
            self.call(Call::Repeats, request, method!(release)).await?;
            Ok(())
        })
    }

    fn cancel<'a>(&'a self, queue: &'a str, job_id: &'a str) -> BoxFuture<'a, Result<Job, Error>> {
        Box::pin(async move {
            let request = pb::CancelJobRequest {
                queue: queue.to_owned(),
                job_id: job_id.to_owned(),
                ..pb::CancelJobRequest::default()
            };
            self.call(Call::Repeats, request, method!(cancel)).await
        })
    }

    fn hold<'a>(
        &'a self,
        queue: &'a str,
        name: &'a str,
        holder: Holder,
    ) -> BoxFuture<'a, Result<Hold, Error>> {
        Box::pin(async move {
            let request = pb::HoldRequest {
                queue: queue.to_owned(),
                name: name.to_owned(),
                holder: Some(holder),
            };
            let held = self.call(Call::Once, request, method!(hold)).await?;
            Ok(wire::hold(held))
        })
    }

    fn extend_hold<'a>(&'a self, hold: &'a Hold) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let hold = Some(wire::hold_message(hold.clone()));
            let request = pb::ExtendHoldRequest { hold };
            self.call(Call::Repeats, request, method!(extend_hold))
                .await?;
            Ok(())
        })
    }

    fn release_hold<'a>(&'a self, hold: &'a Hold) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let hold = Some(wire::hold_message(hold.clone()));
            let request = pb::ReleaseHoldRequest { hold };
            self.call(Call::Repeats, request, method!(release_hold))
                .await?;
            Ok(())
        })
    }

    fn list(&self, list: JobList) -> BoxFuture<'_, Result<JobPage, Error>> {
        Box::pin(async move {
            let request = wire::list_request(list, &self.node_id);
            let page = self.call(Call::Reads, request, method!(list)).await?;
            Ok(JobPage {
                jobs: page.jobs,
                next: page.next,
            })
        })
    }

    fn get<'a>(&'a self, queue: &'a str, job_id: &'a str) -> BoxFuture<'a, Result<Job, Error>> {
        Box::pin(async move {
            let request = pb::GetJobRequest {
                queue: queue.to_owned(),
                job_id: job_id.to_owned(),
            };
            self.call(Call::Reads, request, method!(get)).await
        })
    }

    fn requeue<'a>(&'a self, queue: &'a str, job_id: &'a str) -> BoxFuture<'a, Result<Job, Error>> {
        Box::pin(async move {
            let request = pb::RequeueJobRequest {
                queue: queue.to_owned(),
                job_id: job_id.to_owned(),
                ..pb::RequeueJobRequest::default()
            };
            self.call(Call::Repeats, request, method!(requeue)).await
        })
    }
}
