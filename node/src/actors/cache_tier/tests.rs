//! What the actor does with its messages. Other nodes are streams that the test speaks on.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use weir_cache::SharedTier;
use weir_cache::{Missed, PurgeLimits, Purges};
use weir_core::purge::{DEFAULT_DRIFT_MAX_MS, Hardness, Hlc, HlcClock, Purge, Scope};
use weir_proto::control::v1::Peer as Registered;
use weir_proto::convert::encode_hlc;
use weir_proto::node::v1::{OriginSeen, PurgesSeen, PurgesTold};

use super::*;
use crate::actors::config_agent::control_plane::LinkStatus;
use crate::guardian::{Budget, guard};
use crate::ports::net::Tcp;

const MS: Duration = Duration::from_millis(1);
const WITHIN: Duration = Duration::from_millis(500);
const MEMORY: MemoryLimits = MemoryLimits {
    bytes_max: 8 << 20,
    entry_bytes_max: 1 << 20,
};

struct Node {
    handle: CacheTierHandle,
    mesh: Snapshot<LinkStatus>,
}

fn mesh_of(nodes: &[&str]) -> LinkStatus {
    // Nobody listens at this address: this node hears nobody.
    let peer = |node: &&str| Registered {
        node_id: (*node).to_owned(),
        grpc_address: "127.0.0.1:1".to_owned(),
        ..Registered::default()
    };
    LinkStatus {
        peers: nodes.iter().map(peer).collect(),
        ..LinkStatus::default()
    }
}

/// An actor among these nodes, and everything that it does until the test ends.
async fn run<T>(nodes: &[&str], test: impl AsyncFnOnce(Node) -> T) -> T {
    let local = LocalSet::new();
    let mesh = Snapshot::new(mesh_of(nodes));
    let clock = HlcClock::new(1, DEFAULT_DRIFT_MAX_MS);
    let purges = Purges::new(7, clock, PurgeLimits::default());
    let parts = Parts {
        store: Arc::new(Store::new(MEMORY, 1, purges)),
        peers: Peers::new("here", mesh.clone(), Arc::new(Tcp)),
        clock: WallClock::starting_at(Duration::from_secs(1_000)),
        table: Snapshot::new(Vec::new()),
        seed: 1,
    };
    let handle = CacheTierHandle::new(&parts);
    let links = handle.links.clone();
    local
        .run_until(async move {
            tokio::task::spawn_local(guard(
                "cache_tier",
                MESSAGES_WAITING_MAX,
                Budget::default(),
                move || {
                    CacheTier::new(
                        parts.clone(),
                        Configure {
                            memory: MEMORY,
                            shared: SharedTier::default(),
                        },
                    )
                },
                move |life| links.point_at(life),
            ));
            tokio::task::yield_now().await;
            test(Node { handle, mesh }).await
        })
        .await
}

/// Another node that listens.
struct Listener {
    name: &'static str,
    seen: mpsc::Sender<Result<PurgesSeen, Status>>,
    told: Told,
    others: Vec<OriginSeen>,
}

impl Listener {
    fn of(node: &Node, name: &'static str) -> Self {
        let (seen, stream) = mpsc::channel(16);
        let told = node.handle.tell(ReceiverStream::new(stream));
        // As every node it tells its own purges, too.
        let others = vec![OriginSeen { origin: 99, seq: 0 }];
        Self {
            name,
            seen,
            told,
            others,
        }
    }

    async fn says(&self, origin: u64, seq: u64, told_unix_ms: u64) {
        let seen = PurgesSeen {
            node: self.name.to_owned(),
            origin,
            seq,
            told_unix_ms,
            now: (told_unix_ms > 0).then(|| encode_hlc(Hlc::new(told_unix_ms, 0, 2))),
            others: self.others.clone(),
        };
        self.seen.send(Ok(seen)).await.unwrap();
    }

    /// The next message with purges.
    async fn hears(&mut self) -> PurgesTold {
        use futures::StreamExt as _;
        loop {
            let told = self.told.next().await.unwrap().unwrap();
            if !told.purges.is_empty() {
                return told;
            }
        }
    }

    /// Takes what it is told and says so.
    async fn takes(&mut self) -> PurgesTold {
        let told = self.hears().await;
        let seq = told.after + told.purges.len() as u64;
        self.says(told.origin, seq, told.told_unix_ms).await;
        told
    }
}

async fn purge(node: &Node, wait: Wait) -> Standing {
    let scopes = vec![Scope::Tag(1)];
    let seq = node.handle.purge_here(scopes, Hardness::Hard);
    node.handle.standing(seq, wait, WITHIN).await
}

fn standing(acked: usize, total: usize, missing: &[&str]) -> Standing {
    Standing {
        acked,
        total,
        missing: missing.iter().map(|node| (*node).to_owned()).collect(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_waits_for_nobody() {
    run(&["here"], async |node| {
        for wait in Wait::ALL {
            assert_eq!(purge(&node, wait).await, standing(1, 1, &[]));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_all_hears_when_the_last_one_has_said_so() {
    run(&["here", "b", "c"], async |node| {
        let (mut b, mut c) = (Listener::of(&node, "b"), Listener::of(&node, "c"));
        b.says(0, 0, 0).await;
        c.says(0, 0, 0).await;
        let began = Instant::now();
        let others = async {
            b.takes().await;
            tokio::time::sleep(30 * MS).await;
            c.takes().await;
        };
        let (told, ()) = tokio::join!(purge(&node, Wait::All), others);
        assert_eq!(told, standing(3, 3, &[]));
        assert!(
            (30 * MS..40 * MS).contains(&began.elapsed()),
            "{:?}",
            began.elapsed()
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_majority_is_enough_for_a_quorum() {
    run(&["here", "b", "c"], async |node| {
        let (mut b, c) = (Listener::of(&node, "b"), Listener::of(&node, "c"));
        b.says(0, 0, 0).await;
        c.says(0, 0, 0).await;
        let (told, _) = tokio::join!(purge(&node, Wait::Quorum), b.takes());
        assert_eq!(told, standing(2, 3, &["c"]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_say_so_is_named_when_the_time_is_over_and_told_all_the_same() {
    run(&["here", "b"], async |node| {
        let mut b = Listener::of(&node, "b");
        b.says(0, 0, 0).await;
        let began = Instant::now();
        assert_eq!(purge(&node, Wait::All).await, standing(1, 2, &["b"]));
        assert_eq!(began.elapsed(), WITHIN);
        let told = b.takes().await;
        assert_eq!((told.origin, told.after, told.purges.len()), (7, 0, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_away_for_long_is_counted_and_not_waited_for() {
    run(&["here", "b"], async |node| {
        let began = Instant::now();
        purge(&node, Wait::All).await;
        assert_eq!(began.elapsed(), WITHIN, "it may be on its way");
        tokio::time::sleep(AWAY_AFTER).await;
        let began = Instant::now();
        assert_eq!(purge(&node, Wait::All).await, standing(1, 2, &["b"]));
        assert!(began.elapsed() < MS, "{:?}", began.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_was_away_is_told_what_it_missed_and_no_more() {
    run(&["here", "b"], async |node| {
        let mut b = Listener::of(&node, "b");
        b.says(0, 0, 0).await;
        tokio::join!(purge(&node, Wait::All), b.takes());
        drop(b);
        for _ in 0..300 {
            purge(&node, Wait::Local).await;
        }
        let mut b = Listener::of(&node, "b");
        b.says(7, 1, 0).await;
        let first = b.takes().await;
        let second = b.takes().await;
        assert_eq!((first.after, first.purges.len()), (1, 256));
        assert_eq!((second.after, second.purges.len()), (257, 44));
        let (told, _) = tokio::join!(purge(&node, Wait::All), b.takes());
        assert_eq!(told, standing(2, 2, &[]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_node_that_is_gone_purged_is_given_on_to_those_who_did_not_hear_it() {
    run(&["here", "b"], async |node| {
        let purge = |seq| Purge {
            scope: Scope::Tag(seq),
            hardness: Hardness::Hard,
            at: Hlc::new(1_000_000, 0, 3),
            origin: 33,
            seq,
        };
        let missed = Missed {
            origin: 33,
            floor: None,
            after: 0,
            purges: (1..=3).map(purge).collect(),
        };
        node.handle
            .store()
            .purges
            .receive(&missed, UnixMs(1_000_000));
        let mut b = Listener::of(&node, "b");
        b.others.push(OriginSeen { origin: 33, seq: 2 });
        b.says(0, 0, 0).await;
        let began = Instant::now();
        let told = b.hears().await;
        assert_eq!((told.origin, told.after, told.relayed), (33, 2, true));
        assert_eq!(told.purges.len(), 1);
        assert!(
            began.elapsed() >= MS * 1_000,
            "it may hear it from whom it is"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_falls_silent_does_not_listen_any_more() {
    run(&["here", "b"], async |node| {
        let mut b = Listener::of(&node, "b");
        b.says(0, 0, 0).await;
        tokio::join!(purge(&node, Wait::All), b.takes());
        let is_linked = || node.handle.peer_links()[0].is_linked;
        assert!(is_linked());
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!is_linked());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_left_the_mesh_is_not_counted() {
    run(&["here", "b"], async |node| {
        assert_eq!(purge(&node, Wait::Local).await.total, 2);
        node.mesh.publish(mesh_of(&["here"]));
        tokio::time::sleep(TICK).await;
        assert_eq!(purge(&node, Wait::All).await, standing(1, 1, &[]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_purge_is_stamped_as_late_as_the_clock_that_is_furthest_ahead() {
    run(&["here", "b"], async |node| {
        let purges = &node.handle.store().purges;
        let mut b = Listener::of(&node, "b");
        b.says(0, 0, 0).await;
        purge(&node, Wait::Local).await;
        let told = b.hears().await;
        let at = told.purges[0].at.unwrap();
        let ahead = |at: weir_proto::node::v1::PurgeTime| (at.time >> 16) - told.told_unix_ms;
        assert_eq!(
            ahead(at),
            DEFAULT_DRIFT_MAX_MS,
            "nothing is known of its clock"
        );
        // Its clock is 70 ms ahead.
        let seen = PurgesSeen {
            node: "b".to_owned(),
            origin: 7,
            seq: 1,
            told_unix_ms: told.told_unix_ms,
            now: Some(encode_hlc(Hlc::new(told.told_unix_ms + 70, 0, 2))),
            others: Vec::new(),
        };
        b.seen.send(Ok(seen)).await.unwrap();
        tokio::time::sleep(MS).await;
        purge(&node, Wait::Local).await;
        let told = b.hears().await;
        let at = told.purges[0].at.unwrap();
        assert_eq!((at.time >> 16) - told.told_unix_ms, 70);
        assert!(purges.fetch_time(UnixMs(told.told_unix_ms)).unix_ms() > told.told_unix_ms);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_tiers_take_what_the_newest_configuration_says() {
    run(&["here"], async |node| {
        let memory = MemoryLimits {
            bytes_max: 4 << 20,
            entry_bytes_max: 1 << 16,
        };
        node.handle
            .configure(
                Configure {
                    memory,
                    shared: SharedTier::default(),
                },
                WITHIN,
            )
            .await
            .unwrap();
        let store = node.handle.store();
        assert_eq!(
            (store.bytes_max(), store.entry_bytes_max()),
            (4 << 20, 1 << 16)
        );
    })
    .await;
}
