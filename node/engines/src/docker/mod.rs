//! Engines in containers, through Docker's own API on its Unix socket.
//!
//! Containers are the truth: whose they are and of which attempt is in their [`labels`], and nothing is remembered
//! here, so whoever has the same owner finds what another process left. An engine that ended stays, with its code and
//! its last lines, until it is stopped or one of its name is started.

mod client;
mod ends;
mod images;
pub mod labels;
mod logs;
mod moments;
mod removal;
mod seen;
mod spec;
mod start;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, RestartContainerOptionsBuilder,
};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};

use self::client::{Client, Failure};
use self::seen::{Engine, Seen};
use crate::containers::{Container, Containers};
use crate::driver::{Driver, Ended, EngineSpec, Error, Running};

pub use self::images::Drift;

/// Where Docker listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// How long Docker may take to answer, beyond what it was told to wait. It takes seconds on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How many containers of a list are looked at at a time.
const LOOKS_MAX: usize = 8;
/// Engines that do not come up at all end within this: a bad option, a library that is missing.
const SETTLE: Duration = Duration::from_millis(300);

/// What a driver of Docker needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Docker's Unix socket.
    pub socket: PathBuf,
    /// Tells this Weir's containers from those of others on the same Docker.
    pub owner: String,
    /// How long Docker may take to answer, beyond what it was told to wait.
    pub answer_limit: Duration,
    /// An engine that ends within this after its start has not been started.
    pub settle: Duration,
}

impl Settings {
    /// On [`DEFAULT_SOCKET`], with the usual limits.
    #[must_use]
    pub fn of(owner: impl Into<String>) -> Self {
        Self {
            socket: DEFAULT_SOCKET.into(),
            owner: owner.into(),
            answer_limit: ANSWER_LIMIT,
            settle: SETTLE,
        }
    }
}

/// Runs engines in containers.
#[derive(Clone)]
pub struct Docker {
    client: Arc<Client>,
    owner: Arc<str>,
    answer_limit: Duration,
    settle: Duration,
}

impl Docker {
    /// Connects with the first call only: Docker may come later.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            client: Arc::new(Client::new(settings.socket)),
            owner: settings.owner.into(),
            answer_limit: settings.answer_limit,
            settle: settings.settle,
        }
    }

    /// What has this name or id.
    async fn seen(&self, name: &str) -> Result<Option<Seen>, Error> {
        spec::check_name(name)?;
        let found = self.inspect(name).await?;
        Ok(found.and_then(|found| seen::seen(found, &self.owner)))
    }

    /// The engine of ours that has this name or id.
    async fn engine(&self, name: &str) -> Result<Option<Engine>, Error> {
        Ok(self.seen(name).await?.and_then(Seen::engine))
    }

    async fn inspect(
        &self,
        name: &str,
    ) -> Result<Option<bollard::models::ContainerInspectResponse>, Error> {
        const OPERATION: &str = "looking at a container";
        let asked = self
            .client
            .call(OPERATION, self.answer_limit, async |docker| {
                docker
                    .inspect_container(name, None::<InspectContainerOptions>)
                    .await
            });
        match asked.await {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Said { status: 404, .. }) => Ok(None),
            Err(failure) => Err(failure.refused(OPERATION)),
        }
    }

    async fn all(&self) -> Result<Vec<Running>, Error> {
        const OPERATION: &str = "listing containers";
        let filters = HashMap::from([("label", labels::filters(&self.owner))]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let asked = self
            .client
            .call(OPERATION, self.answer_limit, async |docker| {
                docker.list_containers(Some(options)).await
            });
        let listed = asked.await.map_err(|failure| failure.refused(OPERATION))?;
        let ids = listed.into_iter().filter_map(|container| container.id);
        let found: Vec<Option<Engine>> = stream::iter(ids)
            .map(|id| async move { self.engine(&id).await })
            .buffer_unordered(LOOKS_MAX)
            .try_collect()
            .await?;
        let engines = found.into_iter().flatten();
        let mut running: Vec<Running> = engines.map(|engine| engine.running).collect();
        running.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(running)
    }

    async fn restarted(&self, name: &str, grace: Duration) -> Result<(), Error> {
        const OPERATION: &str = "restarting a container";
        spec::check_name(name)?;
        let options = RestartContainerOptionsBuilder::new()
            .t(removal::whole_seconds(grace))
            .build();
        let asked = self
            .client
            .call(OPERATION, grace + self.answer_limit, async |docker| {
                docker.restart_container(name, Some(options)).await
            });
        match asked.await {
            Ok(()) => Ok(()),
            Err(Failure::Said { status: 404, .. }) => Err(spec::missing("container", name)),
            Err(failure) => Err(failure.refused(OPERATION)),
        }
    }
}

impl Driver for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn start(&self, spec: EngineSpec) -> BoxFuture<'_, Result<Running, Error>> {
        async move { self.started(&spec).await }.boxed()
    }

    fn stop(&self, name: &str, fence: u64, grace: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let name = name.to_owned();
        async move { self.stopped(&name, fence, grace).await }.boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Running>, Error>> {
        self.all().boxed()
    }

    fn logs(&self, name: &str, lines_max: usize) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        let name = name.to_owned();
        async move { self.lines(&name, lines_max).await }.boxed()
    }

    fn ends(&self) -> BoxStream<'static, Ended> {
        ends::ends(Arc::clone(&self.client), Arc::clone(&self.owner))
    }

    fn has_drifted(&self, name: &str) -> BoxFuture<'_, Result<bool, Error>> {
        let name = name.to_owned();
        async move { Ok(matches!(self.drift(&name).await?, Drift::Moved { .. })) }.boxed()
    }
}

impl Containers for Docker {
    fn look(&self, name: &str) -> BoxFuture<'_, Result<Option<Container>, Error>> {
        let name = name.to_owned();
        async move {
            spec::check_name(&name)?;
            Ok(self.inspect(&name).await?.and_then(seen::container))
        }
        .boxed()
    }

    fn restart(&self, name: &str, grace: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let name = name.to_owned();
        async move { self.restarted(&name, grace).await }.boxed()
    }
}
