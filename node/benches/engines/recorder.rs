//! A driver that notes when starts begin. Its engines are listeners of this process: they answer probes, cheaply.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{BoxFuture, ready};
use futures::stream::{self, BoxStream};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use weir_engines::driver::{Driver, Ended, EngineSpec, Error, Running, State};

/// How long most starts take.
const USUAL: Duration = Duration::from_secs(2);
/// One in [`SLOW_EVERY`] takes this long, so that also permits run out.
const SLOW: Duration = Duration::from_secs(5);
const SLOW_EVERY: usize = 8;

/// The driver. Cheap to clone.
#[derive(Clone)]
pub(super) struct Recorder(Arc<watch::Sender<Recorded>>);

#[derive(Default)]
struct Recorded {
    starts: Vec<Instant>,
    running: usize,
    most: usize,
    engines: BTreeMap<String, (Running, Listening)>,
}

/// A listener; ends when it is dropped.
struct Listening(AbortHandle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A start under way; it is over when this is dropped.
struct UnderWay(Recorder);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.send_modify(|recorded| recorded.running -= 1);
    }
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Recorded::default())))
    }

    /// When starts began, in that order.
    pub(super) fn starts(&self) -> Vec<Instant> {
        self.0.borrow().starts.clone()
    }

    /// The most starts that were under way at a time.
    pub(super) fn most(&self) -> usize {
        self.0.borrow().most
    }

    fn begins(&self) -> (UnderWay, Duration) {
        let mut number = 0;
        self.0.send_modify(|recorded| {
            recorded.starts.push(Instant::now());
            recorded.running += 1;
            recorded.most = recorded.most.max(recorded.running);
            number = recorded.starts.len();
        });
        let takes = match number % SLOW_EVERY {
            0 => SLOW,
            _ => USUAL,
        };
        (UnderWay(self.clone()), takes)
    }

    async fn run(&self, spec: EngineSpec) -> Result<Running, Error> {
        let port = spec
            .labels
            .get("weir.port")
            .and_then(|port| port.parse().ok());
        let port = port.ok_or(Error::Missing {
            what: "label",
            name: "weir.port".to_owned(),
        })?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.map_err(|_| Error::PortInUse(port))?;
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(stream);
            }
        });
        let running = Running {
            name: spec.name.clone(),
            fence: spec.fence,
            labels: spec.labels,
            state: State::Running,
            pid: None,
            container_id: None,
            image: None,
            command: Vec::new(),
            image_digest: None,
            network_container_id: None,
            started_unix_ms: 0,
        };
        let engine = (running.clone(), Listening(accepting.abort_handle()));
        self.0
            .send_modify(|recorded| drop(recorded.engines.insert(spec.name, engine)));
        Ok(running)
    }
}

impl Driver for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn start(&self, spec: EngineSpec) -> BoxFuture<'_, Result<Running, Error>> {
        let (under_way, takes) = self.begins();
        Box::pin(async move {
            sleep(takes).await;
            let running = self.run(spec).await;
            drop(under_way);
            running
        })
    }

    fn stop(&self, name: &str, _: u64, _: Duration) -> BoxFuture<'_, Result<(), Error>> {
        self.0
            .send_modify(|recorded| drop(recorded.engines.remove(name)));
        Box::pin(ready(Ok(())))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Running>, Error>> {
        let recorded = self.0.borrow();
        let engines = recorded.engines.values();
        let engines = engines.map(|(running, _)| running.clone()).collect();
        Box::pin(ready(Ok(engines)))
    }

    fn logs(&self, name: &str, _: usize) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        Box::pin(ready(Err(Error::Unknown(name.to_owned()))))
    }

    fn ends(&self) -> BoxStream<'static, Ended> {
        stream::pending().boxed()
    }
}
