//! All nodes, and what is waited for of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use weir_proto::control::v1 as pb;
use weir_proto::sync::ContentHash;

use super::node::{Answered, Counts, Node};
use super::process::ControlPlane;
use super::{Fleet, PATIENCE};

const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// The nodes; they end with this.
pub(super) struct Crowd {
    pub(super) counts: Arc<Counts>,
    answers: mpsc::UnboundedReceiver<Answered>,
    nodes: u64,
    /// What every node answered last.
    answered: ContentHash,
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Crowd {
    /// Starts them all at once.
    pub(super) fn gather(fleet: &Fleet, control_plane: &ControlPlane) -> Self {
        let counts = Arc::new(Counts::default());
        let (tell, answers) = mpsc::unbounded_channel();
        let (stop, stopping) = watch::channel(false);
        let mut random = fastrand::Rng::with_seed(fleet.seed);
        let mut tasks = JoinSet::new();
        for at in 0..fleet.nodes {
            let node = Node {
                id: format!("sim-{at}"),
                control_plane: control_plane.address,
                wants_peers: fleet.peers,
                counts: Arc::clone(&counts),
                answers: tell.clone(),
                random: random.fork(),
                held: BTreeMap::new(),
                profile: pb::ProfileState::default(),
            };
            tasks.spawn(node.run(stopping.clone()));
        }
        Self {
            counts,
            answers,
            nodes: u64::from(fleet.nodes),
            answered: ContentHash::default(),
            _stop: stop,
            _tasks: tasks,
        }
    }

    /// Waits until as many streams were opened as there are nodes, counted from `welcomes` on, and all are open.
    pub(super) async fn all_connected(&self, welcomes: u64) -> Result<(), String> {
        let is_there = || {
            self.counts.welcomes.load(Ordering::Relaxed) >= welcomes + self.nodes
                && self.counts.connected.load(Ordering::Relaxed) == self.nodes
        };
        let connected = async {
            while !is_there() {
                sleep(LOOK_INTERVAL).await;
            }
        };
        let all = timeout(PATIENCE, connected).await;
        all.map_err(|_| {
            let connected = self.counts.connected.load(Ordering::Relaxed);
            format!("{connected} of {} nodes are connected", self.nodes)
        })
    }

    /// Waits until every node answered a profile other than the last one; when the last of them did.
    pub(super) async fn all_answered(&mut self) -> Result<Instant, String> {
        let mut left = self.nodes;
        let mut last = Instant::now();
        let mut hash = self.answered;
        let answered = async {
            while left > 0 {
                let Some(answer) = self.answers.recv().await else {
                    return;
                };
                if answer.hash != self.answered {
                    left -= 1;
                    (last, hash) = (answer.at, answer.hash);
                }
            }
        };
        let all = timeout(PATIENCE, answered).await;
        all.map_err(|_| format!("{left} nodes did not answer"))?;
        self.answered = hash;
        Ok(last)
    }
}
