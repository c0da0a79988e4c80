//! Messages between three nodes of a mesh, whatever becomes of the node that numbers them.

mod drain;
mod newcomers;

use std::time::Duration;

use futures::future::join_all;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;
use weir_core::broadcast::{TopicName, owners};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::broadcast_client::BroadcastClient;
use weir_proto::node::v1::delivery::What;

use crate::common::{PATIENCE, web};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;

const NAMES: [&str; 3] = ["node-a", "node-b", "node-c"];

struct Mesh {
    _plane: ControlPlane,
    nodes: Vec<Node>,
    /// A topic that the first node numbers and the second one keeps.
    topic: String,
}

impl Mesh {
    async fn start() -> Self {
        let plane = ControlPlane::start().await;
        let keys = format!("endpoints = [\"{}\"]\n", plane.address);
        let config = web(&[], "");
        let nodes = join_all(NAMES.map(|id| Node::start_as(id, &keys, &config))).await;
        let mesh = Self {
            _plane: plane,
            nodes,
            topic: topic_of(0, 1, 1),
        };
        // Replicated is what all three agree on.
        let deadline = Instant::now() + PATIENCE;
        for owner in 0..3 {
            let probe = topic_of(owner, (owner + 1) % 3, 0);
            while !mesh
                .publish((owner + 2) % 3, &probe, "probe")
                .await
                .is_ok_and(|told| told.replicated)
            {
                assert!(Instant::now() < deadline, "{}", mesh.nodes[owner].log());
                sleep(Duration::from_millis(50)).await;
            }
        }
        mesh
    }

    async fn client(&self, at: usize) -> BroadcastClient<Channel> {
        let address = format!("http://{}", self.nodes[at].grpc);
        BroadcastClient::connect(address).await.unwrap()
    }

    async fn publish(
        &self,
        at: usize,
        topic: &str,
        text: &str,
    ) -> Result<pb::PublishResponse, tonic::Status> {
        let request = pb::PublishRequest {
            topic: topic.to_owned(),
            data: text.to_owned().into(),
            ack: pb::PublishAck::Replicated.into(),
            ..pb::PublishRequest::default()
        };
        let answer = self.client(at).await.publish(request).await;
        answer.map(tonic::Response::into_inner)
    }

    /// All that a subscriber is told from the beginning on.
    async fn subscribe(&self, at: usize) -> Seen {
        let request = pb::SubscribeRequest {
            topics: vec![pb::TopicSubscription {
                topic: self.topic.clone(),
                since: Some(pb::topic_subscription::Since::All(true)),
            }],
            ..pb::SubscribeRequest::default()
        };
        let deliveries = self.client(at).await.subscribe(request).await.unwrap();
        Seen {
            deliveries: deliveries.into_inner(),
            at: None,
            texts: Vec::new(),
            restarts: 0,
        }
    }
}

fn topic_of(owner: usize, replica: usize, at: usize) -> String {
    let names = (0..).map(|n| TopicName::new(&format!("t.{n}")).unwrap());
    let mut fits = names.filter(|name| {
        let found = owners(name, &NAMES).unwrap();
        *found.owner == NAMES[owner] && found.replica == Some(&NAMES[replica])
    });
    fits.nth(at).unwrap().to_string()
}

/// A subscriber who checks that nothing is left out without a word.
struct Seen {
    deliveries: tonic::Streaming<pb::Delivery>,
    at: Option<(u64, u64)>,
    texts: Vec<String>,
    restarts: usize,
}

impl Seen {
    /// Until a message of this text came.
    async fn until(&mut self, text: &str) {
        while self.texts.last().is_none_or(|last| last != text) {
            let told = timeout(PATIENCE, self.deliveries.message()).await;
            let told =
                told.unwrap_or_else(|_| panic!("{text} does not come after {:?}", self.texts));
            self.take(told.unwrap().unwrap().what.unwrap());
        }
    }

    /// Takes what comes within a moment; how many messages that is.
    async fn all_now(&mut self) -> usize {
        let before = self.texts.len();
        let moment = Duration::from_millis(50);
        while let Ok(told) = timeout(moment, self.deliveries.message()).await {
            self.take(told.unwrap().unwrap().what.unwrap());
        }
        self.texts.len() - before
    }

    fn take(&mut self, what: What) {
        match what {
            What::Batch(batch) => {
                let after = (batch.epoch, batch.after);
                assert_eq!(*self.at.get_or_insert(after), after, "a skip is not told");
                for message in batch.messages {
                    self.at = Some((batch.epoch, message.offset));
                    self.texts
                        .push(String::from_utf8(message.data.to_vec()).unwrap());
                }
            }
            What::Gap(gap) => self.at = Some((gap.epoch, gap.to)),
            What::Recovered(recovered) => {
                let position = recovered.position.unwrap();
                if !recovered.ok {
                    self.restarts += 1;
                    assert!(
                        self.at.is_none_or(|at| at.0 < position.epoch),
                        "an epoch comes back"
                    );
                }
                self.at = Some((position.epoch, position.offset));
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_killed_owner_loses_and_doubles_nothing_that_was_replicated() {
    let mut mesh = Mesh::start().await;
    let mut seen = mesh.subscribe(2).await;
    for n in 0..30 {
        let told = mesh.publish(2, &mesh.topic, &n.to_string()).await.unwrap();
        assert!(told.replicated, "{n}");
    }
    mesh.nodes[0].crash().await;
    for n in 30..60 {
        mesh.publish(2, &mesh.topic, &n.to_string()).await.unwrap();
    }
    seen.until("59").await;
    let all: Vec<_> = (0..60).map(|n| n.to_string()).collect();
    assert_eq!(seen.texts, all, "{}", mesh.nodes[1].log());
    assert_eq!(seen.restarts, 0);
}

#[tokio::test]
async fn an_owner_that_stands_still_and_comes_back_leaves_nothing_out_without_a_word() {
    let mesh = Mesh::start().await;
    let mut seen = mesh.subscribe(2).await;
    mesh.publish(2, &mesh.topic, "before").await.unwrap();
    seen.until("before").await;
    mesh.nodes[0].signal(Signal::STOP);
    let deadline = Instant::now() + PATIENCE;
    while mesh.publish(1, &mesh.topic, "meanwhile").await.is_err() {
        assert!(Instant::now() < deadline, "{}", mesh.nodes[1].log());
    }
    seen.until("meanwhile").await;
    assert_eq!(seen.restarts, 1);
    mesh.nodes[0].signal(Signal::CONT);
    // What is published while nodes do not agree may come to nobody; then it is told that a new life began.
    let deadline = Instant::now() + PATIENCE;
    let mut came_since = 0;
    for n in 0.. {
        let restarts = seen.restarts;
        let _ = mesh.publish(1, &mesh.topic, &format!("again {n}")).await;
        came_since += seen.all_now().await;
        if seen.restarts > restarts {
            came_since = 0;
        }
        if seen.restarts >= 2 && came_since > 0 {
            break;
        }
        let logs = || mesh.nodes.iter().map(|node| node.log()).collect::<String>();
        assert!(
            Instant::now() < deadline,
            "{:?} {} {}",
            seen.texts,
            seen.restarts,
            logs()
        );
    }
}
