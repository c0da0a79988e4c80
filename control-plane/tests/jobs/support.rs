//! Stores with jobs on them, and short words for what the tests do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use weir_control_plane::governance::identity::Identity;
use weir_control_plane::grpc::JobsService;
use weir_control_plane::jobs::{
    Claim, DEFAULT_QUEUE, Holder, Job, JobList, JobQueue, Jobs, NewJob, Options, RemoteJobs, Spec,
    State, Want,
};
use weir_control_plane::keys::{DEFAULT_NAMESPACE, JobKeys, Keys};
use weir_control_plane::store::embedded::{self, EmbeddedStore};
use weir_control_plane::store::etcd::{self as client, EtcdStore};
use weir_control_plane::store::memory::{self, MemoryStore};
use weir_control_plane::store::{List, Store};
use weir_proto::control::v1::jobs_server::JobsServer;

use crate::etcd::Etcd;

/// No step of any test takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// When everything happens, if the test does not say otherwise.
pub(crate) const NOW: u64 = 1_772_366_400_000;
/// The shortest that stores take, so that tests of deaths are short.
pub(crate) const TTL: Duration = Duration::from_secs(2);
/// Between two looks at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A shared store.
pub(crate) type Shared = Arc<dyn Store>;

pub(crate) fn memory() -> Shared {
    Arc::new(MemoryStore::start(memory::Options {
        history_revisions_max: 100_000,
        ..memory::Options::new(7)
    }))
}

/// An embedded store that is empty, and its folder.
pub(crate) async fn embedded() -> (TempDir, Shared) {
    let folder = tempfile::tempdir().unwrap();
    let options = embedded::Options::new(folder.path(), 7);
    let store = EmbeddedStore::open(options).await.unwrap();
    (folder, Arc::new(store))
}

/// A real etcd that is empty, and a store on it.
pub(crate) async fn etcd() -> (Etcd, Shared) {
    let etcd = Etcd::start().await;
    let options = client::Options::new(vec![etcd.endpoint()]);
    let store = EtcdStore::connect(options).await.unwrap();
    (etcd, Arc::new(store))
}

/// Jobs on a store, with a clock that is moved by hand.
pub(crate) struct Home {
    pub(crate) store: Shared,
    pub(crate) jobs: Arc<dyn JobQueue>,
    pub(crate) clock: Arc<AtomicU64>,
    is_remote: bool,
    seeds: AtomicU64,
}

impl Home {
    pub(crate) fn on(store: Shared) -> Self {
        let clock = Arc::new(AtomicU64::new(NOW));
        let jobs = Arc::new(local(store.clone(), &clock, options(1)));
        Self {
            store,
            jobs,
            clock,
            is_remote: false,
            seeds: AtomicU64::new(2),
        }
    }

    /// The same jobs as a node of a mesh sees them.
    pub(crate) async fn behind_grpc(mut self) -> Self {
        self.is_remote = true;
        let jobs = self.local(&self.store, |_| {});
        self.jobs = self.served(jobs).await;
        self
    }

    /// Jobs in this process, over another way to the same store.
    pub(crate) fn local(&self, store: &Shared, set: impl FnOnce(&mut Options)) -> Arc<Jobs> {
        let mut options = options(self.seeds.fetch_add(1, Ordering::Relaxed));
        set(&mut options);
        Arc::new(local(Arc::clone(store), &self.clock, options))
    }

    /// The same as the home is: in this process, or behind gRPC.
    pub(crate) async fn through(
        &self,
        store: &Shared,
        set: impl FnOnce(&mut Options),
    ) -> Arc<dyn JobQueue> {
        let jobs = self.local(store, set);
        match self.is_remote {
            true => self.served(jobs).await,
            false => jobs,
        }
    }

    async fn served(&self, jobs: Arc<Jobs>) -> Arc<dyn JobQueue> {
        let channel = serve(jobs, Identity::local()).await;
        let clock = Arc::clone(&self.clock);
        let now = Arc::new(move || clock.load(Ordering::SeqCst));
        let seed = self.seeds.fetch_add(1, Ordering::Relaxed);
        Arc::new(RemoteJobs::new(channel, None, "node-a", now, seed))
    }

    pub(crate) fn keys(&self) -> JobKeys {
        let keys = Keys::new(DEFAULT_NAMESPACE).unwrap();
        keys.jobs(DEFAULT_QUEUE).unwrap()
    }

    pub(crate) fn advance(&self, by: Duration) {
        let by_ms = u64::try_from(by.as_millis()).unwrap();
        self.clock.fetch_add(by_ms, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// Adds a job of this key.
    pub(crate) async fn add(&self, key: &str) -> String {
        self.add_with(key, |_| {}).await
    }

    pub(crate) async fn add_with(&self, key: &str, set: impl FnOnce(&mut NewJob)) -> String {
        let mut job = new(key);
        set(&mut job);
        let added = self.jobs.enqueue(job).await.unwrap();
        assert!(!added.already);
        added.job_id
    }

    /// What this node gets now.
    pub(crate) async fn ask(&self, node: &str) -> Option<Claim> {
        self.jobs.claim(want(node)).await.unwrap()
    }

    /// What this node gets in the end.
    pub(crate) async fn claim(&self, node: &str) -> Claim {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(claim) = self.ask(node).await {
                return claim;
            }
            assert!(Instant::now() < deadline, "nothing to claim");
            sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) async fn get(&self, job_id: &str) -> Job {
        self.jobs.get(DEFAULT_QUEUE, job_id).await.unwrap()
    }

    pub(crate) async fn state(&self, job_id: &str) -> State {
        self.get(job_id).await.state()
    }

    /// All jobs in these states.
    pub(crate) async fn all(&self, states: &[State]) -> Vec<Job> {
        let mut list = JobList {
            queue: DEFAULT_QUEUE.to_owned(),
            states: states.to_vec(),
            after: String::new(),
            entries_max: 200,
        };
        let mut found = Vec::new();
        loop {
            let page = self.jobs.list(list.clone()).await.unwrap();
            found.extend(page.jobs);
            if page.next.is_empty() {
                return found;
            }
            list.after = page.next;
        }
    }

    /// How many keys there are below a prefix.
    pub(crate) async fn count(&self, prefix: Bytes) -> usize {
        let list = List {
            prefix,
            entries_max: 200,
            ..List::default()
        };
        let page = self.store.list(list).await.unwrap();
        assert!(!page.more);
        page.entries.len()
    }
}

fn options(seed: u64) -> Options {
    Options {
        claim_ttl: TTL,
        recover_every: Duration::ZERO,
        ..Options::new(seed)
    }
}

fn local(store: Shared, clock: &Arc<AtomicU64>, options: Options) -> Jobs {
    let clock = Arc::clone(clock);
    let now = Arc::new(move || clock.load(Ordering::SeqCst));
    Jobs::new(store, Keys::new(DEFAULT_NAMESPACE).unwrap(), now, options)
}

/// Serves jobs to whoever calls, as this identity, until the test ends.
pub(crate) async fn serve(jobs: Arc<Jobs>, identity: Identity) -> Channel {
    let guard = move |mut request: tonic::Request<()>| {
        request.extensions_mut().insert(identity.clone());
        Ok(request)
    };
    let service = JobsService::new(jobs, Arc::new(|| NOW));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .add_service(JobsServer::with_interceptor(service, guard))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

/// A job of service `tv`.
pub(crate) fn new(key: &str) -> NewJob {
    NewJob {
        queue: DEFAULT_QUEUE.to_owned(),
        idempotency_key: key.to_owned(),
        spec: Spec {
            service: "tv".to_owned(),
            slot: key.to_owned(),
            reason: "scale up".to_owned(),
            payload: b"opaque".to_vec(),
            trace_context: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
        },
        ..NewJob::default()
    }
}

pub(crate) fn holder(node: &str) -> Holder {
    Holder {
        node_id: node.to_owned(),
        boot_id: format!("boot-of-{node}"),
    }
}

/// Anything, without bounds of the fleet.
pub(crate) fn want(node: &str) -> Want {
    Want {
        queue: DEFAULT_QUEUE.to_owned(),
        holder: holder(node),
        ..Want::default()
    }
}
