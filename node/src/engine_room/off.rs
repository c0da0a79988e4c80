//! Parts for a node that runs no engines: in simulations and tests of other things.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, ready};
use futures::stream::{self, BoxStream};
use weir_control_plane::store::memory::{MemoryStore, Options};
use weir_engines::containers::{Container, Containers};
use weir_engines::driver::{Driver, Ended, EngineSpec, Error, Running};

use super::{EngineRoom, local_queue};
use crate::actors::provision_supervisor::Drivers;
use crate::ports::clock::WallClock;

/// Runs nothing.
struct Off;

fn refused<T: Send + 'static>() -> BoxFuture<'static, Result<T, Error>> {
    let error = Error::Missing {
        what: "driver",
        name: "none".to_owned(),
    };
    Box::pin(ready(Err(error)))
}

impl Driver for Off {
    fn name(&self) -> &'static str {
        "none"
    }

    fn start(&self, _: EngineSpec) -> BoxFuture<'_, Result<Running, Error>> {
        refused()
    }

    fn stop(&self, _: &str, _: u64, _: Duration) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(ready(Ok(())))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Running>, Error>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    fn logs(&self, _: &str, _: usize) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        refused()
    }

    fn ends(&self) -> BoxStream<'static, Ended> {
        Box::pin(stream::pending())
    }
}

impl Containers for Off {
    fn look(&self, _: &str) -> BoxFuture<'_, Result<Option<Container>, Error>> {
        Box::pin(ready(Ok(None)))
    }

    fn restart(&self, _: &str, _: Duration) -> BoxFuture<'_, Result<(), Error>> {
        refused()
    }
}

/// A room with nothing in it. Must run within a runtime.
pub fn off(clock: WallClock, seed: u64) -> EngineRoom {
    let off = Arc::new(Off);
    EngineRoom {
        drivers: Drivers {
            process: off.clone(),
            docker: off.clone(),
            containers: off.clone(),
        },
        containers: off,
        queue: Arc::new(local_queue(
            Arc::new(MemoryStore::start(Options::new(seed))),
            clock,
            seed,
        )),
        registry: None,
        connect: Arc::new(|_| Err("this node asks no VPN".to_owned())),
    }
}
