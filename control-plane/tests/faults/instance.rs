//! An instance of the control plane on threads of its own, so that it can be killed and frozen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};
use weir_control_plane::election::Standing;
use weir_control_plane::governance::guard::Access;
use weir_control_plane::server::{ControlPlane, Limits, Options};
use weir_control_plane::store::Store;
use weir_control_plane::store::etcd::{self, EtcdStore};

use crate::etcd::free_port;

/// No step of any test takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What an instance needs.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// Of etcd.
    pub(crate) members: Vec<String>,
    pub(crate) limits: Limits,
    /// Changes its way to the store.
    pub(crate) way: Option<Way>,
}

/// Wraps a store.
pub(crate) type Way = Arc<dyn Fn(Arc<dyn Store>) -> Arc<dyn Store> + Send + Sync>;

impl Plan {
    pub(crate) fn new(name: &str, members: &[String]) -> Self {
        Self {
            name: name.to_owned(),
            address: ([127, 0, 0, 1], free_port()).into(),
            members: members.to_vec(),
            limits: Limits::default(),
            way: None,
        }
    }

    pub(crate) async fn start(&self) -> Instance {
        Instance::start(self.clone()).await
    }
}

/// The instance. It is killed when this is dropped.
pub(crate) struct Instance {
    pub(crate) plan: Plan,
    runtime: Option<Runtime>,
    standing: watch::Receiver<Standing>,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<oneshot::Receiver<()>>,
}

impl Instance {
    async fn start(plan: Plan) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell_end, ended) = oneshot::channel();
        let (tell, standing) = oneshot::channel();
        let run = run(plan.clone(), tell, async {
            let _ = stopped.await;
        });
        runtime.spawn(async move {
            run.await;
            let _ = tell_end.send(());
        });
        Self {
            plan,
            runtime: Some(runtime),
            standing: standing.await.unwrap(),
            stop: Some(stop),
            ended: Some(ended),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.plan.address
    }

    /// Who leads, as far as it knows.
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.standing.borrow().is_self.is_some()
    }

    /// Ends it without a last word.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Kills it and starts it again.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        *self = Self::start(self.plan.clone()).await;
    }

    /// Lets it end in order.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        let ended = self.ended.take().unwrap();
        tokio::time::timeout(PATIENCE, ended)
            .await
            .unwrap()
            .unwrap();
        self.kill();
    }

    /// Stops its clock, until the end of what is returned.
    pub(crate) fn freeze(&self) -> Sender<()> {
        let (thaw, thawed) = channel();
        let runtime = self.runtime.as_ref().expect("it runs");
        runtime.spawn(async move {
            // Blocks the only thread of the runtime, with its timers and sockets.
            let _ = thawed.recv();
        });
        thaw
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn run(
    plan: Plan,
    tell: oneshot::Sender<watch::Receiver<Standing>>,
    stop: impl Future<Output = ()>,
) {
    let store = connect(&plan.members).await;
    let store = match &plan.way {
        Some(way) => way(store),
        None => store,
    };
    let listener = bind(plan.address).await;
    let options = Options {
        clock: weir_control_plane::clock::WallClock::system(),
        instance: plan.name.clone(),
        address: plan.address.to_string(),
        namespace: "default".to_owned(),
        access: Access::OpenLoopback,
        tls: None,
        limits: plan.limits,
        seed: fastrand::u64(..),
    };
    let control_plane = ControlPlane::start(store, options).await.unwrap();
    let _ = tell.send(control_plane.standing());
    control_plane.serve(listener, stop).await.unwrap();
}

/// One that was killed a moment ago may still have the port.
async fn bind(address: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if Instant::now() > deadline => panic!("{address}: {error}"),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// A store on these members, as instances have it.
pub(crate) async fn connect(members: &[String]) -> Arc<dyn Store> {
    let options = etcd::Options {
        call_limit: Duration::from_secs(2),
        probe_after: Duration::from_millis(1_000),
        silent_max: Duration::from_millis(2_500),
        ..etcd::Options::new(members.to_vec())
    };
    Arc::new(EtcdStore::connect(options).await.unwrap())
}
