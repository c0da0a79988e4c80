//! Drops what is old of messages, and publishes what happens on this node.
//!
//! Owns      how far it has read the node's events.
//! Receives  events, as they happen; its own tick.
//! Sends     messages to `_weir.` and the kind of each event, as JSON.
//! Bound     no messages come to it from others; events that it does not keep up with are counted as missed.
//! Restarts  after the last event that it published, so that each is published once.
//!
//! Events of severity `debug` happen with each look-up of a port and the like; they are not published.

#[cfg(test)]
mod tests;

use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, AsyncContext as _, Context, StreamHandler};
use weir_broadcast::Draft;
use weir_core::broadcast::{Content, OWN_TOPICS, TopicName};
use weir_proto::node::v1 as pb;

use crate::broadcast::{Ack, Broadcast};
use crate::events::{Cursor, Events, Kind, Page, Severity, Wanted};
use crate::snapshot::Snapshot;

/// Messages that may wait; nobody sends any.
pub const MESSAGES_WAITING_MAX: usize = 16;
/// Between two times that old messages are dropped.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What the actor is made of.
#[derive(Clone)]
pub struct Parts {
    /// Where messages are published.
    pub broadcast: Broadcast,
    /// What happens.
    pub events: Events,
    /// The last event that was published.
    pub published: Snapshot<Option<Cursor>>,
}

/// The actor.
pub struct Broadcaster {
    parts: Parts,
}

impl Broadcaster {
    /// An actor that goes on where the one before ended.
    pub const fn new(parts: Parts) -> Self {
        Self { parts }
    }
}

impl Actor for Broadcaster {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(SWEEP_INTERVAL, |actor, _| {
            let broadcast = &actor.parts.broadcast;
            broadcast.topics().sweep(broadcast.now());
        });
        let since = (*self.parts.published.load()).clone();
        ctx.add_stream(self.parts.events.follow(since, Wanted::default()));
    }
}

impl StreamHandler<Page> for Broadcaster {
    fn handle(&mut self, page: Page, ctx: &mut Self::Context) {
        let described = self.parts.events.described(&page, None).events;
        let events = page.events.iter().zip(described);
        let told = events.filter(|(event, _)| event.severity > Severity::Debug);
        let drafts: Vec<_> = told
            .filter_map(|(event, told)| draft(event.kind, &told))
            .collect();
        let broadcast = self.parts.broadcast.clone();
        // The next page waits: events come in the order in which they happened.
        ctx.wait(wrap_future(async move {
            for draft in drafts {
                if let Err(error) = broadcast.publish(draft, Ack::None).await {
                    tracing::debug!(%error, "an event is not published");
                }
            }
        }));
        let cursor = self.parts.events.cursor(page.last_seq);
        self.parts.published.publish(Some(cursor));
    }
}

fn draft(kind: Kind, told: &pb::Event) -> Option<Draft> {
    let topic = TopicName::any(&format!("{OWN_TOPICS}{kind}")).ok()?;
    let json = serde_json::to_vec(told).ok()?;
    Some(Draft {
        content: Content::Json,
        ..Draft::new(topic, json)
    })
}
