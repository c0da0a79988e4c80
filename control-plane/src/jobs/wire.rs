//! Jobs on the wire: one place for both sides of it.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::job_refusal::Kind;

use super::error::Error;
use super::types::{Claim, Hold, JobList, JobPage, NewJob, State, Want};

/// A listing that does not say how many.
const ENTRIES_DEFAULT: u32 = 100;

pub(crate) fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Who asks for a new job: a node, or else an operator who says something about it.
pub(super) fn enqueue_request(job: NewJob, node_id: &str) -> pb::EnqueueJobRequest {
    pb::EnqueueJobRequest {
        queue: job.queue,
        job_id: job.job_id.unwrap_or_default(),
        idempotency_key: job.idempotency_key,
        spec: Some(job.spec),
        priority: job.priority,
        not_before_unix_ms: job.not_before_unix_ms,
        limits: Some(job.limits.into()),
        node_id: node_id.to_owned(),
        queue_max: job.queue_max,
        ..pb::EnqueueJobRequest::default()
    }
}

/// The same as it was meant; what is not said is the default.
pub(crate) fn new_job(request: pb::EnqueueJobRequest) -> NewJob {
    NewJob {
        queue: request.queue,
        job_id: Some(request.job_id).filter(|id| !id.is_empty()),
        idempotency_key: request.idempotency_key,
        spec: request.spec.unwrap_or_default(),
        priority: request.priority,
        not_before_unix_ms: request.not_before_unix_ms,
        limits: request.limits.unwrap_or_default().into(),
        queue_max: request.queue_max,
    }
}

pub(super) fn claim_request(want: Want) -> pb::ClaimJobRequest {
    pb::ClaimJobRequest {
        queue: want.queue,
        holder: Some(want.holder),
        services: want.services,
        fleet_concurrent_max: want.fleet_concurrent_max,
        fleet_interval_min_ms: in_ms(want.fleet_interval_min),
    }
}

pub(crate) fn want(request: pb::ClaimJobRequest) -> Want {
    Want {
        queue: request.queue,
        holder: request.holder.unwrap_or_default(),
        services: request.services,
        fleet_concurrent_max: request.fleet_concurrent_max,
        fleet_interval_min: Duration::from_millis(request.fleet_interval_min_ms),
    }
}

pub(crate) fn claim_response(claim: Option<Claim>) -> pb::ClaimJobResponse {
    pb::ClaimJobResponse {
        claim: claim.map(|claim| pb::JobClaim {
            ticket: Some(claim.ticket),
            spec: Some(claim.spec),
            attempt: claim.attempt,
            attempts_max: claim.attempts_max,
            ttl_ms: in_ms(claim.ttl),
        }),
    }
}

pub(super) fn claim(response: pb::ClaimJobResponse) -> Option<Claim> {
    response.claim.map(|claim| Claim {
        ticket: claim.ticket.unwrap_or_default(),
        spec: claim.spec.unwrap_or_default(),
        attempt: claim.attempt,
        attempts_max: claim.attempts_max,
        ttl: Duration::from_millis(claim.ttl_ms),
    })
}

pub(crate) fn hold_message(hold: Hold) -> pb::JobHold {
    pb::JobHold {
        queue: hold.queue,
        name: hold.name,
        holder: Some(hold.holder),
        fence: hold.fence,
        ttl_ms: in_ms(hold.ttl),
    }
}

pub(crate) fn hold(message: pb::JobHold) -> Hold {
    Hold {
        queue: message.queue,
        name: message.name,
        holder: message.holder.unwrap_or_default(),
        fence: message.fence,
        ttl: Duration::from_millis(message.ttl_ms),
    }
}

pub(super) fn list_request(list: JobList, node_id: &str) -> pb::ListJobsRequest {
    pb::ListJobsRequest {
        queue: list.queue,
        states: list.states.into_iter().map(i32::from).collect(),
        after: list.after,
        entries_max: u32::try_from(list.entries_max).unwrap_or(u32::MAX),
        node_id: node_id.to_owned(),
    }
}

pub(crate) fn list(request: pb::ListJobsRequest) -> JobList {
    let states = request.states.iter();
    let states = states.map(|state| State::try_from(*state).unwrap_or(State::Unspecified));
    let entries_max = match request.entries_max {
        0 => ENTRIES_DEFAULT,
        entries_max => entries_max,
    };
    JobList {
        states: states.collect(),
        queue: request.queue,
        after: request.after,
        entries_max: usize::try_from(entries_max).unwrap_or(usize::MAX),
    }
}

pub(crate) fn list_response(page: JobPage) -> pb::ListJobsResponse {
    pb::ListJobsResponse {
        jobs: page.jobs,
        next: page.next,
    }
}

/// A refusal with its details; `None` for what has none of its own.
pub(crate) fn refused(error: &Error) -> Option<Status> {
    let mut details = pb::JobRefusal::default();
    let (code, kind) = match error {
        Error::Lost { name, by } => {
            details.name.clone_from(name);
            details.holder.clone_from(by);
            (Code::Aborted, Kind::Lost)
        }
        Error::Held { name, by } => {
            details.name.clone_from(name);
            details.holder = Some(by.clone());
            (Code::AlreadyExists, Kind::Held)
        }
        Error::Full {
            queue,
            open,
            open_max,
        } => {
            details.name.clone_from(queue);
            details.open = *open;
            details.open_max = *open_max;
            (Code::ResourceExhausted, Kind::Full)
        }
        Error::NotFound { job_id } => {
            details.name.clone_from(job_id);
            (Code::NotFound, Kind::NotFound)
        }
        Error::State { job_id, state } => {
            details.name.clone_from(job_id);
            details.set_state(*state);
            (Code::FailedPrecondition, Kind::State)
        }
        Error::KeyTaken { job_id, by_job_id } => {
            details.name.clone_from(job_id);
            details.other_job_id.clone_from(by_job_id);
            (Code::AlreadyExists, Kind::KeyTaken)
        }
        Error::Problems(_)
        | Error::Store(_)
        | Error::Uncertain(_)
        | Error::Contended
        | Error::Record(_)
        | Error::Remote { .. } => return None,
    };
    details.set_kind(kind);
    let details = Bytes::from(details.encode_to_vec());
    Some(Status::with_details(code, error.to_string(), details))
}

/// What a status says; `changes` is whether the call may have been made although it failed.
pub(super) fn error(status: &Status, changes: bool) -> Error {
    let details = pb::JobRefusal::decode(status.details());
    let details = details.ok().filter(|_| !status.details().is_empty());
    let known = details.and_then(|details| known(status.code(), details));
    known.unwrap_or_else(|| Error::Remote {
        code: status.code(),
        message: status.message().to_owned(),
        uncertain: changes && may_be_made(status.code()),
    })
}

fn known(code: Code, details: pb::JobRefusal) -> Option<Error> {
    let (state, name) = (details.state(), details.name.clone());
    Some(match (code, details.kind()) {
        (Code::Aborted, Kind::Lost) => Error::Lost {
            name,
            by: details.holder,
        },
        (Code::AlreadyExists, Kind::Held) => Error::Held {
            name,
            by: details.holder.unwrap_or_default(),
        },
        (Code::ResourceExhausted, Kind::Full) => Error::Full {
            queue: name,
            open: details.open,
            open_max: details.open_max,
        },
        (Code::NotFound, Kind::NotFound) => Error::NotFound { job_id: name },
        (Code::FailedPrecondition, Kind::State) => Error::State {
            job_id: name,
            state,
        },
        (Code::AlreadyExists, Kind::KeyTaken) => Error::KeyTaken {
            job_id: name,
            by_job_id: details.other_job_id,
        },
        _ => return None,
    })
}

/// Whether a call that ended so may have reached the store.
fn may_be_made(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    )
}

#[cfg(test)]
mod tests {
    use super::super::types::{Holder, Limits};
    use super::*;

    #[test]
    fn every_refusal_is_the_same_on_the_other_side() {
        let by = Holder {
            node_id: "node-b".to_owned(),
            boot_id: "7".to_owned(),
        };
        let (name, job_id) = (
            "vpn-1".to_owned(),
            "0123456789abcdef0123456789ab".to_owned(),
        );
        let errors = [
            Error::Lost {
                name: job_id.clone(),
                by: None,
            },
            Error::Lost {
                name: job_id.clone(),
                by: Some(by.clone()),
            },
            Error::Held { name, by },
            Error::Full {
                queue: "engines".to_owned(),
                open: 10_001,
                open_max: 10_000,
            },
            Error::NotFound {
                job_id: job_id.clone(),
            },
            Error::State {
                job_id: job_id.clone(),
                state: State::Done,
            },
            Error::KeyTaken {
                job_id,
                by_job_id: "fedc".to_owned(),
            },
        ];
        for told in errors {
            let status = refused(&told).unwrap();
            let heard = error(&status, true);
            assert_eq!(format!("{heard:?}"), format!("{told:?}"));
            assert!(!heard.is_uncertain());
        }
        let away = Status::unavailable("gone");
        assert!(error(&away, true).is_uncertain() && !error(&away, false).is_uncertain());
        assert!(!error(&Status::permission_denied("no"), true).is_uncertain());
    }

    #[test]
    fn what_is_not_said_of_a_job_is_the_default() {
        let job = new_job(pb::EnqueueJobRequest::default());
        assert_eq!((job.limits, job.job_id), (Limits::default(), None));
        let told = NewJob {
            job_id: Some("1".to_owned()),
            priority: 3,
            queue_max: Some(7),
            ..job
        };
        assert_eq!(new_job(enqueue_request(told.clone(), "node-a")), told);
        assert_eq!(list(pb::ListJobsRequest::default()).entries_max, 100);
    }
}
