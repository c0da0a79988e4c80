//! How an engine comes up: found or made, started, and watched until it has settled.

use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, StartContainerOptions, WaitContainerOptionsBuilder,
};
use futures::{StreamExt, TryStreamExt};
use tokio::time::{sleep, timeout};

use super::client::Failure;
use super::seen::{Engine, Seen};
use super::{Docker, spec as specs};
use crate::driver::{EngineSpec, Error, Network, Running, State};

/// Names are lost to others who start or remove one of the same name at the same time: so often, then it is told.
const TRIES_MAX: usize = 8;
const TRY_AGAIN: Duration = Duration::from_millis(50);
const CREATING: &str = "creating a container";
const STARTING: &str = "starting a container";

/// What to do about a container that has the name already.
enum Next {
    Adopt(Running),
    Start(String),
    Replace(String),
}

impl Docker {
    pub(super) async fn started(&self, spec: &EngineSpec) -> Result<Running, Error> {
        specs::check(spec)?;
        let mut made = false;
        let attempt = timeout(spec.start_timeout, self.attempt(spec, &mut made)).await;
        let error = match attempt {
            Ok(Ok(running)) => return Ok(running),
            Ok(Err(error)) => error,
            Err(_) => Error::Late {
                operation: STARTING,
                limit: spec.start_timeout,
            },
        };
        // What cannot be removed now is found by its labels later; the first error is the one to tell.
        let limit = spec.start_timeout.min(self.answer_limit);
        let _ = timeout(limit, self.undone(spec, made)).await;
        Err(error)
    }

    async fn attempt(&self, spec: &EngineSpec, made: &mut bool) -> Result<Running, Error> {
        for _ in 0..TRIES_MAX {
            match self
                .seen(&spec.name)
                .await?
                .map(|seen| next(spec, seen))
                .transpose()?
            {
                Some(Next::Adopt(running)) => return Ok(running),
                Some(Next::Start(id)) => return self.brought_up(spec, &id).await,
                Some(Next::Replace(id)) => self.removed(&id).await?,
                None => {}
            }
            if let Some(id) = self.created(spec).await? {
                *made = true;
                return self.brought_up(spec, &id).await;
            }
            sleep(TRY_AGAIN).await;
        }
        Err(Error::Refused {
            operation: CREATING,
            message: format!("`{}` was taken by others {TRIES_MAX} times", spec.name),
        })
    }

    /// Removes what this attempt made or did not get to run. What was found running was somebody's before, and stays.
    async fn undone(&self, spec: &EngineSpec, made: bool) -> Result<(), Error> {
        let Some(Engine { id, running, .. }) = self.engine(&spec.name).await? else {
            return Ok(());
        };
        if running.fence == spec.fence && (made || running.state != State::Running) {
            self.removed(&id).await?;
        }
        Ok(())
    }

    /// `None` when the name is in use by now.
    async fn created(&self, spec: &EngineSpec) -> Result<Option<String>, Error> {
        let joined = self.joined(&spec.network).await?;
        let body = specs::body(
            spec,
            &self.owner,
            specs::network_mode(&spec.network, joined.as_deref()),
        );
        let options = CreateContainerOptionsBuilder::new()
            .name(&spec.name)
            .build();
        let asked = self
            .client
            .call(CREATING, self.answer_limit, async |docker| {
                docker.create_container(Some(options), body).await
            });
        match asked.await {
            Ok(created) => Ok(Some(created.id)),
            Err(Failure::Said { status, message }) => {
                match specs::why_not_created(spec, status, message) {
                    Some(error) => Err(error),
                    None => Ok(None),
                }
            }
            Err(Failure::Silent(error)) => Err(error),
        }
    }

    /// The id of the container whose network is to be joined. By its id, not its name, so that what is joined is what
    /// was seen and can be told later from one made anew.
    async fn joined(&self, network: &Network) -> Result<Option<String>, Error> {
        let Network::Container(name) = network else {
            return Ok(None);
        };
        specs::check_name(name)?;
        let runs =
            |found: &ContainerInspectResponse| found.state.as_ref().and_then(|state| state.running);
        match self.inspect(name).await? {
            Some(found) if runs(&found) == Some(true) => Ok(found.id),
            _ => Err(specs::missing("container", name)),
        }
    }

    async fn brought_up(&self, spec: &EngineSpec, id: &str) -> Result<Running, Error> {
        let asked = self
            .client
            .call(STARTING, spec.start_timeout, async |docker| {
                docker
                    .start_container(id, None::<StartContainerOptions>)
                    .await
            });
        match asked.await {
            Ok(()) => {}
            Err(Failure::Said { message, .. }) => {
                return Err(specs::why_not_started(spec, message));
            }
            Err(Failure::Silent(error)) => return Err(error),
        }
        self.settled(id).await?;
        match self.engine(id).await?.map(|engine| engine.running) {
            Some(running) if running.state == State::Running => Ok(running),
            Some(Running {
                state: State::Ended(code),
                ..
            }) => Err(self.ended_at_once(spec, id, code).await),
            _ => Err(Error::Unknown(spec.name.clone())),
        }
    }

    /// Waits until it has ended or the time to settle is over.
    async fn settled(&self, id: &str) -> Result<(), Error> {
        let docker = self.client.connected(self.answer_limit).await?;
        let options = WaitContainerOptionsBuilder::new()
            .condition("not-running")
            .build();
        // Codes other than 0 are errors here; the look that follows tells all.
        let mut end = docker.wait_container(id, Some(options)).into_stream();
        let _ = timeout(self.settle, end.next()).await;
        Ok(())
    }

    async fn ended_at_once(&self, spec: &EngineSpec, id: &str, code: i64) -> Error {
        let lines = self.lines_of(id, 1).await.unwrap_or_default();
        specs::why_ended_at_once(
            spec,
            code,
            lines.into_iter().next_back().unwrap_or_default(),
        )
    }
}

fn next(spec: &EngineSpec, seen: Seen) -> Result<Next, Error> {
    let Seen::Engine(engine) = seen else {
        return Err(Error::NameTaken(spec.name.clone()));
    };
    let Engine {
        id, running, going, ..
    } = *engine;
    if running.fence > spec.fence {
        return Err(Error::Fenced {
            name: spec.name.clone(),
            ours: spec.fence,
            theirs: running.fence,
        });
    }
    Ok(match running.state {
        _ if going || running.fence < spec.fence => Next::Replace(id),
        State::Running => Next::Adopt(running),
        State::Starting => Next::Start(id),
        State::Ended(_) => Next::Replace(id),
    })
}
