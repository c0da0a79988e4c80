//! Which node asks, and what the others make of what it says.

use tokio::time::{Instant, sleep};
use weir_core::port_cache::Answer;
use weir_core::vpn::State;
use weir_proto::control::v1::Peer;
use weir_proto::node::v1::{ListPortsResponse, PortPicture, VpnPort};

use super::*;
use crate::peers::VPNS_LABEL;

/// A node that is asked before `here`.
fn first() -> String {
    let name = |n| format!("node-{n}");
    let comes_first = |name: &String| {
        let both = ["here".to_owned(), name.clone()];
        weir_core::vpn::owner("vpn/v1", &both) == Some(name)
    };
    (0..100).map(name).find(comes_first).unwrap()
}

impl Rig {
    /// The mesh has these nodes besides this one.
    fn mesh(&self, nodes: &[&str]) {
        let peer = |node: &&str| Peer {
            node_id: (*node).to_owned(),
            grpc_address: "127.0.0.1:1".to_owned(),
            labels: [(VPNS_LABEL.to_owned(), "v1".to_owned())].into(),
            ..Peer::default()
        };
        self.link.publish(LinkStatus {
            peers: nodes.iter().map(peer).collect(),
            ..LinkStatus::default()
        });
    }

    fn hears(&self, node: &str, port: VpnPort) {
        let ports = ListPortsResponse {
            ports: vec![port],
            node: node.to_owned(),
        };
        self.peers.hears(node, ports);
    }
}

/// What another node says.
fn says(port: u16, epoch: u64, health: &str) -> VpnPort {
    VpnPort {
        vpn: "v1".to_owned(),
        state: "ready".to_owned(),
        port: port.into(),
        epoch,
        health: health.to_owned(),
        alarms: vec!["look here".to_owned()],
        picture: Some(PortPicture {
            incarnation: 3,
            asked_age_ms: Some(10),
            port: port.into(),
            settled_port: port.into(),
            networks: 5,
            ..PortPicture::default()
        }),
        ..VpnPort::default()
    }
}

fn nothing_known(epoch: u64) -> VpnPort {
    let mut port = says(0, epoch, "stable");
    port.state = "unknown".to_owned();
    port.picture.as_mut().unwrap().asked_age_ms = None;
    port
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_ask_knows_what_the_one_that_asks_says() {
    run(async {
        let mut rig = Rig::start(FILE).await;
        let first = first();
        rig.mesh(&[&first]);
        sleep(SECOND).await;
        let calls = rig.calls();
        rig.hears(&first, says(2222, 4, "healthy"));
        sleep(SECOND).await;
        let view = rig.view();
        assert_eq!((&view.owner, rig.settled()), (&first, 2222));
        assert_eq!(rig.handle.warm("v1").unwrap().0.get(), 2222);
        assert_eq!(view.alarms, ["look here"]);
        sleep(300 * SECOND).await;
        assert_eq!(rig.calls(), calls, "it leaves the control server alone");
        assert_eq!(rig.happened(), []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_settled_goes_on_whoever_comes_and_goes() {
    run(async {
        let mut rig = Rig::start(FILE).await;
        let first = first();
        rig.mesh(&[&first]);
        sleep(SECOND).await;
        assert_eq!((&rig.view().owner, rig.settled()), (&first, 1111));
        assert_eq!(rig.view().health, State::Healthy, "nothing else was said");
        rig.hears(&first, says(2222, 4, "unhealthy"));
        sleep(SECOND).await;
        assert_eq!((rig.settled(), rig.view().health), (2222, State::Unhealthy));
        rig.mesh(&[]);
        rig.says(|says| says.port = 2222);
        sleep(SECOND).await;
        let view = rig.view();
        assert_eq!((view.owner.as_str(), rig.settled()), ("here", 2222));
        assert!(
            matches!(view.health, State::Recovering { good: 1, .. }),
            "{view:?}"
        );
        sleep(15 * SECOND).await;
        assert_eq!(rig.happened(), [VpnEvent::Stable]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_happened_is_told_here_by_the_node_that_asks() {
    run(async {
        let mut rig = Rig::start(FILE).await;
        let first = first();
        rig.mesh(&[&first]);
        rig.hears(&first, says(1111, 4, "unhealthy"));
        sleep(SECOND).await;
        assert_eq!(rig.happened(), [], "its count is as high as it is");
        let mut again = says(1111, 4, "stable");
        rig.hears(&first, again.clone());
        sleep(SECOND).await;
        assert_eq!(rig.happened(), [VpnEvent::Stable]);
        // After a restart it counts anew.
        let picture = again.picture.as_mut().unwrap();
        (picture.networks, picture.incarnation) = (0, 4);
        rig.hears(&first, again);
        sleep(SECOND).await;
        assert_eq!(rig.happened(), []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_node_that_asks_says_after_an_invalidation_is_believed_at_once() {
    run(async {
        let rig = Rig::start(FILE).await;
        let first = first();
        rig.mesh(&[&first]);
        rig.hears(&first, says(1111, 4, "stable"));
        sleep(SECOND).await;
        rig.handle.invalidate("v1").await.unwrap().unwrap();
        let at = Instant::now();
        assert_eq!(rig.handle.warm("v1"), None);
        rig.handle
            .confirm(&first, nothing_known(5), at)
            .await
            .unwrap();
        // What was on its way is of the epoch before.
        rig.hears(&first, says(1111, 4, "stable"));
        sleep(SECOND).await;
        assert_eq!(rig.handle.warm("v1"), None);
        rig.hears(&first, says(2222, 5, "stable"));
        let answer = rig.handle.port("v1").await.unwrap();
        assert!(matches!(answer, Answer::Port { port, .. } if port.get() == 2222));
        assert!(at.elapsed() < 2 * SECOND, "{:?}", at.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_made_anew_while_the_owner_dies_is_seen_by_the_next_one() {
    run(async {
        let rig =
            Rig::start("[vpns.v1]\ncontrol_url = \"http://127.0.0.1:8000\"\ncontainer = \"g\"\n")
                .await;
        let first = first();
        rig.mesh(&[&first]);
        let mut told = says(1111, 4, "healthy");
        let picture = told.picture.as_mut().unwrap();
        (picture.container_id, picture.container_started_unix_ms) = ("a".to_owned(), 1);
        rig.hears(&first, told.clone());
        sleep(SECOND).await;
        let id = |rig: &Rig| {
            rig.view()
                .network
                .as_ref()
                .map(|one| (one.container.clone(), one.id.clone()))
        };
        assert_eq!(id(&rig), Some(("g".to_owned(), "a".to_owned())));
        // One that cannot tell now says nothing of it.
        told.picture.as_mut().unwrap().container_id.clear();
        rig.hears(&first, told);
        sleep(SECOND).await;
        assert_eq!(id(&rig), Some(("g".to_owned(), "a".to_owned())));
        rig.docker.has.send_replace(container("b", Health::Healthy));
        let before = rig.view();
        rig.mesh(&[]);
        sleep(SECOND).await;
        let after = rig.view();
        assert_eq!(after.owner, "here");
        assert_eq!(id(&rig), Some(("g".to_owned(), "b".to_owned())));
        assert_eq!(after.networks, before.networks + 1);
    })
    .await;
}
