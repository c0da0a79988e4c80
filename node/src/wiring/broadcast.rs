//! Messages to everyone: shards of the control thread, and the actor that tends topics.

use tokio::task::JoinSet;

use crate::actors::broadcaster::{self, Broadcaster};
use crate::broadcast::Broadcast;
use crate::events::Events;
use crate::guardian::{Budget, BudgetSpent, guard};
use crate::peers::Peers;
use crate::snapshot::Snapshot;

/// Runs what is on the control thread; cores run their own shards.
pub(super) fn wire(
    broadcast: &Broadcast,
    peers: &Peers,
    events: &Events,
    guardians: &mut JoinSet<Result<(), BudgetSpent>>,
) {
    let (clients, links) = (broadcast.clone(), broadcast.clone());
    let shard = broadcast.control_shard();
    tokio::task::spawn_local(async move { clients.run_shard(shard).await });
    let peers = peers.clone();
    let shard = broadcast.link_shard();
    tokio::task::spawn_local(async move { links.mesh().run(peers, shard).await });
    let parts = broadcaster::Parts {
        broadcast: broadcast.clone(),
        events: events.clone(),
        published: Snapshot::new(None),
    };
    guardians.spawn_local(guard(
        "broadcaster",
        broadcaster::MESSAGES_WAITING_MAX,
        Budget::default(),
        move || Broadcaster::new(parts.clone()),
        |_| {},
    ));
}
