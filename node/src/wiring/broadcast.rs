//! Messages to everyone: shards of the control thread, and the actor that tends topics.

use tokio::task::JoinSet;

use crate::actors::broadcaster::{self, Broadcaster};
use crate::broadcast::Broadcast;
use crate::data_plane::stop::Stop;
use crate::events::Events;
use crate::guardian::{Budget, BudgetSpent, guard};
use crate::mailbox::Watched;
use crate::peers::Peers;
use crate::snapshot::Snapshot;

/// Runs what is on the control thread; cores run their own shards. The actor that tends topics is told, because no link
/// leads there.
pub(super) fn wire(
    (broadcast, peers): (&Broadcast, &Peers),
    events: &Events,
    (stop, seed): (&Stop, u64),
    guardians: &mut JoinSet<Result<(), BudgetSpent>>,
) -> Watched {
    broadcast.leaves_with(stop.clone());
    let clients = broadcast.shard(broadcast.control_shard());
    tokio::task::spawn_local({
        let (broadcast, clients) = (broadcast.clone(), clients.clone());
        async move { broadcast.run_shard(clients).await }
    });
    tokio::task::spawn_local({
        let (broadcast, peers) = (broadcast.clone(), peers.clone());
        let links = broadcast.link_shard();
        async move { broadcast.mesh().run(peers, links).await }
    });
    if let Some(shard) = clients {
        let (broadcast, stop) = (broadcast.clone(), stop.clone());
        let mut random = fastrand::Rng::with_seed(seed);
        tokio::task::spawn_local(async move {
            broadcast
                .see_off(&shard, stop, move || random.u64(..))
                .await;
        });
    }
    let parts = broadcaster::Parts {
        broadcast: broadcast.clone(),
        events: events.clone(),
        published: Snapshot::new(None),
    };
    let watched = Watched::alone("broadcaster", broadcaster::MESSAGES_WAITING_MAX);
    let lives = watched.clone();
    guardians.spawn_local(guard(
        "broadcaster",
        broadcaster::MESSAGES_WAITING_MAX,
        Budget::default(),
        move || Broadcaster::new(parts.clone()),
        move |_| lives.begins(),
    ));
    watched
}
