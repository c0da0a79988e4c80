//! The process driver, opened when it is needed: a node without engines has no folder for them.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use tokio::sync::{Mutex, watch};
use weir_engines::driver::{Driver, Ended, EngineSpec, Error, LinesLost, Running};
use weir_engines::process::{ProcessDriver, Settings};

/// The driver, once it is open.
pub(super) struct Lazy {
    settings: Settings,
    opening: Mutex<()>,
    opened: Arc<watch::Sender<Option<ProcessDriver>>>,
}

impl Lazy {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            opening: Mutex::new(()),
            opened: Arc::new(watch::Sender::new(None)),
        }
    }

    async fn driver(&self) -> Result<ProcessDriver, Error> {
        let _turn = self.opening.lock().await;
        if let Some(driver) = self.opened.borrow().clone() {
            return Ok(driver);
        }
        let driver = ProcessDriver::open(self.settings.clone())?;
        self.opened.send_replace(Some(driver.clone()));
        Ok(driver)
    }

    /// What the driver tells, once it is open.
    fn once_open<T: Send + 'static>(
        &self,
        told: fn(&ProcessDriver) -> BoxStream<'static, T>,
    ) -> BoxStream<'static, T> {
        let mut opened = self.opened.subscribe();
        let first = async move {
            let driver = opened.wait_for(Option::is_some).await;
            let driver = driver.ok().and_then(|driver| driver.clone());
            driver.map_or_else(|| stream::pending().boxed(), |driver| told(&driver))
        };
        stream::once(first).flatten().boxed()
    }

    /// Whether anything can be known without opening it: before the first engine there is no folder.
    fn is_needed(&self) -> bool {
        self.opened.borrow().is_some() || self.settings.folder.exists()
    }
}

impl Driver for Lazy {
    fn name(&self) -> &'static str {
        "process"
    }

    fn start(&self, spec: EngineSpec) -> BoxFuture<'_, Result<Running, Error>> {
        Box::pin(async move { self.driver().await?.start(spec).await })
    }

    fn stop(&self, name: &str, fence: u64, grace: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let name = name.to_owned();
        Box::pin(async move { self.driver().await?.stop(&name, fence, grace).await })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Running>, Error>> {
        Box::pin(async move {
            match self.is_needed() {
                true => self.driver().await?.list().await,
                false => Ok(Vec::new()),
            }
        })
    }

    fn logs(&self, name: &str, lines_max: usize) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        let name = name.to_owned();
        Box::pin(async move { self.driver().await?.logs(&name, lines_max).await })
    }

    fn ends(&self) -> BoxStream<'static, Ended> {
        self.once_open(ProcessDriver::ends)
    }

    fn lines_lost(&self) -> BoxStream<'static, LinesLost> {
        self.once_open(ProcessDriver::lines_lost)
    }
}
