//! How containers go.

use std::time::Duration;

use bollard::query_parameters::{RemoveContainerOptionsBuilder, StopContainerOptionsBuilder};
use tokio::time::{Instant, sleep, timeout_at};

use super::Docker;
use super::client::Failure;
use super::seen::Engine;
use crate::driver::{Error, State};

/// How often a container that somebody else removes is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const REMOVING: &str = "removing a container";

impl Docker {
    pub(super) async fn stopped(
        &self,
        name: &str,
        fence: u64,
        grace: Duration,
    ) -> Result<(), Error> {
        let Some(Engine { id, running, .. }) = self.engine(name).await? else {
            return Ok(());
        };
        if running.fence > fence {
            return Err(Error::Fenced {
                name: name.to_owned(),
                ours: fence,
                theirs: running.fence,
            });
        }
        if running.state == State::Running && !grace.is_zero() {
            // Whatever becomes of asking, removal decides.
            let _ = self.asked_to_end(&id, grace).await;
        }
        self.removed(&id).await
    }

    async fn asked_to_end(&self, id: &str, grace: Duration) -> Result<(), Failure> {
        let options = StopContainerOptionsBuilder::new()
            .t(whole_seconds(grace))
            .build();
        let limit = grace + self.answer_limit;
        let asked = self
            .client
            .call("stopping a container", limit, async |docker| {
                docker.stop_container(id, Some(options)).await
            });
        asked.await
    }

    /// Kills it and removes it with its volumes; returns when Docker knows it no more.
    pub(super) async fn removed(&self, id: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let asked = self
            .client
            .call(REMOVING, self.answer_limit, async |docker| {
                docker.remove_container(id, Some(options)).await
            });
        match asked.await {
            Ok(()) | Err(Failure::Said { status: 404, .. }) => Ok(()),
            Err(Failure::Said {
                status: 409,
                message,
            }) if message.contains("already in progress") => self.gone(id).await,
            Err(failure) => Err(failure.refused(REMOVING)),
        }
    }

    /// Waits until somebody else's removal is done.
    async fn gone(&self, id: &str) -> Result<(), Error> {
        let limit = self.answer_limit;
        let looking = async {
            while self.inspect(id).await?.is_some() {
                sleep(LOOK_AGAIN).await;
            }
            Ok(())
        };
        let late = Error::Late {
            operation: REMOVING,
            limit,
        };
        timeout_at(Instant::now() + limit, looking)
            .await
            .unwrap_or(Err(late))
    }
}

/// Docker counts whole seconds: never less than what was asked for.
pub(super) fn whole_seconds(grace: Duration) -> i32 {
    let up = u64::from(grace.subsec_nanos() > 0);
    i32::try_from(grace.as_secs().saturating_add(up)).unwrap_or(i32::MAX)
}
