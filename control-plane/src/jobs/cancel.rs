//! What operators do to jobs: cancel, and requeue what is dead.

use weir_proto::control::records::v1 as records;

use super::error::Error;
use super::local::{Jobs, decode};
use super::moves::{Open, Tally, ready_key, remember, unclaim, wait};
use super::tries::Tries;
use super::types::{Job, State};
use crate::governance::audit::{self, Actor, Change};
use crate::keys::{JobKeys, Keys, check_job_id};
use crate::records::encode;
use crate::store::{Compare, Entry, Op, Txn};

/// Who does something that the audit keeps.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// What they say about it.
    pub message: &'a str,
    /// When.
    pub now_unix_ms: u64,
    /// Tells audit records of one millisecond apart.
    pub audit_id: u64,
}

impl By<'_> {
    pub(super) fn audit(&self, keys: &Keys, action: &str, job: &Job) -> Op {
        let detail = format!("job {} of {}", job.job_id, job.idempotency_key);
        let change = Change {
            action,
            target: &job.queue,
            message: self.message,
            detail: &detail,
            ..Change::default()
        };
        let record = audit::record(self.actor, &change, self.now_unix_ms);
        audit::put(keys, record, self.audit_id)
    }
}

/// Where a job is.
struct Found {
    claim: Option<Entry>,
    job: Option<Entry>,
    dead: Option<Entry>,
    done: Option<Entry>,
    tally: Tally,
}

impl Jobs {
    /// Cancels, with the audit record of who did it, if it is to be kept.
    ///
    /// # Errors
    /// As [`super::JobQueue::cancel`].
    pub async fn cancel_by(
        &self,
        queue: &str,
        job_id: &str,
        by: Option<By<'_>>,
    ) -> Result<Job, Error> {
        check_job_id(job_id)?;
        let keys = self.keys.jobs(queue)?;
        let mut tries = Tries::begin();
        loop {
            let outcome = self.try_cancel(&keys, job_id, by).await;
            if let Some(done) = tries.after(outcome).await? {
                return Ok(done);
            }
        }
    }

    /// Requeues, with the audit record of who did it, if it is to be kept.
    ///
    /// # Errors
    /// As [`super::JobQueue::requeue`].
    pub async fn requeue_by(
        &self,
        queue: &str,
        job_id: &str,
        by: Option<By<'_>>,
    ) -> Result<Job, Error> {
        check_job_id(job_id)?;
        let keys = self.keys.jobs(queue)?;
        let (mut tries, mut sent) = (Tries::begin(), false);
        loop {
            let outcome = self.try_requeue(&keys, job_id, by, &mut sent).await;
            if let Some(done) = tries.after(outcome).await? {
                return Ok(done);
            }
        }
    }

    async fn look(&self, keys: &JobKeys, id: &str) -> Result<Found, Error> {
        let read = [
            keys.claim(id),
            keys.job(id),
            keys.dead(id),
            keys.done(id),
            keys.tally(),
        ];
        let [claim, job, dead, done, tally] = self.read(read).await?;
        Ok(Found {
            claim,
            job,
            dead,
            done,
            tally: Tally::of(tally.as_ref())?,
        })
    }

    async fn try_cancel(
        &self,
        keys: &JobKeys,
        id: &str,
        by: Option<By<'_>>,
    ) -> Result<Option<Job>, Error> {
        let found = self.look(keys, id).await?;
        let (entry, counts) = match (&found.job, &found.dead, &found.done) {
            (Some(job), ..) => (job, (-1, 0, 1)),
            (None, Some(dead), _) => (dead, (0, -1, 1)),
            (None, None, Some(done)) => return ended(done).map(Some),
            (None, None, None) => return Err(not_found(id)),
        };
        let (open, now) = (Open::of(entry)?, self.now_unix_ms());
        let claimed = found.claim.as_ref().map(decode::<records::JobClaim>);
        let claimed = claimed.transpose()?;
        let claim_seen = found.claim.map(|claim| claim.create_revision);
        let when = vec![
            Compare::ModRevision(entry.key.clone(), open.seen),
            Compare::CreateRevision(keys.claim(id), claim_seen.unwrap_or_default()),
            found.tally.is_seen(keys),
        ];
        let mut then = unclaim(keys, id, claimed.as_ref());
        let (open_more, dead_more, done_more) = counts;
        then.push(found.tally.changed(keys, open_more, dead_more, done_more));
        then.push(Op::Delete(entry.key.clone()));
        if found.job.is_some() {
            then.push(Op::Delete(ready_key(keys, &open.job)));
            then.push(Op::Delete(keys.idempotency(&open.job.idempotency_key)?));
        }
        let settled = open.record.settled_fence;
        then.push(remember(
            keys,
            open.job.clone(),
            State::Cancelled,
            settled,
            now,
        ));
        then.extend(by.map(|by| by.audit(&self.keys, "job.cancel", &open.job)));
        let made = self.commit(Txn::only_if(when, then)).await?;
        Ok(made.succeeded.then(|| {
            let mut job = open.job;
            job.set_state(State::Cancelled);
            job.ended_at_unix_ms = now;
            job.holder = None;
            job
        }))
    }

    async fn try_requeue(
        &self,
        keys: &JobKeys,
        id: &str,
        by: Option<By<'_>>,
        sent: &mut bool,
    ) -> Result<Option<Job>, Error> {
        let found = self.look(keys, id).await?;
        let Some(dead) = &found.dead else {
            let there = found.job.or(found.done).ok_or_else(|| not_found(id))?;
            let job = Open::of(&there)?.job;
            // Only a requeue brings a dead job back, and nobody else's would be refused either.
            return match *sent {
                true => Ok(Some(job)),
                false => Err(wrong_state(&job)),
            };
        };
        let open = Open::of(dead)?;
        let key = keys.idempotency(&open.job.idempotency_key)?;
        if let Some(taken) = self.store.get(key.clone(), None).await? {
            let other: records::JobRef = decode(&taken)?;
            return Err(Error::KeyTaken {
                job_id: id.to_owned(),
                by_job_id: other.job_id,
            });
        }
        if found.tally.counts.open >= self.options.open_max {
            return Err(Error::Full {
                queue: open.job.queue,
                open: found.tally.counts.open,
                open_max: self.options.open_max,
            });
        }
        let when = vec![
            Compare::ModRevision(dead.key.clone(), open.seen),
            Compare::Absent(key.clone()),
            found.tally.is_seen(keys),
        ];
        let mut job = open.job;
        job.attempt = 0;
        job.ended_at_unix_ms = 0;
        job.not_before_unix_ms = self.now_unix_ms();
        job.set_state(State::Ready);
        let named = encode(&records::JobRef {
            job_id: id.to_owned(),
        });
        let mut then = wait(
            keys,
            job.clone(),
            open.record.settled_fence,
            self.now_unix_ms(),
        );
        then.extend([
            Op::Delete(dead.key.clone()),
            Op::put(key, named),
            found.tally.changed(keys, 1, -1, 0),
        ]);
        then.extend(by.map(|by| by.audit(&self.keys, "job.requeue", &job)));
        *sent = true;
        let made = self.commit(Txn::only_if(when, then)).await?;
        Ok(made.succeeded.then_some(job))
    }
}

/// A job that was cancelled before is cancelled; one that is done cannot be.
fn ended(done: &Entry) -> Result<Job, Error> {
    let job = Open::of(done)?.job;
    match job.state() {
        State::Cancelled => Ok(job),
        _ => Err(wrong_state(&job)),
    }
}

fn wrong_state(job: &Job) -> Error {
    Error::State {
        job_id: job.job_id.clone(),
        state: job.state(),
    }
}

pub(super) fn not_found(id: &str) -> Error {
    Error::NotFound {
        job_id: id.to_owned(),
    }
}
