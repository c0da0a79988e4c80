//! Adds jobs.

use super::cancel::By;
use super::error::Error;
use super::local::{Jobs, decode};
use super::moves::{Open, Tally, wait};
use super::rules::{check_new, job_id};
use super::tries::Tries;
use super::types::{Enqueued, Job, NewJob, State};
use crate::keys::JobKeys;
use crate::problem::refused;
use crate::records::encode;
use crate::store::{Compare, Op, Txn};
use weir_core::tuning::Code;
use weir_proto::control::records::v1 as records;

/// Most queues.
const QUEUES_MAX: usize = 100;

impl Jobs {
    /// Adds a job, with the audit record of who did it, if it is to be kept.
    ///
    /// # Errors
    /// As [`super::JobQueue::enqueue`].
    pub async fn enqueue_by(&self, mut new: NewJob, by: Option<By<'_>>) -> Result<Enqueued, Error> {
        check_new(&new).map_err(Error::Problems)?;
        let keys = self.keys.jobs(&new.queue)?;
        let now = self.now_unix_ms();
        let id = new.job_id.take();
        let id = id.unwrap_or_else(|| job_id(now, self.random().u64(..)));
        let open_max = new.queue_max.unwrap_or(u64::MAX).min(self.options.open_max);
        let job = made(new, &id, now);
        let mut tries = Tries::begin();
        loop {
            let outcome = self
                .in_line(self.try_enqueue(&keys, &job, open_max, by))
                .await;
            if let Some(done) = tries.after(outcome).await? {
                return Ok(done);
            }
        }
    }

    async fn try_enqueue(
        &self,
        keys: &JobKeys,
        job: &Job,
        open_max: u64,
        by: Option<By<'_>>,
    ) -> Result<Option<Enqueued>, Error> {
        let id = &job.job_id;
        let key = keys.idempotency(&job.idempotency_key)?;
        let read = [
            keys.tally(),
            key.clone(),
            keys.job(id),
            keys.dead(id),
            keys.done(id),
        ];
        let [tally, taken, open, dead, done] = self.read(read).await?;
        if let Some(made) = open.or(dead).or(done) {
            return same(&Open::of(&made)?.job, job).map(Some);
        }
        if let Some(taken) = taken {
            let other: records::JobRef = decode(&taken)?;
            return Ok(Some(Enqueued {
                job_id: other.job_id,
                already: true,
            }));
        }
        let is_new_queue = tally.is_none();
        let tally = Tally::of(tally.as_ref())?;
        // What is made compares the count, so jobs that are added at the same time never pass the bound together.
        if tally.counts.open >= open_max {
            return Err(Error::Full {
                queue: job.queue.clone(),
                open: tally.counts.open,
                open_max,
            });
        }
        if is_new_queue {
            self.check_queues(&job.queue).await?;
        }
        let when = vec![
            tally.is_seen(keys),
            Compare::Absent(key.clone()),
            Compare::Absent(keys.job(id)),
        ];
        let named = encode(&records::JobRef { job_id: id.clone() });
        let mut then = wait(keys, job.clone(), 0, job.enqueued_at_unix_ms);
        then.extend([Op::put(key, named), tally.changed(keys, 1, 0, 0)]);
        then.extend(by.map(|by| by.audit(&self.keys, "job.enqueue", job)));
        let made = self.commit(Txn::only_if(when, then)).await?;
        Ok(made.succeeded.then(|| Enqueued {
            job_id: id.clone(),
            already: false,
        }))
    }

    async fn check_queues(&self, queue: &str) -> Result<(), Error> {
        if self.queues().await?.len() < QUEUES_MAX {
            return Ok(());
        }
        let bound = format!("at most {QUEUES_MAX}");
        let message = "is one queue too many";
        let problem = refused("queue", Code::Range, message, queue, bound);
        Err(Error::Problems(vec![problem]))
    }
}

fn made(new: NewJob, id: &str, now_unix_ms: u64) -> Job {
    let mut job = Job {
        queue: new.queue,
        job_id: id.to_owned(),
        idempotency_key: new.idempotency_key,
        spec: Some(new.spec),
        priority: new.priority,
        not_before_unix_ms: new.not_before_unix_ms.max(now_unix_ms),
        limits: Some(new.limits.into()),
        enqueued_at_unix_ms: now_unix_ms,
        ..Job::default()
    };
    job.set_state(State::Ready);
    job
}

/// The outcome of a job that was added before with this id.
fn same(made: &Job, job: &Job) -> Result<Enqueued, Error> {
    if made.idempotency_key == job.idempotency_key {
        return Ok(Enqueued {
            job_id: made.job_id.clone(),
            already: false,
        });
    }
    let message = "names another job";
    let bound = "another one for each job";
    let problem = refused("job_id", Code::Conflict, message, &job.job_id, bound);
    Err(Error::Problems(vec![problem]))
}
