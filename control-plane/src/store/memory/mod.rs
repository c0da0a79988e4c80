//! A store that is nothing but memory: for simulations, and for tests that need no disk.
//!
//! Owns      everything, in one task on the runtime that started it. Its clock is that runtime's, whoever asks.
//! Writes    and reads go through that task, one after the other, in the order in which they came.
//! Watches   read the history there, so a slow one holds nothing up and loses nothing until compaction.
//! Bound     [`Options::calls_waiting_max`]; when full, a call is refused as [`Error::Busy`].
//! Blocks    nothing: no thread, no file, no lock.

mod past;
mod state;
mod watch;

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch as published};
use tokio::time::Instant;

use super::limits::{check_at, check_key, check_list, check_ttl, check_txn, check_watch};
use super::{
    Entry, Error, Lease, LeaseId, List, Page, Revision, Status, Store, StoreId, Txn, TxnOutcome,
    Watch, WatchStream, within,
};
use crate::wait::sleep_until;
use state::State;

/// How a store in memory is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Each call's deadline. Default 5 s.
    pub call_limit: Duration,
    /// How many calls may wait. Default 1,024.
    pub calls_waiting_max: usize,
    /// How many revisions are kept for watches and for reads of the past. Default 10,000.
    pub history_revisions_max: u64,
    /// How often a watch to which nothing happens says so. Default 60 s.
    pub progress_every: Duration,
    /// Names the store; draw it at random.
    pub seed: u64,
}

impl Options {
    /// The defaults.
    pub fn new(seed: u64) -> Self {
        Self {
            call_limit: Duration::from_secs(5),
            calls_waiting_max: 1024,
            history_revisions_max: 10_000,
            progress_every: Duration::from_secs(60),
            seed,
        }
    }
}

/// Something to do with what there is.
type Call = Box<dyn FnOnce(&mut State) + Send>;

/// The handle. What it holds is gone when it is dropped.
#[derive(Debug)]
pub struct MemoryStore {
    calls: mpsc::Sender<Call>,
    newest: published::Receiver<Revision>,
    id: StoreId,
    options: Options,
}

impl MemoryStore {
    /// An empty store.
    pub fn start(options: Options) -> Self {
        let (calls, waiting) = mpsc::channel(options.calls_waiting_max);
        let (state, newest) = State::new(options.history_revisions_max);
        tokio::spawn(run(state, waiting));
        Self {
            calls,
            newest,
            id: StoreId(options.seed),
            options,
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut State) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let call: Call = Box::new(move |state| {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(act(state));
        });
        self.calls.try_send(call).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::Busy {
                waiting: self.options.calls_waiting_max,
            },
            mpsc::error::TrySendError::Closed(_) => closed(),
        })?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }
}

/// Does what it is asked, and lets leases end, until nobody can ask any more.
async fn run(mut state: State, mut waiting: mpsc::Receiver<Call>) {
    loop {
        let call = tokio::select! {
            biased;
            call = waiting.recv() => match call {
                Some(call) => Some(call),
                None => return,
            },
            () = sleep_until(state.next_lease_end()) => None,
        };
        state.expire(Instant::now());
        if let Some(call) = call {
            call(&mut state);
        }
    }
}

fn closed() -> Error {
    Error::Unavailable {
        reason: "it is closed".to_owned(),
    }
}

impl Store for MemoryStore {
    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        let get = async move {
            check_key("key", &key)?;
            check_at("at", at)?;
            self.ask(move |state| state.get_at(&key, at)).await
        };
        Box::pin(within("get", self.options.call_limit, get))
    }

    fn list(&self, list: List) -> BoxFuture<'_, Result<Page, Error>> {
        let page = async move {
            check_list(&list)?;
            let id = self.id;
            self.ask(move |state| state.list(&list, id)).await
        };
        Box::pin(within("list", self.options.call_limit, page))
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, Error>> {
        let outcome = async move {
            check_txn(&txn)?;
            self.ask(move |state| state.txn(&txn)).await
        };
        Box::pin(within("txn", self.options.call_limit, outcome))
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, Error>> {
        let lease = async move {
            check_ttl(ttl)?;
            self.ask(move |state| Ok(state.grant(ttl, Instant::now())))
                .await
        };
        Box::pin(within("grant", self.options.call_limit, lease))
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        let kept = self.ask(move |state| state.keep_alive(lease, Instant::now()));
        Box::pin(within("keep_alive", self.options.call_limit, kept))
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        let revoked = self.ask(move |state| state.revoke(lease));
        Box::pin(within("revoke", self.options.call_limit, revoked))
    }

    fn watch(&self, watch: Watch) -> BoxFuture<'_, Result<WatchStream, Error>> {
        Box::pin(async move {
            check_watch(&watch)?;
            let newest = self.newest.clone();
            let calls = self.calls.downgrade();
            watch::open(calls, watch, newest, self.options.progress_every)
        })
    }

    fn compact(&self, at: Revision) -> BoxFuture<'_, Result<(), Error>> {
        let compacted = async move {
            check_at("at", Some(at))?;
            self.ask(move |state| state.compact(at)).await
        };
        Box::pin(within("compact", self.options.call_limit, compacted))
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, Error>> {
        let id = self.id;
        let status = self.ask(move |state| {
            Ok(Status {
                healthy: true,
                problems: Vec::new(),
                revision: state.revision(),
                leader: None,
                store: id,
                disk_bytes: state.held_bytes(),
            })
        });
        Box::pin(within("status", self.options.call_limit, status))
    }
}
