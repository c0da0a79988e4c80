//! What becomes of a claim: kept, done, failed, given back. Only its holder says so, and proves it by the fence.

use weir_proto::control::records::v1 as records;

use super::error::Error;
use super::local::{Jobs, decode};
use super::moves::{Open, Tally, bury, remember, unclaim, wait};
use super::rules::{bounded, retry_delay};
use super::tries::Tries;
use super::types::{Failed, Holder, Job, State, Ticket, limits_of};
use crate::keys::{JobKeys, check_job_id};
use crate::store::{self, Compare, Entry, Op, Revision, Txn};

/// How a claim ends.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Done(String),
    Failed { error: String, retryable: bool },
    Released,
}

/// What a verdict came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// The job is done, or somebody else's to take.
    Ended,
    /// The attempt failed.
    Failed(Failed),
}

/// What a verdict makes of a job.
enum Next {
    Done(Job),
    Waits(Job),
    Dead(Job),
}

impl Jobs {
    pub(super) async fn keep(&self, ticket: &Ticket) -> Result<(), Error> {
        let keys = self.keys_of(ticket)?;
        let found = self.store.get(keys.claim(&ticket.job_id), None).await?;
        let (entry, _) = held(ticket, found.as_ref())?;
        let lease = entry.lease.ok_or_else(|| lost(ticket, None))?;
        match self.store.keep_alive(lease).await {
            Err(store::Error::LeaseNotFound) => Err(lost(ticket, None)),
            kept => Ok(kept?),
        }
    }

    /// Ends a claim.
    pub(super) async fn settle(
        &self,
        ticket: &Ticket,
        verdict: &Verdict,
    ) -> Result<Settled, Error> {
        let keys = self.keys_of(ticket)?;
        let mut tries = Tries::begin();
        loop {
            let outcome = self.in_line(self.try_settle(&keys, ticket, verdict)).await;
            if let Some(done) = tries.after(outcome).await? {
                return Ok(done);
            }
        }
    }

    fn keys_of(&self, ticket: &Ticket) -> Result<JobKeys, Error> {
        check_job_id(&ticket.job_id)?;
        Ok(self.keys.jobs(&ticket.queue)?)
    }

    async fn try_settle(
        &self,
        keys: &JobKeys,
        ticket: &Ticket,
        verdict: &Verdict,
    ) -> Result<Option<Settled>, Error> {
        let id = &ticket.job_id;
        let read = [
            keys.claim(id),
            keys.job(id),
            keys.dead(id),
            keys.done(id),
            keys.tally(),
        ];
        let [claim, job, dead, done, tally] = self.read(read).await?;
        let (entry, claim) = match held(ticket, claim.as_ref()) {
            Ok(held) => held,
            Err(lost) => {
                let settled = settled(ticket, verdict, [job, dead, done])?;
                return settled.ok_or(lost).map(Some);
            }
        };
        let open = Open::of(&job.ok_or_else(|| lost(ticket, None))?)?;
        let now = self.now_unix_ms();
        let next = next(verdict, open.job.clone(), now, self.random().f64());
        let (settled, ops, counts) = operations(keys, next, ticket.fence, now)?;
        let tally = Tally::of(tally.as_ref())?;
        let fence = Revision(ticket.fence);
        let mut when = vec![
            Compare::CreateRevision(keys.claim(id), fence),
            open.is_seen(keys),
        ];
        let mut then = unclaim(keys, id, Some(&claim));
        then.extend(ops);
        if let Some((dead, done)) = counts {
            when.push(tally.is_seen(keys));
            then.push(tally.changed(keys, -1, dead, done));
        }
        if !self.commit(Txn::only_if(when, then)).await?.succeeded {
            return Ok(None);
        }
        if let Some(lease) = entry.lease {
            // It holds nothing any more, and else ends by itself.
            let _ = self.store.revoke(lease).await;
        }
        Ok(Some(settled))
    }
}

/// The claim of a ticket, if it still is the ticket's.
fn held<'a>(
    ticket: &Ticket,
    entry: Option<&'a Entry>,
) -> Result<(&'a Entry, records::JobClaim), Error> {
    let Some(entry) = entry else {
        return Err(lost(ticket, None));
    };
    let claim: records::JobClaim = decode(entry)?;
    let holder = claim.holder.clone().unwrap_or_default();
    let is_holder = holder.node_id == ticket.node_id && holder.boot_id == ticket.boot_id;
    if entry.create_revision.0 == ticket.fence && is_holder {
        return Ok((entry, claim));
    }
    Err(lost(ticket, Some(holder)))
}

fn lost(ticket: &Ticket, by: Option<Holder>) -> Error {
    Error::Lost {
        name: ticket.job_id.clone(),
        by,
    }
}

/// What was made before of the same verdict, known by the fence.
fn settled(
    ticket: &Ticket,
    verdict: &Verdict,
    places: [Option<Entry>; 3],
) -> Result<Option<Settled>, Error> {
    for place in places.iter().flatten() {
        let open = Open::of(place)?;
        if open.record.settled_fence != ticket.fence {
            continue;
        }
        let state = open.job.state();
        return Ok(match verdict {
            Verdict::Done(_) => (state == State::Done).then_some(Settled::Ended),
            _ if state == State::Done => None,
            Verdict::Released => Some(Settled::Ended),
            Verdict::Failed { .. } if state == State::Dead => Some(Settled::Failed(Failed::Dead)),
            Verdict::Failed { .. } => {
                let retry = Failed::RetryAt(open.job.not_before_unix_ms);
                Some(Settled::Failed(retry))
            }
        });
    }
    Ok(None)
}

/// Pure: what a verdict makes of a job.
fn next(verdict: &Verdict, mut job: Job, now_unix_ms: u64, draw: f64) -> Next {
    match verdict {
        Verdict::Done(result) => {
            job.result.clone_from(result);
            Next::Done(job)
        }
        Verdict::Released => {
            job.attempt = job.attempt.saturating_sub(1);
            job.not_before_unix_ms = now_unix_ms;
            Next::Waits(job)
        }
        Verdict::Failed { error, retryable } => {
            job.last_error = bounded(error);
            let limits = limits_of(&job);
            if !retryable || job.attempt >= limits.attempts_max {
                return Next::Dead(job);
            }
            let wait = retry_delay(&limits, job.attempt, draw);
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            job.not_before_unix_ms = now_unix_ms.saturating_add(wait_ms);
            Next::Waits(job)
        }
    }
}

/// What it was, what is done, and how many more are dead and done if one less is open.
type Operations = (Settled, Vec<Op>, Option<(i64, i64)>);

fn operations(keys: &JobKeys, next: Next, fence: u64, now: u64) -> Result<Operations, Error> {
    Ok(match next {
        Next::Waits(job) => {
            let retry = Failed::RetryAt(job.not_before_unix_ms);
            (Settled::Failed(retry), wait(keys, job, fence, now), None)
        }
        Next::Dead(job) => {
            let ops = bury(keys, job, fence, now)?;
            (Settled::Failed(Failed::Dead), ops, Some((1, 0)))
        }
        Next::Done(job) => {
            let mut ops = vec![
                Op::Delete(keys.job(&job.job_id)),
                Op::Delete(keys.idempotency(&job.idempotency_key)?),
            ];
            ops.push(remember(keys, job, State::Done, fence, now));
            (Settled::Ended, ops, Some((0, 1)))
        }
    })
}
