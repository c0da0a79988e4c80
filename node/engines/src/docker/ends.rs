//! Engines that ended, as Docker tells it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::labels;
use crate::driver::Ended;

const RECONNECT_FIRST: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(5);
/// How long Docker may take to say which version it speaks.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

struct Following {
    client: Arc<Client>,
    owner: Arc<str>,
    told: Option<BoxStream<'static, Option<EventMessage>>>,
    wait: Duration,
    since: Instant,
}

pub(super) fn ends(client: Arc<Client>, owner: Arc<str>) -> BoxStream<'static, Ended> {
    let following = Following {
        client,
        owner,
        told: None,
        wait: Duration::ZERO,
        since: Instant::now(),
    };
    stream::unfold(following, |mut following| async move {
        let ended = following.next().await;
        Some((ended, following))
    })
    .boxed()
}

impl Following {
    async fn next(&mut self) -> Ended {
        loop {
            let told = match &mut self.told {
                Some(told) => told.next().await.flatten(),
                None => None,
            };
            match told {
                Some(event) => {
                    if let Some(ended) = ended(event, &self.owner) {
                        return ended;
                    }
                }
                None => self.connect().await,
            }
        }
    }

    /// Not more than one try each [`RECONNECT_MAX`] while Docker is away, and the first one at once.
    async fn connect(&mut self) {
        if self.since.elapsed() > 2 * RECONNECT_MAX {
            self.wait = Duration::ZERO;
        }
        sleep(self.wait).await;
        self.since = Instant::now();
        self.wait = (self.wait * 2).clamp(RECONNECT_FIRST, RECONNECT_MAX);
        let docker = self.client.connected(ANSWER_LIMIT);
        self.told = match docker.await {
            Ok(docker) => {
                let filters = HashMap::from([
                    ("type", vec!["container".to_owned()]),
                    ("event", vec!["die".to_owned()]),
                    ("label", labels::filters(&self.owner)),
                ]);
                let options = EventsOptionsBuilder::new().filters(&filters).build();
                // An outage of any kind ends the stream.
                Some(docker.events(Some(options)).map(Result::ok).boxed())
            }
            Err(_) => None,
        };
    }
}

/// Docker gives a container's labels, name and exit code with the event, so nothing has to be asked that may be gone.
fn ended(event: EventMessage, owner: &str) -> Option<Ended> {
    if event.action.as_deref() != Some("die") {
        return None;
    }
    let attributes = event.actor?.attributes?;
    Some(Ended {
        fence: labels::fence(&attributes, owner)?,
        name: attributes.get("name")?.clone(),
        code: attributes
            .get("exitCode")
            .and_then(|code| code.parse().ok()),
    })
}
