//! One core's connections to one backend.
//!
//! HTTP/1.1: a stack of idle connections, newest first. HTTP/2: a few connections whose streams are
//! counted. Nothing here is shared between cores, so nothing locks.

mod h1;
mod h2;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use rustix::io::Errno;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::upload::{UploadBody, UploadProgress};
use crate::config::{PoolSettings, Protocol};
use crate::data_plane::answer::Reason;
use crate::ports::net::{BoxedStream, Endpoint, Net};
use crate::telemetry::metrics::{CoreMetrics, NodeMetrics};
pub(super) use h1::IdleStack;
pub(super) use h2::SharedConnections;

/// How long a pooled connection may take to be ready; it needs one turn of its driver.
const READY_TIMEOUT: Duration = Duration::from_millis(50);

/// What sending came to.
pub(super) enum SendError {
    /// No byte of it reached the backend: it may be sent elsewhere.
    NotSent(Box<Request<UploadBody>>),
    /// The backend may have seen it.
    Sent(hyper::Error),
}

/// Connections of this core to one backend.
pub(super) struct BackendPool {
    net: Arc<dyn Net>,
    endpoint: Endpoint,
    protocol: Protocol,
    settings: Cell<PoolSettings>,
    metrics: NodeMetrics,
    core: usize,
    open: Cell<usize>,
    idle: RefCell<IdleStack>,
    shared: RefCell<SharedConnections>,
    connecting: tokio::sync::Semaphore,
    warming: Cell<bool>,
    drivers: RefCell<JoinSet<()>>,
}

/// The right to send one request over one connection.
pub(super) struct Lease {
    pool: Rc<BackendPool>,
    way: Way,
    /// The connection had served a request before.
    pub(super) reused: bool,
}

enum Way {
    Exclusive(Option<h1::Connection>),
    Stream(Rc<h2::SharedConnection>),
}

impl BackendPool {
    pub(super) fn new(
        net: Arc<dyn Net>,
        endpoint: Endpoint,
        protocol: Protocol,
        settings: PoolSettings,
        metrics: NodeMetrics,
        core: usize,
    ) -> Rc<Self> {
        Rc::new(Self {
            net,
            endpoint,
            protocol,
            settings: Cell::new(settings),
            metrics,
            core,
            open: Cell::new(0),
            idle: RefCell::default(),
            shared: RefCell::default(),
            connecting: tokio::sync::Semaphore::new(1),
            warming: Cell::new(false),
            drivers: RefCell::new(JoinSet::new()),
        })
    }

    /// Limits from now on; what is open stays open as far as they allow.
    pub(super) fn configure(&self, settings: PoolSettings) {
        self.settings.set(settings);
    }

    fn metrics(&self) -> &CoreMetrics {
        self.metrics.core(self.core)
    }

    /// A connection for one request: an idle one, a free stream, or a new connection.
    pub(super) async fn lease(
        self: &Rc<Self>,
        connect_timeout: Duration,
        fresh: bool,
    ) -> Result<Lease, Reason> {
        match self.protocol {
            Protocol::Http1 => self.lease_exclusive(connect_timeout, fresh).await,
            Protocol::Http2 => self.lease_stream(connect_timeout).await,
        }
    }

    async fn lease_exclusive(
        self: &Rc<Self>,
        connect_timeout: Duration,
        fresh: bool,
    ) -> Result<Lease, Reason> {
        if !fresh && let Some(connection) = self.idle_connection().await {
            self.metrics().backend_reuses.increment();
            return Ok(self.exclusive(connection, true));
        }
        if self.open.get() >= self.settings.get().connections_max {
            return Err(Reason::PoolFull);
        }
        let connection = self.open_h1(connect_timeout).await?;
        Ok(self.exclusive(connection, false))
    }

    /// The newest idle connection that still works.
    async fn idle_connection(&self) -> Option<h1::Connection> {
        loop {
            let mut connection = self.idle.borrow_mut().newest()?;
            let sender = &mut connection.sender;
            if sender.is_ready() {
                return Some(connection);
            }
            // Its last response may have ended a moment ago: it is ready as soon as its driver ran.
            // One that is not has something left to send that its backend does not take.
            if let Ok(Ok(())) = timeout(READY_TIMEOUT, sender.ready()).await {
                return Some(connection);
            }
        }
    }

    fn exclusive(self: &Rc<Self>, connection: h1::Connection, reused: bool) -> Lease {
        Lease {
            pool: Rc::clone(self),
            way: Way::Exclusive(Some(connection)),
            reused,
        }
    }

    async fn lease_stream(self: &Rc<Self>, connect_timeout: Duration) -> Result<Lease, Reason> {
        if let Some(connection) = self.free_stream() {
            return Ok(self.stream(connection, true));
        }
        // One connects for all that wait, and none waits longer than if it had connected itself.
        timeout(connect_timeout, self.join_or_open(connect_timeout))
            .await
            .unwrap_or(Err(Reason::ConnectTimeout))
    }

    fn free_stream(&self) -> Option<Rc<h2::SharedConnection>> {
        let settings = self.settings.get();
        let free = self.shared.borrow_mut().free(&settings)?;
        self.metrics().backend_reuses.increment();
        Some(free)
    }

    async fn join_or_open(self: &Rc<Self>, connect_timeout: Duration) -> Result<Lease, Reason> {
        let _turn = self
            .connecting
            .acquire()
            .await
            .map_err(|_| Reason::ConnectFailed)?;
        if let Some(connection) = self.free_stream() {
            return Ok(self.stream(connection, true));
        }
        if self.shared.borrow().len() >= self.settings.get().h2_connections_max {
            return Err(Reason::PoolFull);
        }
        let connection = self.open_h2(connect_timeout).await?;
        Ok(self.stream(connection, false))
    }

    fn stream(self: &Rc<Self>, connection: Rc<h2::SharedConnection>, reused: bool) -> Lease {
        connection.stream_opened();
        Lease {
            pool: Rc::clone(self),
            way: Way::Stream(connection),
            reused,
        }
    }

    async fn connect(&self, connect_timeout: Duration) -> Result<BoxedStream, Reason> {
        let connected = timeout(connect_timeout, self.net.connect(&self.endpoint)).await;
        let metrics = self.metrics();
        match connected {
            Ok(Ok(stream)) => {
                metrics.backend_connects.increment();
                Ok(stream)
            }
            Ok(Err(error)) => {
                metrics.backend_connect_failures.increment();
                tracing::debug!(backend = %self.endpoint, %error, "connect failed");
                Err(connect_reason(&error))
            }
            Err(_) => {
                metrics.backend_connect_failures.increment();
                Err(Reason::ConnectTimeout)
            }
        }
    }

    /// Runs a connection until it closes or the pool is dropped or cut.
    fn drive(&self, open: OpenConnection, connection: impl Future<Output = ()> + 'static) {
        self.spawn(async move {
            connection.await;
            drop(open);
        });
    }

    /// Keeps a tunnel within what [`BackendPool::cut`] ends.
    pub(super) fn drive_tunnel(self: &Rc<Self>, tunnel: impl Future<Output = ()> + 'static) {
        self.drive(OpenConnection::count(self), tunnel);
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut drivers = self.drivers.borrow_mut();
        while drivers.try_join_next().is_some() {}
        drivers.spawn_local(task);
    }

    /// Closes idle connections that are too old or too many and begins to open those that are missing.
    pub(super) fn tend(self: &Rc<Self>, connect_timeout: Duration) {
        let settings = self.settings.get();
        let now = Instant::now();
        self.idle.borrow_mut().expire(now, &settings);
        self.shared.borrow_mut().expire(now, &settings);
        if self.warming.replace(true) {
            return;
        }
        let pool = Rc::clone(self);
        tokio::task::spawn_local(async move {
            pool.warm(connect_timeout).await;
            pool.warming.set(false);
        });
    }

    async fn warm(self: &Rc<Self>, connect_timeout: Duration) {
        match self.protocol {
            Protocol::Http1 => {
                while self.idle.borrow().len() < self.settings.get().idle_min
                    && self.open.get() < self.settings.get().connections_max
                {
                    let Ok(connection) = self.open_h1(connect_timeout).await else {
                        return;
                    };
                    let idle_max = self.settings.get().idle_max;
                    self.idle
                        .borrow_mut()
                        .push(connection, idle_max, Instant::now());
                }
            }
            Protocol::Http2
                if self.settings.get().idle_min > 0 && self.shared.borrow().len() == 0 =>
            {
                // The next request reports what keeps it from connecting.
                let _ = self.open_h2(connect_timeout).await;
            }
            Protocol::Http2 => {}
        }
    }

    /// Ends every connection, whatever runs on it.
    pub(super) fn cut(&self) {
        self.drivers.borrow_mut().abort_all();
        *self.idle.borrow_mut() = IdleStack::default();
        *self.shared.borrow_mut() = SharedConnections::default();
    }
}

fn connect_reason(error: &io::Error) -> Reason {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    if matches!(errno, Some(Errno::MFILE | Errno::NFILE)) {
        return Reason::OutOfDescriptors;
    }
    if error.kind() == io::ErrorKind::TimedOut {
        Reason::ConnectTimeout
    } else {
        Reason::ConnectFailed
    }
}

/// Runs what hyper runs beside an HTTP/2 connection, within what [`BackendPool::cut`] ends.
#[derive(Clone)]
struct PoolExecutor(std::rc::Weak<BackendPool>);

impl<F> hyper::rt::Executor<F> for PoolExecutor
where
    F: Future + 'static,
{
    fn execute(&self, task: F) {
        if let Some(pool) = self.0.upgrade() {
            pool.spawn(async move {
                task.await;
            });
        }
    }
}

/// Counts a connection as open until it is dropped, aborted drivers included.
struct OpenConnection(std::rc::Weak<BackendPool>);

impl OpenConnection {
    fn count(pool: &Rc<BackendPool>) -> Self {
        pool.open.set(pool.open.get() + 1);
        Self(Rc::downgrade(pool))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.open.set(pool.open.get().saturating_sub(1));
        }
    }
}

impl Lease {
    pub(super) async fn send(
        &mut self,
        request: Box<Request<UploadBody>>,
    ) -> Result<Response<Incoming>, SendError> {
        match &mut self.way {
            Way::Exclusive(connection) => {
                let connection = connection
                    .as_mut()
                    .expect("a lease holds its connection until it ends");
                connection
                    .sender
                    .try_send_request(*request)
                    .await
                    .map_err(send_error)
            }
            Way::Stream(connection) => {
                let mut sender = connection.sender();
                sender.try_send_request(*request).await.map_err(send_error)
            }
        }
    }

    /// Gives the connection back for reuse. A lease that is dropped instead closes its connection.
    pub(super) fn release(mut self, now: Instant) {
        if let Some(connection) = self.take_exclusive()
            && !connection.sender.is_closed()
        {
            let idle_max = self.pool.settings.get().idle_max;
            self.pool.idle.borrow_mut().push(connection, idle_max, now);
        }
    }

    /// Lets the rest of an upload through, for a while, although the answer is complete. A stream has
    /// no need of that: it is reset, and the connection goes on.
    pub(super) fn finish_upload(mut self, upload: &UploadProgress) {
        match self.take_exclusive() {
            Some(connection) => connection.finish_upload(),
            None => upload.cut(),
        }
    }

    /// Keeps the connection for a tunnel, which the pool that is returned drives.
    pub(super) fn leave_to_tunnel(mut self) -> Rc<BackendPool> {
        if let Some(connection) = self.take_exclusive() {
            connection.leave_to_tunnel();
        }
        Rc::clone(&self.pool)
    }

    fn take_exclusive(&mut self) -> Option<h1::Connection> {
        match &mut self.way {
            Way::Exclusive(connection) => connection.take(),
            Way::Stream(_) => None,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Way::Stream(connection) = &self.way {
            connection.stream_closed();
        }
    }
}

fn send_error(mut error: hyper::client::conn::TrySendError<Request<UploadBody>>) -> SendError {
    match error.take_message() {
        Some(request) => SendError::NotSent(Box::new(request)),
        None => SendError::Sent(error.into_error()),
    }
}
