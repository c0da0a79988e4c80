//! The one task that writes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use redb::Database;
use tokio::sync::{mpsc, oneshot, watch as published};
use tokio::time::Instant;

use super::apply::Batch;
use super::read::{Outcome, StorageResult};
use super::{Options, Standing};
use crate::store::lease_clock::LeaseClock;
use crate::store::{Error, Lease, LeaseId, Revision, Txn, TxnOutcome};

/// How many writes share one commit.
const BATCH_WRITES_MAX: usize = 128;
/// Into how many steps the age of the history is divided.
const AGE_STEPS: u32 = 16;

/// Where the answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What the owner is asked.
pub(super) enum Command {
    Txn { txn: Txn, reply: Reply<TxnOutcome> },
    Grant { ttl: Duration, reply: Reply<Lease> },
    KeepAlive { lease: LeaseId, reply: Reply<()> },
    Revoke { lease: LeaseId, reply: Reply<()> },
    Compact { at: Revision, reply: Reply<()> },
}

/// Gives an answer, once what it tells of is safe on disk.
type Answer = Box<dyn FnOnce() + Send>;

/// What a committed batch did.
struct Committed {
    revision: Revision,
    granted: Vec<Lease>,
    ended: Vec<LeaseId>,
    answers: Vec<Answer>,
}

/// What is to be written at once.
struct Work {
    commands: Vec<Command>,
    expired: Vec<LeaseId>,
    forget_before: Revision,
    history_revisions_max: u64,
}

/// Owns the file, the leases' time and the age of the history.
pub(super) struct Owner {
    database: Arc<Database>,
    publish: published::Sender<Standing>,
    leases: LeaseClock,
    /// The newest revision at some moments of the last `history_age_max`.
    ages: VecDeque<(Instant, Revision)>,
    history_age_max: Duration,
    history_revisions_max: u64,
}

impl Owner {
    /// An owner of leases that all begin to live now.
    pub(super) fn new(
        database: &Arc<Database>,
        publish: published::Sender<Standing>,
        leases: Vec<(LeaseId, Duration)>,
        options: &Options,
    ) -> Self {
        let now = Instant::now();
        let mut clock = LeaseClock::default();
        for (lease, ttl) in leases {
            clock.start(lease, ttl, now);
        }
        let revision = publish.borrow().revision;
        Self {
            database: Arc::clone(database),
            publish,
            leases: clock,
            ages: VecDeque::from([(now, revision)]),
            history_age_max: options.history_age_max,
            history_revisions_max: options.history_revisions_max,
        }
    }

    /// Writes until nobody can ask any more.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Command>) {
        let step = self.history_age_max / AGE_STEPS;
        let mut next_step = Instant::now() + step;
        loop {
            let mut commands = Vec::new();
            let wake = self
                .leases
                .next_end()
                .map_or(next_step, |end| end.min(next_step));
            tokio::select! {
                biased;
                count = waiting.recv_many(&mut commands, BATCH_WRITES_MAX) => {
                    if count == 0 {
                        return;
                    }
                }
                () = tokio::time::sleep_until(wake) => {}
            }
            let now = Instant::now();
            let commands = self.renew(commands, now);
            let mut forget_before = Revision(0);
            if now >= next_step {
                forget_before = self.age(now);
                next_step = now + step;
            }
            let expired = self.leases.over(now, BATCH_WRITES_MAX);
            if commands.is_empty() && expired.is_empty() && forget_before == Revision(0) {
                continue;
            }
            let history_revisions_max = self.history_revisions_max;
            self.write(Work {
                commands,
                expired,
                forget_before,
                history_revisions_max,
            })
            .await;
        }
    }

    /// Answers the keep-alives, which need no disk, and drops what nobody waits for.
    fn renew(&mut self, commands: Vec<Command>, now: Instant) -> Vec<Command> {
        let mut rest = Vec::with_capacity(commands.len());
        for command in commands {
            match command {
                Command::KeepAlive { lease, reply } => {
                    let renewed = self.leases.renew(lease, now);
                    let renewed = renewed.then_some(()).ok_or(Error::LeaseNotFound);
                    let _ = reply.send(renewed);
                }
                Command::Txn { reply, .. } if reply.is_closed() => {}
                command => rest.push(command),
            }
        }
        rest
    }

    /// The revision that has been the newest for `history_age_max` at least.
    fn age(&mut self, now: Instant) -> Revision {
        self.ages.push_back((now, self.publish.borrow().revision));
        let mut old = Revision(0);
        while let Some((at, revision)) = self.ages.front()
            && *at + self.history_age_max <= now
        {
            old = *revision;
            self.ages.pop_front();
        }
        old
    }

    async fn write(&mut self, work: Work) {
        let database = Arc::clone(&self.database);
        let expired = work.expired.clone();
        let committed = tokio::task::spawn_blocking(move || commit(&database, work)).await;
        let problem = match committed {
            Ok(Ok(committed)) => return self.committed(committed),
            Ok(Err(storage)) => storage.to_string(),
            Err(panic) => panic.to_string(),
        };
        tracing::error!(problem, "the store failed to write; open it again");
        self.publish
            .send_modify(|standing| standing.problem = Some(problem));
        // Not tried again, which would never end; the next start deletes their keys.
        for lease in expired {
            self.leases.stop(lease);
        }
    }

    fn committed(&mut self, committed: Committed) {
        let now = Instant::now();
        for lease in committed.granted {
            self.leases.start(lease.id, lease.ttl, now);
        }
        for lease in committed.ended {
            self.leases.stop(lease);
        }
        let revision = committed.revision;
        self.publish
            .send_modify(|standing| standing.revision = revision);
        for answer in committed.answers {
            answer();
        }
    }
}

/// Writes all of it in one transaction of redb: durable when this returns.
///
/// If it fails, the replies are dropped, which tells who waits.
fn commit(database: &Database, work: Work) -> StorageResult<Committed> {
    let write = database.begin_write()?;
    let mut done = Committed {
        revision: Revision(0),
        granted: Vec::new(),
        ended: Vec::new(),
        answers: Vec::with_capacity(work.commands.len()),
    };
    let mut batch = Batch::open(&write)?;
    for command in work.commands {
        apply(&mut batch, command, &mut done)?;
    }
    for lease in work.expired {
        // One that was revoked in this very batch is not found, which is well.
        let _ = batch.revoke(lease)?;
        done.ended.push(lease);
    }
    batch.forget_before(work.forget_before.0)?;
    done.revision = batch.finish(work.history_revisions_max)?;
    write.commit()?;
    Ok(done)
}

fn apply(batch: &mut Batch<'_>, command: Command, done: &mut Committed) -> StorageResult<()> {
    match command {
        Command::Txn { txn, reply } => answer(batch.txn(&txn), reply, done),
        Command::Grant { ttl, reply } => {
            let granted = batch.grant(ttl)?;
            done.granted.extend(granted.as_ref().ok().copied());
            answer(Ok(granted), reply, done)
        }
        Command::Revoke { lease, reply } => {
            let revoked = batch.revoke(lease);
            done.ended.push(lease);
            answer(revoked, reply, done)
        }
        Command::Compact { at, reply } => answer(batch.compact(at), reply, done),
        // Answered before the batch.
        Command::KeepAlive { .. } => Ok(()),
    }
}

fn answer<T: Send + 'static>(
    result: Outcome<T>,
    reply: Reply<T>,
    done: &mut Committed,
) -> StorageResult<()> {
    let result = result?;
    done.answers.push(Box::new(move || {
        // Whoever asked has stopped waiting.
        let _ = reply.send(result);
    }));
    Ok(())
}
