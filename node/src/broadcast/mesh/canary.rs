//! A message of each node to the one after it, every second, on the way that any other takes: whether messages come is
//! seen, and not only whether links are up.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use weir_broadcast::{Connection, Draft, Encoding, Shard, Since, Writing};
use weir_core::broadcast::{Class, TopicName};
use weir_core::units::format_rough;
use weir_proto::node::v1::delivery::What as Delivered;

use super::{Ack, Mesh, wire};

/// Between two of its messages.
const INTERVAL: Duration = Duration::from_secs(1);
/// A node whose messages do not come for this long is one whose messages are lost.
const SILENT_MAX: Duration = Duration::from_secs(5);

/// How messages come from the node before this one, by the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanaryStatus {
    /// Which node is listened to; `None` while this one is alone.
    pub from: Option<String>,
    /// Messages that came, since this node runs.
    pub received: u64,
    /// Messages that did not, as later ones show.
    pub lost: u64,
    /// How long the last one took, by the clocks of both nodes.
    pub latency: Duration,
    /// How long nothing has come, although both nodes are there; whole seconds.
    pub silent_for: Duration,
    /// That is 5 s or longer.
    pub is_silent: bool,
}

impl CanaryStatus {
    /// What is wrong with how messages come, for people.
    pub fn problem(&self) -> Option<String> {
        let from = self.from.as_ref().filter(|_| self.is_silent)?;
        Some(format!(
            "canary from {from} silent for {}",
            format_rough(self.silent_for)
        ))
    }
}

struct Heard {
    from: String,
    connection: Rc<Connection>,
    last: Option<u64>,
    at: Instant,
}

/// Publishes and listens for as long as it is polled.
pub(super) async fn run(mesh: Mesh, shard: Rc<Shard>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut status = CanaryStatus::default();
    let mut heard: Option<Heard> = None;
    let mut writing = Writing::new();
    let mut number = 0_u64;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let before = neighbour(&mesh);
                if heard.as_ref().map(|heard| &heard.from) != before.as_ref() {
                    heard = before.as_ref().and_then(|from| listen(&mesh, &shard, from));
                }
                if before.is_some() {
                    number += 1;
                    publish(&mesh, number).await;
                }
                status.from = before;
                let silent_for = heard.as_ref().map_or(Duration::ZERO, |heard| heard.at.elapsed());
                status.silent_for = Duration::from_secs(silent_for.as_secs());
                status.is_silent = silent_for >= SILENT_MAX;
                if let Some(heard) = &heard && let Some(topic) = topic_of(&heard.from) {
                    keep_following(&mesh, topic);
                }
            }
            () = ready(heard.as_ref()) => {
                if let Some(heard) = &mut heard {
                    hear(&mesh, heard, &mut writing, &mut status);
                }
            }
        }
        mesh.0.canary.publish(status.clone());
    }
}

async fn ready(heard: Option<&Heard>) {
    match heard {
        Some(heard) => heard.connection.ready().await,
        None => std::future::pending().await,
    }
}

fn topic_of(node: &str) -> Option<TopicName> {
    TopicName::any(&format!("_weir.canary.{node}")).ok()
}

/// The node before this one, in the ring of those that live.
fn neighbour(mesh: &Mesh) -> Option<String> {
    let view = mesh.view();
    let at = view.live.iter().position(|node| **node == *view.node)?;
    let before = (at + view.live.len() - 1) % view.live.len();
    (before != at).then(|| view.live[before].clone())
}

fn listen(mesh: &Mesh, shard: &Rc<Shard>, from: &str) -> Option<Heard> {
    let connection = shard.connect("canary", Encoding::Grpc);
    connection
        .subscribe(&topic_of(from)?, Since::Now, mesh.now())
        .ok()?;
    Some(Heard {
        from: from.to_owned(),
        connection: Rc::new(connection),
        last: None,
        at: Instant::now(),
    })
}

/// The shard of links wants nothing for this node: the topic is followed for it.
fn keep_following(mesh: &Mesh, topic: TopicName) {
    let mesh = mesh.clone();
    tokio::task::spawn_local(async move { mesh.follow(&topic).await });
}

async fn publish(mesh: &Mesh, number: u64) {
    let Some(topic) = topic_of(&mesh.0.node) else {
        return;
    };
    let draft = Draft {
        class: Class::Ephemeral,
        ..Draft::new(topic, number.to_string())
    };
    if let Err(error) = mesh.publish(draft, Ack::None).await {
        tracing::debug!(%error, "a canary is not published");
    }
}

fn hear(mesh: &Mesh, heard: &mut Heard, writing: &mut Writing, status: &mut CanaryStatus) {
    if heard.connection.take(writing, || mesh.now()).is_err() {
        // The next tick listens anew.
        heard.from.clear();
        return;
    }
    while let Some(frame) = writing.pop() {
        let Ok(Some(Delivered::Batch(batch))) = wire::decode_delivery(frame) else {
            continue;
        };
        for message in batch.messages {
            let number = std::str::from_utf8(&message.data).ok();
            let Some(number) = number.and_then(|text| text.parse::<u64>().ok()) else {
                continue;
            };
            let missing = heard.last.map_or(0, |last| number.saturating_sub(last + 1));
            // A process that was started anew counts from one.
            heard.last = Some(number);
            heard.at = Instant::now();
            status.received += 1;
            status.lost += missing;
            status.latency =
                Duration::from_millis(mesh.now().0.saturating_sub(message.published_unix_ms));
            (status.is_silent, status.silent_for) = (false, Duration::ZERO);
        }
    }
}
