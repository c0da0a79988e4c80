//! Asks the other nodes, once for everybody who asks this one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use weir_core::units::format_rough;
use weir_proto::node::v1 as pb;

use super::fold::{BOUNDS, Fold};
use super::merged::Merged;
use super::own::Own;
use super::snapshot::{Snapshot, Source};
use super::{SAMPLES_TOLD_MAX, Wanted, ask, describe};
use crate::orders;
use crate::peers::Peers;

/// For all nodes, however many they are.
const MESH_TIMEOUT: Duration = Duration::from_secs(3);
/// Nodes that are asked at a time.
const ASKED_MAX: usize = 16;
/// How long a node is told of that is gone without having said that it goes.
const GONE_TOLD: Duration = Duration::from_secs(600);

/// Asks the other nodes. Whoever wants to know has it to itself meanwhile; everybody else waits for the same.
pub(super) struct Gatherer {
    peers: Peers,
    merged: Merged,
    last: Option<(Instant, Arc<Snapshot>)>,
    away: Away,
    /// Nodes that have told something.
    known: BTreeMap<String, Known>,
}

struct Known {
    heard: Instant,
    /// It drains or stops.
    leaves: bool,
}

/// Nodes that did not answer, and why. Nobody waits for them: they are asked beside, and among the others again when
/// they have answered. Cheap to clone.
#[derive(Clone, Default)]
struct Away(Arc<Mutex<BTreeMap<String, Absent>>>);

struct Absent {
    why: String,
    is_asked: bool,
}

impl Gatherer {
    /// Has asked nobody yet.
    pub(super) fn new(peers: &Peers) -> Self {
        Self {
            peers: peers.clone(),
            merged: Merged::new(),
            last: None,
            away: Away::default(),
            known: BTreeMap::new(),
        }
    }

    /// What all nodes tell, no older than a status may be.
    pub(super) async fn now(&mut self, own: Arc<Snapshot>, source: &Own) -> Arc<Snapshot> {
        let began = Instant::now();
        if let Some((taken, snapshot)) = &self.last
            && began.duration_since(*taken) < source.age_max()
        {
            return Arc::clone(snapshot);
        }
        let snapshot = Arc::new(self.gather(&own, source).await);
        self.last = Some((began, Arc::clone(&snapshot)));
        snapshot
    }

    async fn gather(&mut self, own: &Snapshot, source: &Own) -> Snapshot {
        let settings = source.history().settings();
        self.merged
            .go_on(settings.interval_ms(), settings.samples_max);
        let mut others = self.peers.others();
        others.sort_unstable();
        let cut = others.len().saturating_sub(BOUNDS.nodes - 1);
        others.truncate(BOUNDS.nodes - 1);
        let mut gathered = Gathered {
            fold: Fold::new(BOUNDS),
            merged: self.merged.clone(),
            unmerged: Vec::new(),
            merged_nodes: Vec::new(),
        };
        let node = &*self.peers.node().to_owned();
        let of_own = own.answer(wanted_of(self.merged.since(node)));
        gathered.take(node, of_own, source.unix_ms_now());
        let silent = self.ask_all(&others, &mut gathered, source).await;
        let mut unreachable = self.gone(&others);
        unreachable.extend(silent);
        unreachable.sort_by(|one, other| one.node.cmp(&other.node));
        self.merged
            .keep(|known| known == node || others.iter().any(|other| other == known));
        let slots = self.merged.slots(gathered.merged_nodes.iter());
        let mut answer = gathered.fold.finish(node, source.unix_ms_now());
        answer.rates = Some(describe::rates(&self.merged.sums(slots.end)));
        answer.unreachable_nodes = unreachable;
        answer.unmerged_nodes = gathered.unmerged;
        answer.cut.get_or_insert_default().nodes += cut as u64;
        Snapshot::new(answer, slots, Source::Merged(self.merged.clone()))
    }

    /// Those that do not answer, with why.
    async fn ask_all(
        &mut self,
        others: &[String],
        gathered: &mut Gathered,
        source: &Own,
    ) -> Vec<pb::NodeTrouble> {
        let mut silent = self.away.among(others);
        silent
            .iter()
            .for_each(|(node, _)| self.away.ask(&self.peers, node));
        let is_present = |node: &&String| !silent.contains_key(*node);
        let present: Vec<String> = others.iter().filter(is_present).cloned().collect();
        for node in &present {
            let why = format!("not told within {MESH_TIMEOUT:?}");
            silent.insert(node.clone(), why);
        }
        let asked = present.into_iter().map(|node| {
            let request = request_for(self.merged.since(&node));
            let peers = self.peers.clone();
            async move {
                let told = ask(&peers, &node, request).await;
                (node, told)
            }
        });
        let asked: Vec<_> = asked.collect();
        let mut answers = stream::iter(asked).buffered(ASKED_MAX);
        let all = async {
            while let Some((node, answer)) = answers.next().await {
                match answer {
                    Ok(told) => {
                        silent.remove(&node);
                        self.known.insert(node.clone(), Known::of(&told));
                        gathered.take(&node, told, source.unix_ms_now());
                    }
                    Err(why) => {
                        self.away.insert(&node, &why);
                        silent.insert(node, why);
                    }
                }
            }
        };
        let _ = timeout(MESH_TIMEOUT, all).await;
        let silent = silent.into_iter();
        silent
            .map(|(node, why)| pb::NodeTrouble { node, why })
            .collect()
    }

    /// Nodes that the control plane does not name any more, and that have not said that they go.
    fn gone(&mut self, others: &[String]) -> Vec<pb::NodeTrouble> {
        let is_known = |node: &String| others.contains(node);
        self.known.retain(|node, known| {
            is_known(node) || (!known.leaves && known.heard.elapsed() < GONE_TOLD)
        });
        self.away.keep(is_known);
        let gone = self.known.iter().filter(|(node, _)| !is_known(node));
        let gone = gone.map(|(node, known)| pb::NodeTrouble {
            node: node.clone(),
            why: format!(
                "gone: it told last {} ago, and the control plane names it no more",
                format_rough(known.heard.elapsed())
            ),
        });
        gone.collect()
    }
}

/// What came so far.
struct Gathered {
    fold: Fold,
    merged: Merged,
    merged_nodes: Vec<String>,
    unmerged: Vec<pb::NodeTrouble>,
}

impl Gathered {
    fn take(&mut self, node: &str, mut told: pb::OverviewAnswer, unix_ms: u64) {
        let history = told.history.take().unwrap_or_default();
        match self.merged.add(node, &history, unix_ms) {
            Ok(()) => self.merged_nodes.push(node.to_owned()),
            Err(why) => self.unmerged.push(pb::NodeTrouble {
                node: node.to_owned(),
                why,
            }),
        }
        // Whatever it says of itself: nobody tells in another one's name.
        node.clone_into(&mut told.node);
        self.fold.add(told);
    }
}

impl Known {
    fn of(told: &pb::OverviewAnswer) -> Self {
        let status = told.nodes.first().and_then(|node| node.status.as_ref());
        let leaves = |status: &pb::Status| orders::LEAVING.contains(&&*status.state);
        Self {
            heard: Instant::now(),
            leaves: status.is_some_and(leaves),
        }
    }
}

impl Away {
    fn among(&self, nodes: &[String]) -> BTreeMap<String, String> {
        let absent = self.0.lock();
        let absent = nodes
            .iter()
            .filter_map(|node| Some((node.clone(), absent.get(node)?.why.clone())));
        absent.collect()
    }

    fn insert(&self, node: &str, why: &str) {
        let absent = Absent {
            why: why.to_owned(),
            is_asked: false,
        };
        self.0.lock().insert(node.to_owned(), absent);
    }

    fn keep(&self, is_known: impl Fn(&String) -> bool) {
        self.0.lock().retain(|node, _| is_known(node));
    }

    /// Asks a node beside, unless it is being asked.
    fn ask(&self, peers: &Peers, node: &str) {
        let mut absent = self.0.lock();
        let Some(absent) = absent.get_mut(node).filter(|absent| !absent.is_asked) else {
            return;
        };
        absent.is_asked = true;
        let (away, peers, node) = (self.clone(), peers.clone(), node.to_owned());
        tokio::spawn(async move {
            let request = pb::OverviewRequest {
                samples_max: 1,
                ..pb::OverviewRequest::default()
            };
            match ask(&peers, &node, request).await {
                Ok(_) => drop(away.0.lock().remove(&node)),
                Err(why) => away.insert(&node, &why),
            }
        });
    }
}

fn wanted_of(since: u64) -> Wanted {
    Wanted {
        since,
        samples_max: SAMPLES_TOLD_MAX,
        buckets: true,
    }
}

fn request_for(since_slot: u64) -> pb::OverviewRequest {
    pb::OverviewRequest {
        since_slot,
        buckets: true,
        ..pb::OverviewRequest::default()
    }
}
