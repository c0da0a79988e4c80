//! Who is there, of all nodes: each node tells the owner of a topic who is with it, and the owner tells the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use weir_core::broadcast::{Presence, PresenceLimits, Present, Refused, TopicName};
use weir_core::cache::UnixMs;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::link_told::What;

use super::hub::Hub;

/// Changes go together.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// A node says the same again, well before its word expires.
const AGAIN_INTERVAL: Duration = Duration::from_secs(20);
/// Topics of which presence is known.
const TOPICS_MAX: usize = 100_000;

/// Who is with one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// By name, each once; fewer than `count` when there are too many to name.
    pub names: BTreeSet<Arc<str>>,
    /// How many.
    pub count: usize,
}

/// What is known of who is there.
#[derive(Debug, Default)]
pub(super) struct Presences {
    limits: PresenceLimits,
    /// Who is with this node, and the version of it.
    own: BTreeMap<TopicName, (u64, Members)>,
    version: u64,
    /// Own words that the owner does not know yet.
    unsaid: BTreeSet<TopicName>,
    /// What nodes said of topics that this one numbers.
    merged: BTreeMap<TopicName, Presence>,
    /// What was told last, to others or by the owner.
    told: BTreeMap<TopicName, Present>,
    /// Topics that somebody asked for since.
    asked: BTreeSet<TopicName>,
    told_at: Duration,
    said_at: Duration,
}

impl Presences {
    /// Who is there, as far as it is known here.
    pub(super) fn present(&self, topic: &TopicName, _: UnixMs) -> Present {
        if let Some(merged) = self.merged.get(topic) {
            return merged.present(self.limits);
        }
        if let Some(told) = self.told.get(topic) {
            return told.clone();
        }
        match self.own.get(topic) {
            Some((_, members)) if members.names.len() < members.count => {
                Present::Count(members.count)
            }
            Some((_, members)) => Present::Members(members.names.clone()),
            None => Present::Members(BTreeSet::new()),
        }
    }

    /// Owners are others now: everybody tells them anew.
    pub(super) fn moved(&mut self) {
        self.unsaid = self.own.keys().cloned().collect();
        self.merged.clear();
        self.told.clear();
    }

    /// A node is to be told who is there.
    pub(super) fn asked(&mut self, topic: &TopicName) {
        if self.merged.contains_key(topic) {
            self.asked.insert(topic.clone());
        }
    }
}

/// Another node says who is with it.
pub(super) fn said(presences: &mut Presences, node: &str, said: &pb::TopicMembers, now: UnixMs) {
    let Ok(topic) = TopicName::any(&said.topic) else {
        return;
    };
    if presences.merged.len() >= TOPICS_MAX && !presences.merged.contains_key(&topic) {
        return;
    }
    let (names, count) = members_of(said);
    let merged = presences.merged.entry(topic).or_default();
    merged.merge(node, said.version, names, count, now);
}

/// The owner says who is there.
///
/// # Errors
/// When the topic is none.
pub(super) fn told(
    presences: &mut Presences,
    told: pb::TopicMembers,
    _: UnixMs,
) -> Result<(), Refused> {
    let topic = TopicName::any(&told.topic)?;
    let (names, count) = members_of(&told);
    let present = match names.len() < count {
        true => Present::Count(count),
        false => Present::Members(names),
    };
    if presences.told.len() < TOPICS_MAX || presences.told.contains_key(&topic) {
        presences.told.insert(topic, present);
    }
    Ok(())
}

fn members_of(wire: &pb::TopicMembers) -> (BTreeSet<Arc<str>>, usize) {
    let names = wire.names.iter().map(|name| name.as_str().into()).collect();
    (names, usize::try_from(wire.count).unwrap_or(usize::MAX))
}

fn encode(
    topic: &TopicName,
    version: u64,
    names: &BTreeSet<Arc<str>>,
    count: usize,
) -> pb::TopicMembers {
    pb::TopicMembers {
        topic: topic.to_string(),
        version,
        names: names.iter().map(ToString::to_string).collect(),
        count: count as u64,
    }
}

impl Hub {
    /// Who is with this node.
    pub(super) fn set_members(&mut self, topic: &TopicName, members: Members) {
        let presences = &mut self.presences;
        presences.version += 1;
        presences.unsaid.insert(topic.clone());
        presences
            .own
            .insert(topic.clone(), (presences.version, members));
    }

    /// Tells owners who is here, and others who is there.
    pub(super) fn tells_presence(&mut self) {
        let now = self.now();
        if now.saturating_sub(self.presences.told_at) < TELL_INTERVAL {
            return;
        }
        self.presences.told_at = now;
        if now.saturating_sub(self.presences.said_at) >= AGAIN_INTERVAL {
            self.presences.said_at = now;
            let own: Vec<_> = self.presences.own.keys().cloned().collect();
            self.presences.unsaid.extend(own);
        }
        self.says_members();
        self.tells_members();
    }

    fn says_members(&mut self) {
        let (view, now) = (self.mesh.view(), self.mesh.now());
        for topic in std::mem::take(&mut self.presences.unsaid) {
            let Some((version, members)) = self.presences.own.get(&topic).cloned() else {
                continue;
            };
            let wire = encode(&topic, version, &members.names, members.count);
            let owner = view.owner(&topic);
            if owner == &*view.node {
                said(&mut self.presences, owner, &wire, now);
            } else if let Some(peer) = self.nodes.get(owner) {
                peer.ask(pb::LinkAsked {
                    members: vec![wire],
                    ..pb::LinkAsked::default()
                });
            }
            if members.count == 0 && members.names.is_empty() {
                self.presences.own.remove(&topic);
            }
        }
    }

    fn tells_members(&mut self) {
        let now = self.mesh.now();
        let Presences {
            limits,
            merged,
            told,
            asked,
            ..
        } = &mut self.presences;
        let mut all = Vec::new();
        merged.retain(|topic, presence| {
            presence.expire(now, *limits);
            let present = presence.present(*limits);
            let is_empty = present == Present::Members(BTreeSet::new());
            let is_new = told.get(topic) != Some(&present);
            if is_new || asked.contains(topic) {
                told.insert(topic.clone(), present.clone());
                all.push((topic.clone(), present));
            }
            !is_empty
        });
        asked.clear();
        for (topic, present) in all {
            let wire = match &present {
                Present::Members(names) => encode(&topic, 0, names, names.len()),
                Present::Count(count) => encode(&topic, 0, &BTreeSet::new(), *count),
            };
            for peer in self.nodes.values_mut() {
                if let Some(down) = &mut peer.down
                    && down.active.contains(&topic)
                {
                    down.tell(What::Members(wire.clone()));
                }
            }
        }
    }
}
