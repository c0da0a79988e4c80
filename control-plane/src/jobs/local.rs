//! Jobs over a store in this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use prost::Message;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::error::Error;
use super::queue::JobQueue;
use super::settle::{Settled, Verdict};
use super::types::{
    Claim, Enqueued, Failed, Hold, Holder, Job, JobList, JobPage, NewJob, Ticket, Want,
};
use crate::clock::NowUnixMs;
use crate::keys::Keys;
use crate::records;
use crate::store::{Entry, OpResult, Store, Txn, TxnOutcome};

/// The longest wait for a turn among changes of this process.
const LINE_LIMIT: Duration = Duration::from_secs(30);

/// How jobs are kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a claim or a hold lives without being extended; at least 2 s. Default 15 s.
    pub claim_ttl: Duration,
    /// Open jobs of one queue. Default 10,000.
    pub open_max: u64,
    /// Dead jobs of one queue that are kept. Default 1,000.
    pub dead_max: u64,
    /// Ended jobs of one queue that are kept. Default 10,000.
    pub done_max: u64,
    /// How long ended jobs are kept. Default 7 days.
    pub done_age_max: Duration,
    /// How often claiming looks for jobs whose holder is gone. Default 500 ms.
    pub recover_every: Duration,
    /// For ids and jitter; draw it at random.
    pub seed: u64,
}

impl Options {
    /// The defaults.
    pub fn new(seed: u64) -> Self {
        Self {
            claim_ttl: Duration::from_secs(15),
            open_max: 10_000,
            dead_max: 1_000,
            done_max: 10_000,
            done_age_max: Duration::from_secs(7 * 86_400),
            recover_every: Duration::from_millis(500),
            seed,
        }
    }
}

/// Jobs over a store.
pub struct Jobs {
    pub(super) store: Arc<dyn Store>,
    pub(super) keys: Keys,
    pub(super) options: Options,
    now: NowUnixMs,
    draws: AtomicU64,
    pub(super) recovered_at: Mutex<std::collections::BTreeMap<String, Instant>>,
    /// Whoever counts jobs waits here: of changes that count at once the store takes one, and the others begin anew.
    line: Mutex<()>,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let options = &self.options;
        f.debug_struct("Jobs")
            .field("options", options)
            .finish_non_exhaustive()
    }
}

impl Jobs {
    /// Those of a namespace. `now` is the wall clock in ms since 1970; those of one store should agree within the
    /// spacing of starts.
    pub fn new(store: Arc<dyn Store>, keys: Keys, now: NowUnixMs, options: Options) -> Self {
        Self {
            store,
            keys,
            now,
            draws: AtomicU64::new(options.seed),
            options,
            recovered_at: Mutex::default(),
            line: Mutex::default(),
        }
    }

    pub(super) fn now_unix_ms(&self) -> u64 {
        (self.now)()
    }

    /// A new source of chance.
    pub(super) fn random(&self) -> fastrand::Rng {
        // A Weyl sequence, as SplitMix seeds other generators.
        let step = 0x9e37_79b9_7f4a_7c15;
        fastrand::Rng::with_seed(self.draws.fetch_add(step, Ordering::Relaxed))
    }

    /// What is at these keys, all at one revision.
    pub(super) async fn read<const N: usize>(
        &self,
        keys: [Bytes; N],
    ) -> Result<[Option<Entry>; N], Error> {
        let then = keys.into_iter().map(crate::store::Op::Get).collect();
        let read = self.store.txn(Txn::only_if(Vec::new(), then)).await?;
        let mut found = read.results.into_iter();
        Ok(std::array::from_fn(|_| match found.next() {
            Some(OpResult::Got(entry)) => entry,
            _ => None,
        }))
    }

    /// Makes a try of a change that counts jobs, when its turn comes.
    pub(super) async fn in_line<T>(
        &self,
        attempt: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let turn = timeout(LINE_LIMIT, self.line.lock()).await;
        let _turn = turn.map_err(|_| Error::Contended)?;
        attempt.await
    }

    /// Makes a change whose answer may get lost.
    pub(super) async fn commit(&self, txn: Txn) -> Result<TxnOutcome, Error> {
        let made = self.store.txn(txn).await;
        made.map_err(|error| match error.is_ambiguous() {
            true => Error::Uncertain(error),
            false => Error::Store(error),
        })
    }
}

/// The record at an entry.
pub(super) fn decode<M: Message + Default>(entry: &Entry) -> Result<M, Error> {
    Ok(records::decode(&entry.key, &entry.value)?)
}

impl JobQueue for Jobs {
    fn enqueue(&self, job: NewJob) -> BoxFuture<'_, Result<Enqueued, Error>> {
        Box::pin(self.enqueue_by(job, None))
    }

    fn claim(&self, want: Want) -> BoxFuture<'_, Result<Option<Claim>, Error>> {
        Box::pin(self.take(want))
    }

    fn extend<'a>(&'a self, ticket: &'a Ticket) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.keep(ticket))
    }

    fn complete<'a>(
        &'a self,
        ticket: &'a Ticket,
        result: String,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            super::rules::check_result(&result).map_err(Error::Problems)?;
            self.settle(ticket, &Verdict::Done(result)).await?;
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
            let verdict = Verdict::Failed { error, retryable };
            match self.settle(ticket, &verdict).await? {
                Settled::Failed(failed) => Ok(failed),
                Settled::Ended => Ok(Failed::Dead),
            }
        })
    }

    fn release<'a>(&'a self, ticket: &'a Ticket) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.settle(ticket, &Verdict::Released).await?;
            Ok(())
        })
    }

    fn cancel<'a>(&'a self, queue: &'a str, job_id: &'a str) -> BoxFuture<'a, Result<Job, Error>> {
        Box::pin(self.cancel_by(queue, job_id, None))
    }

    fn hold<'a>(
        &'a self,
        queue: &'a str,
        name: &'a str,
        holder: Holder,
    ) -> BoxFuture<'a, Result<Hold, Error>> {
        Box::pin(self.take_hold(queue, name, holder))
    }

    fn extend_hold<'a>(&'a self, hold: &'a Hold) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.keep_hold(hold))
    }

    fn release_hold<'a>(&'a self, hold: &'a Hold) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.end_hold(hold))
    }

    fn list(&self, list: JobList) -> BoxFuture<'_, Result<JobPage, Error>> {
        Box::pin(self.page(list))
    }

    fn get<'a>(&'a self, queue: &'a str, job_id: &'a str) -> BoxFuture<'a, Result<Job, Error>> {
        Box::pin(self.find(queue, job_id))
    }

    fn requeue<'a>(&'a self, queue: &'a str, job_id: &'a str) -> BoxFuture<'a, Result<Job, Error>> {
        Box::pin(self.requeue_by(queue, job_id, None))
    }
}
