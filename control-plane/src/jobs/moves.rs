//! The operations that bring a job from one state to another.

use weir_proto::control::records::v1 as records;

use super::error::Error;
use super::local::decode;
use super::types::{Job, State};
use crate::keys::JobKeys;
use crate::records::encode;
use crate::store::{Compare, Entry, Op, Revision};

/// How many jobs a queue has, and the revision that said so.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: records::JobTally,
    seen: Revision,
}

impl Tally {
    pub(super) fn of(entry: Option<&Entry>) -> Result<Self, Error> {
        Ok(match entry {
            Some(entry) => Self {
                counts: decode(entry)?,
                seen: entry.mod_revision,
            },
            None => Self::default(),
        })
    }

    /// The condition that nobody else counted meanwhile. A transaction that was sent before another one that counted
    /// was made can never be made after it.
    pub(super) fn is_seen(&self, keys: &JobKeys) -> Compare {
        Compare::ModRevision(keys.tally(), self.seen)
    }

    /// Counts so many more.
    pub(super) fn changed(&self, keys: &JobKeys, open: i64, dead: i64, done: i64) -> Op {
        let counts = records::JobTally {
            open: self.counts.open.saturating_add_signed(open),
            dead: self.counts.dead.saturating_add_signed(dead),
            done: self.counts.done.saturating_add_signed(done),
        };
        Op::put(keys.tally(), encode(&counts))
    }
}

/// A job that is open, and the revision that put it.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) record: records::Job,
    pub(super) job: Job,
    pub(super) seen: Revision,
}

impl Open {
    pub(super) fn of(entry: &Entry) -> Result<Self, Error> {
        let record: records::Job = decode(entry)?;
        Ok(Self {
            job: record.job.clone().unwrap_or_default(),
            record,
            seen: entry.mod_revision,
        })
    }

    pub(super) fn is_seen(&self, keys: &JobKeys) -> Compare {
        Compare::ModRevision(keys.job(&self.job.job_id), self.seen)
    }
}

/// The key by which a job waits.
pub(super) fn ready_key(keys: &JobKeys, job: &Job) -> bytes::Bytes {
    keys.ready(job.priority, job.not_before_unix_ms, &job.job_id)
}

/// Lets a job wait from `job.not_before_unix_ms` on.
pub(super) fn wait(keys: &JobKeys, mut job: Job, settled_fence: u64, now_unix_ms: u64) -> Vec<Op> {
    let wait_ms = job.not_before_unix_ms.saturating_sub(now_unix_ms);
    job.set_state(State::Ready);
    job.holder = None;
    let service = job.spec.clone().unwrap_or_default().service;
    vec![
        Op::put(
            ready_key(keys, &job),
            encode(&records::JobReady {
                service,
                wait_ms: Some(wait_ms),
            }),
        ),
        Op::put(keys.job(&job.job_id), written(job, settled_fence)),
    ]
}

/// Ends an open job, to be kept as dead.
pub(super) fn bury(
    keys: &JobKeys,
    mut job: Job,
    settled_fence: u64,
    now_unix_ms: u64,
) -> Result<Vec<Op>, Error> {
    job.set_state(State::Dead);
    job.holder = None;
    job.ended_at_unix_ms = now_unix_ms;
    Ok(vec![
        Op::Delete(keys.job(&job.job_id)),
        Op::Delete(keys.idempotency(&job.idempotency_key)?),
        Op::put(keys.dead(&job.job_id), written(job, settled_fence)),
    ])
}

/// Keeps a job as done or cancelled, without its payload; whoever calls it deletes where it was.
pub(super) fn remember(
    keys: &JobKeys,
    mut job: Job,
    state: State,
    settled_fence: u64,
    now_unix_ms: u64,
) -> Op {
    job.set_state(state);
    if state == State::Cancelled {
        job.holder = None;
    }
    job.ended_at_unix_ms = now_unix_ms;
    if let Some(spec) = &mut job.spec {
        spec.payload.clear();
    }
    Op::put(keys.done(&job.job_id), written(job, settled_fence))
}

/// Deletes what stands for a claim. `claim` is its record, if it still lives.
pub(super) fn unclaim(keys: &JobKeys, job_id: &str, claim: Option<&records::JobClaim>) -> Vec<Op> {
    let mut ops = vec![Op::Delete(keys.held(job_id))];
    if let Some(claim) = claim {
        ops.push(Op::Delete(keys.claim(job_id)));
        let slot = claim.slot_plus_one.checked_sub(1);
        ops.extend(slot.map(|slot| Op::Delete(keys.slot(slot))));
    }
    ops
}

/// A job as it is kept.
pub(super) fn written(job: Job, settled_fence: u64) -> bytes::Bytes {
    encode(&records::Job {
        job: Some(job),
        settled_fence,
    })
}
