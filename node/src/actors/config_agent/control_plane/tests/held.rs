//! What is held is what the control plane has, whatever gets lost on the way.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::Instant;
use weir_control_plane::sync::lane::{Answer, Lane};
use weir_control_plane::sync::resources::{Held, ResourceSet};

use super::super::held::Mismatch;
use super::*;

const KIND: pb::ResourceType = pb::ResourceType::Weights;

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(u8, u8),
    Remove(u8),
    /// The store was put back to an older state, or is another one.
    Restart,
    /// The node is told what changed.
    Push,
    /// The node is told, and its answer is lost with the stream.
    PushAndBreak,
    /// The stream breaks.
    Break,
    /// The control plane takes the node for one that holds what it does not.
    Confuse,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..5, 0_u8..4).prop_map(|(name, content)| Step::Put(name, content)),
        2 => (0_u8..5).prop_map(Step::Remove),
        1 => Just(Step::Restart),
        4 => Just(Step::Push),
        1 => Just(Step::PushAndBreak),
        1 => Just(Step::Break),
        1 => Just(Step::Confuse),
    ]
}

struct Both {
    set: ResourceSet,
    version: u64,
    lane: Lane,
    node: HeldSet,
}

impl Both {
    fn reconnect(&mut self) {
        let point = self.node.resume(KIND);
        let held = Held {
            version: point.version,
            set_hash: point.set_hash.try_into().unwrap(),
        };
        self.lane = Lane::new(KIND, Some(held));
    }

    /// Pushes until the node holds what there is; at most one push makes no sense to it.
    fn push(&mut self) -> usize {
        let mut mismatches = 0;
        for nonce in 1.. {
            let now = Instant::now();
            let Some(push) = self.lane.push(&self.set, "epoch", nonce, now) else {
                break;
            };
            let after = self.node.after(&push);
            mismatches += usize::from(after.is_err());
            assert_eq!(self.lane.acked(nonce, after.is_err()), Answer::Expected);
            self.node = after.unwrap_or_else(|_| self.node.clone());
        }
        let content = |(name, payload): (&str, &Bytes)| (name.to_owned(), payload.clone());
        let node: BTreeMap<String, Bytes> = self.node.iter().map(content).collect();
        let there = self
            .set
            .iter()
            .map(|(name, r)| (name.to_string(), r.payload.clone()));
        assert_eq!(node, there.collect());
        mismatches
    }

    fn take(&mut self, step: Step) -> usize {
        match step {
            Step::Put(name, content) => {
                self.version += 1;
                let payload = Bytes::from(vec![content]);
                self.set.put(&name.to_string(), payload, self.version);
            }
            Step::Remove(name) => {
                self.version += 1;
                self.set.remove(&name.to_string(), self.version);
            }
            Step::Restart => {
                self.version = self.version.saturating_sub(2);
                self.set.restart(self.version);
            }
            Step::Push => return self.push(),
            Step::PushAndBreak => {
                if let Some(push) = self.lane.push(&self.set, "epoch", 1, Instant::now())
                    && let Ok(after) = self.node.after(&push)
                {
                    self.node = after;
                }
                self.reconnect();
            }
            Step::Break => self.reconnect(),
            Step::Confuse => {
                let held = Held {
                    version: self.version,
                    set_hash: [9; 16],
                };
                self.lane = Lane::new(KIND, Some(held));
            }
        }
        0
    }
}

proptest! {
    #[test]
    fn deltas_lead_to_what_the_control_plane_has(steps in prop::collection::vec(step(), 1..60)) {
        let mut both = Both {
            set: ResourceSet::default(),
            version: 0,
            lane: Lane::new(KIND, None),
            node: HeldSet::default(),
        };
        for step in steps {
            let mismatches = both.take(step);
            prop_assert!(mismatches <= 1, "everything was sent after the first");
        }
        both.push();
        prop_assert_eq!(both.push(), 0);
        // What goes to the disk and comes back is the same.
        prop_assert_eq!(&held(&both.node.as_push(KIND)), &both.node);
    }
}

#[test]
fn a_push_that_is_not_what_it_says_changes_nothing() {
    let sound = weights_push(5);
    let before = held(&sound);
    let mut damaged = sound.clone();
    damaged.resources[0].payload = vec![1, 2, 3].into();
    let mut misnamed = sound.clone();
    misnamed.resources[0].name = "other".to_owned();
    let mut incomplete = sound.clone();
    incomplete.resources.clear();
    let mut short = sound.clone();
    short.set_hash.pop();
    let mut of_nothing = sound.clone();
    of_nothing.reset = false;
    of_nothing.removed = vec!["web".to_owned()];
    of_nothing.resources.clear();
    for push in [damaged, misnamed, incomplete, short, of_nothing] {
        assert_eq!(before.after(&push), Err(Mismatch), "{push:?}");
    }
    assert_eq!(before.after(&sound), Ok(before.clone()));
}
