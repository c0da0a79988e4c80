//! The store of a cluster: etcd, 3.5 or later; 3.4 works.
//!
//! Two clients: one for calls, whose every request has a deadline, and one for what lasts, which a deadline
//! would cut. Both ping idle connections, so a half-open one is found out. A read that reached nobody is tried
//! again until its deadline; a write is not, because it may have been made.

mod convert;
mod error;
mod standing;
mod watch;

use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Client, ConnectOptions, GetOptions, KvClient, WatchClient};
use futures::future::BoxFuture;

use super::limits::{check_at, check_key, check_list, check_ttl, check_txn, check_watch};
use super::{
    Entry, Error, Lease, LeaseId, List, Op, Page, Revision, Status, Store, StoreId, Txn,
    TxnOutcome, Watch, WatchStream, within,
};

use standing::Standing;

pub use etcd_client::{Certificate, Identity, TlsOptions};

/// Largest answer that is decoded: a full page of the largest values, and some room.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Between two tries of a read.
const READ_RETRY_EVERY: Duration = Duration::from_millis(50);
/// Idle connections are pinged this often; etcd refuses clients that ping more than every 5 s.
const PING_EVERY: Duration = Duration::from_secs(10);
/// A ping unanswered for this long ends the connection.
const PING_LIMIT: Duration = Duration::from_secs(5);

/// How etcd is reached.
#[derive(Clone, Debug)]
pub struct Options {
    /// `http://` or `https://` addresses of its members; at least one.
    pub endpoints: Vec<String>,
    /// Certificates, for `https://`.
    pub tls: Option<TlsOptions>,
    /// Name and password, where etcd asks for them.
    pub user: Option<(String, String)>,
    /// Each call's deadline. Default 5 s.
    pub call_limit: Duration,
    /// A watch that heard nothing for this long asks for a sign of life. Default 60 s.
    pub probe_after: Duration,
    /// And ends as [`Error::Silent`] after this long. Default 90 s.
    pub silent_max: Duration,
}

impl Options {
    /// The defaults, for these members.
    pub fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            tls: None,
            user: None,
            call_limit: Duration::from_secs(5),
            probe_after: Duration::from_secs(60),
            silent_max: Duration::from_secs(90),
        }
    }
}

/// The handle.
#[derive(Clone)]
pub struct EtcdStore {
    calls: Client,
    kv: KvClient,
    lasting: Client,
    watches: WatchClient,
    options: Options,
    standing: Standing,
}

impl EtcdStore {
    /// Prepares the clients. Succeeds although etcd is down, unless it must log in; ask [`Store::status`].
    pub async fn connect(options: Options) -> Result<Self, Error> {
        let connect = async {
            let mut both = ConnectOptions::new()
                .with_keep_alive(PING_EVERY, PING_LIMIT)
                .with_keep_alive_while_idle(true)
                .with_connect_timeout(options.call_limit)
                .with_auto_token_refresh(true);
            if let Some(tls) = &options.tls {
                both = both.with_tls(tls.clone());
            }
            if let Some((name, password)) = &options.user {
                both = both.with_user(name, password);
            }
            let to_calls = both.clone().with_timeout(options.call_limit);
            let to_last = both.with_require_leader(true);
            let calls = Client::connect(&options.endpoints, Some(to_calls)).await;
            let lasting = Client::connect(&options.endpoints, Some(to_last)).await;
            Ok((calls.map_err(error::of)?, lasting.map_err(error::of)?))
        };
        let (calls, lasting) = Box::pin(within("connect", options.call_limit, connect)).await?;
        Ok(Self {
            kv: calls
                .kv_client()
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            watches: lasting
                .watch_client()
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            calls,
            lasting,
            standing: Standing::new(&options.endpoints),
            options,
        })
    }

    /// Reads, and again if nobody could be reached. The caller's deadline ends it.
    async fn range(
        &self,
        key: &[u8],
        range: GetOptions,
        asked: Option<Revision>,
    ) -> Result<etcd_client::GetResponse, Error> {
        loop {
            let answer = self.kv.clone().get(key, Some(range.clone())).await;
            match answer.map_err(|failed| error::of_revision(failed, asked)) {
                Err(Error::Unavailable { .. }) => tokio::time::sleep(READ_RETRY_EVERY).await,
                answer => return answer,
            }
        }
    }

    /// A call within its deadline, after which it is known whether etcd answers.
    async fn told<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let outcome = within(operation, self.options.call_limit, call).await;
        self.standing.saw(&outcome);
        outcome
    }

    async fn get_now(&self, key: Bytes, at: Option<Revision>) -> Result<Option<Entry>, Error> {
        check_key("key", &key)?;
        check_at("at", at)?;
        let range = GetOptions::new().with_revision(convert::revision_or_zero(at));
        let answer = self.range(&key, range, at).await?;
        Ok(answer.kvs().first().map(convert::entry))
    }

    async fn list_now(&self, list: List) -> Result<Page, Error> {
        check_list(&list)?;
        let (start, end) = convert::range(&list.prefix, list.after.as_deref());
        let range = GetOptions::new()
            .with_range(end)
            .with_limit(i64::try_from(list.entries_max).unwrap_or(i64::MAX))
            .with_revision(convert::revision_or_zero(list.at));
        let answer = self.range(&start, range, list.at).await?;
        let header = convert::header(answer.header())?;
        Ok(Page {
            entries: answer.kvs().iter().map(convert::entry).collect(),
            more: answer.more(),
            revision: convert::revision(header.revision()),
            store: StoreId(header.cluster_id()),
        })
    }

    async fn txn_now(&self, txn: Txn) -> Result<TxnOutcome, Error> {
        check_txn(&txn)?;
        let sent = convert::txn(&txn);
        let mut steps = txn.then.iter().chain(&txn.or_else);
        let is_read = steps.all(|op| matches!(op, Op::Get(_)));
        let answer = loop {
            let answer = self.kv.clone().txn(sent.clone()).await;
            match answer.map_err(error::of) {
                Err(Error::Unavailable { .. }) if is_read => {
                    tokio::time::sleep(READ_RETRY_EVERY).await;
                }
                answer => break answer?,
            }
        };
        let header = convert::header(answer.header())?;
        let results = answer.op_responses().into_iter().map(convert::result);
        Ok(TxnOutcome {
            succeeded: answer.succeeded(),
            revision: convert::revision(header.revision()),
            results: results.collect::<Result<_, _>>()?,
        })
    }

    async fn status_now(&self) -> Result<Status, Error> {
        let answer = self.calls.clone().status().await.map_err(error::of)?;
        let header = convert::header(answer.header())?;
        let leader = Some(answer.leader()).filter(|leader| *leader != 0);
        let mut problems = answer.errors().to_vec();
        if leader.is_none() {
            problems.push("the cluster has no leader".to_owned());
        }
        Ok(Status {
            healthy: problems.is_empty(),
            problems,
            revision: convert::revision(header.revision()),
            leader,
            store: StoreId(header.cluster_id()),
            disk_bytes: u64::try_from(answer.db_size()).unwrap_or(0),
        })
    }
}

impl Store for EtcdStore {
    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        Box::pin(self.told("get", self.get_now(key, at)))
    }

    fn list(&self, list: List) -> BoxFuture<'_, Result<Page, Error>> {
        Box::pin(self.told("list", self.list_now(list)))
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, Error>> {
        Box::pin(self.told("txn", self.txn_now(txn)))
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, Error>> {
        let lease = async move {
            check_ttl(ttl)?;
            let whole_secs = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
            let whole_secs = i64::try_from(whole_secs).unwrap_or(i64::MAX);
            let granted = self.calls.clone().lease_grant(whole_secs, None).await;
            let granted = granted.map_err(error::of)?;
            Ok(Lease {
                id: convert::lease(granted.id()),
                ttl: convert::ttl(granted.ttl()),
            })
        };
        Box::pin(self.told("grant", lease))
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        let kept = async move {
            let id = convert::lease_id(lease);
            // Pings once; the stream ends with what is returned.
            let kept = self.lasting.clone().lease_keep_alive(id).await;
            kept.map(drop).map_err(error::of_keep_alive)
        };
        Box::pin(self.told("keep_alive", kept))
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        let revoked = async move {
            let id = convert::lease_id(lease);
            let revoked = self.calls.clone().lease_revoke(id).await;
            revoked.map(drop).map_err(error::of)
        };
        Box::pin(self.told("revoke", revoked))
    }

    fn watch(&self, watch: Watch) -> BoxFuture<'_, Result<WatchStream, Error>> {
        let stream = async move {
            check_watch(&watch)?;
            watch::open(self.watches.clone(), watch, &self.options).await
        };
        Box::pin(self.told("watch", stream))
    }

    fn compact(&self, at: Revision) -> BoxFuture<'_, Result<(), Error>> {
        let compacted = async move {
            check_at("at", Some(at))?;
            let revision = convert::revision_or_zero(Some(at));
            let compacted = self.kv.clone().compact(revision, None).await;
            compacted
                .map(drop)
                .map_err(|failed| error::of_revision(failed, Some(at)))
        };
        Box::pin(self.told("compact", compacted))
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, Error>> {
        Box::pin(self.told("status", self.status_now()))
    }
}
