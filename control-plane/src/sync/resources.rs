//! A set of named resources under one rising version, and what makes a newer one of an older one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use weir_proto::sync::{ContentHash, content_hash, toggle};

/// Changes that are remembered; who is further behind gets everything.
pub const CHANGES_MAX: usize = 4_096;

/// Most bytes of a set with the names in it: in one push it is within the 64 MiB that nodes take.
pub const SET_BYTES_MAX: usize = 60 << 20;
/// What a resource takes on the wire besides its name and payload.
const RESOURCE_OVERHEAD_BYTES: usize = 40;

/// A set is too large for a push.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} have {bytes} bytes, and one push at most {SET_BYTES_MAX}: nodes keep what they hold of them"
)]
pub struct Oversized {
    /// What it is of.
    pub kind: &'static str,
    /// All of it.
    pub bytes: usize,
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Of the payload.
    pub hash: ContentHash,
    /// The message that the type names, encoded once for everyone.
    pub payload: Bytes,
}

/// What a node holds of one type, as it says or as it acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The version; 0 compares with none.
    pub version: u64,
    /// Of everything that it holds.
    pub set_hash: ContentHash,
}

/// What brings a node from what it holds to what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// It holds what there is.
    Nothing,
    /// These changed since it was told.
    Changes {
        /// New and changed ones.
        put: Vec<(Arc<str>, Resource)>,
        /// Those that are gone.
        removed: Vec<Arc<str>>,
    },
    /// These are all there are.
    All(Vec<(Arc<str>, Resource)>),
}

/// The set.
#[derive(Clone, Debug, Default)]
pub struct ResourceSet {
    resources: BTreeMap<Arc<str>, Resource>,
    version: u64,
    set_hash: ContentHash,
    bytes: usize,
    changes: VecDeque<(u64, Arc<str>)>,
    /// Changes after this version are all in `changes`.
    complete_after: u64,
}

impl ResourceSet {
    /// A set of one resource.
    pub fn of_one(name: &str, resource: Resource, version: u64) -> Self {
        let mut set = Self::default();
        set.insert(name, resource, version);
        set
    }

    /// Puts a resource as of a store revision; true if it is new or other than before.
    pub fn put(&mut self, name: &str, payload: Bytes, version: u64) -> bool {
        let hash = content_hash(&payload);
        self.insert(name, Resource { hash, payload }, version)
    }

    fn insert(&mut self, name: &str, resource: Resource, version: u64) -> bool {
        self.version = self.version.max(version);
        let before = self.resources.get(name).map(|found| found.hash);
        if before == Some(resource.hash) {
            return false;
        }
        if let Some(hash) = before {
            toggle(&mut self.set_hash, name, hash);
        }
        toggle(&mut self.set_hash, name, resource.hash);
        let name: Arc<str> = name.into();
        self.remember(Arc::clone(&name));
        self.bytes += size(&name, &resource);
        if let Some(before) = self.resources.insert(Arc::clone(&name), resource) {
            self.bytes -= size(&name, &before);
        }
        true
    }

    /// Removes a resource as of a store revision; true if it was there.
    pub fn remove(&mut self, name: &str, version: u64) -> bool {
        self.version = self.version.max(version);
        let Some((name, resource)) = self.resources.remove_entry(name) else {
            return false;
        };
        toggle(&mut self.set_hash, &name, resource.hash);
        self.bytes -= size(&name, &resource);
        self.remember(name);
        true
    }

    /// Begins anew at a version that does not compare with those before. What is put from now on is compared with
    /// what there is, and nobody gets changes since an older version.
    pub fn restart(&mut self, version: u64) {
        self.version = version;
        self.complete_after = version;
        self.changes.clear();
    }

    fn remember(&mut self, name: Arc<str>) {
        self.changes.push_back((self.version, name));
        if self.changes.len() > CHANGES_MAX
            && let Some((version, _)) = self.changes.pop_front()
        {
            self.complete_after = version;
        }
    }

    /// Whether it fits into a push; `kind` says what it is of.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_size(&self, kind: &'static str) -> Result<(), Oversized> {
        match self.bytes <= SET_BYTES_MAX {
            true => Ok(()),
            false => Err(Oversized {
                kind,
                bytes: self.bytes,
            }),
        }
    }

    /// The newest revision that went into it.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Of everything in it.
    pub fn set_hash(&self) -> ContentHash {
        self.set_hash
    }

    /// Names and resources, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Resource)> {
        self.resources.iter()
    }

    /// What somebody lacks who holds `held` of this very store; `None` holds nothing that compares.
    pub fn delta(&self, held: Option<Held>) -> Delta {
        let all = || {
            let copy =
                |(name, resource): (&Arc<str>, &Resource)| (Arc::clone(name), resource.clone());
            Delta::All(self.resources.iter().map(copy).collect())
        };
        let Some(held) = held else {
            return all();
        };
        if held.set_hash == self.set_hash {
            return Delta::Nothing;
        }
        let is_comparable = held.version >= self.complete_after && held.version < self.version;
        if held.version == 0 || !is_comparable {
            return all();
        }
        let since = self.changes.iter().rev();
        let names: BTreeSet<&Arc<str>> = since
            .take_while(|(version, _)| *version > held.version)
            .map(|(_, name)| name)
            .collect();
        let (mut put, mut removed) = (Vec::new(), Vec::new());
        for name in names {
            match self.resources.get(name) {
                Some(resource) => put.push((Arc::clone(name), resource.clone())),
                None => removed.push(Arc::clone(name)),
            }
        }
        Delta::Changes { put, removed }
    }
}

fn size(name: &str, resource: &Resource) -> usize {
    name.len() + resource.payload.len() + RESOURCE_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use weir_proto::sync::set_hash;

    use super::*;

    /// A node that obeys.
    #[derive(Default)]
    struct Node {
        holds: BTreeMap<Arc<str>, ContentHash>,
        held: Option<Held>,
    }

    impl Node {
        fn take(&mut self, set: &ResourceSet) -> Delta {
            let delta = set.delta(self.held);
            match &delta {
                Delta::Nothing => {}
                Delta::All(all) => {
                    self.holds = all
                        .iter()
                        .map(|(name, r)| (Arc::clone(name), r.hash))
                        .collect();
                }
                Delta::Changes { put, removed } => {
                    self.holds
                        .extend(put.iter().map(|(name, r)| (Arc::clone(name), r.hash)));
                    for name in removed {
                        self.holds.remove(name);
                    }
                }
            }
            let hash = set_hash(self.holds.iter().map(|(name, hash)| (&**name, *hash)));
            assert_eq!(hash, set.set_hash(), "the node holds what there is");
            self.held = Some(Held {
                version: set.version(),
                set_hash: hash,
            });
            delta
        }
    }

    #[test]
    fn one_change_among_many_is_all_that_is_told() {
        let mut set = ResourceSet::default();
        for at in 0..1_000 {
            set.put(&format!("r{at}"), Bytes::from(vec![1]), at + 1);
        }
        let mut node = Node::default();
        assert!(matches!(node.take(&set), Delta::All(all) if all.len() == 1_000));
        assert!(!set.put("r7", Bytes::from(vec![1]), 1_001), "a no-op");
        assert_eq!(node.take(&set), Delta::Nothing);
        set.put("r7", Bytes::from(vec![2]), 1_002);
        set.remove("r8", 1_003);
        match node.take(&set) {
            Delta::Changes { put, removed } => assert_eq!((put.len(), removed.len()), (1, 1)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_is_too_far_behind_or_ahead_gets_everything() {
        let mut set = ResourceSet::default();
        set.put("a", Bytes::from(vec![0]), 1);
        let mut node = Node::default();
        node.take(&set);
        for at in 0..=CHANGES_MAX as u64 {
            set.put("a", Bytes::from(at.to_be_bytes().to_vec()), at + 2);
        }
        assert!(matches!(node.take(&set), Delta::All(_)));
        // The store was put back to an older state.
        set.restart(2);
        set.put("a", Bytes::from(vec![9]), 3);
        assert!(matches!(node.take(&set), Delta::All(_)));
    }

    proptest! {
        #[test]
        fn deltas_lead_to_what_there_is(steps in prop::collection::vec((0_u8..6, 0_u8..4, any::<bool>()), 1..80)) {
            let mut set = ResourceSet::default();
            let mut node = Node::default();
            for (at, (name, content, look)) in steps.into_iter().enumerate() {
                let version = at as u64 + 1;
                match content {
                    0 => set.remove(&name.to_string(), version),
                    _ => set.put(&name.to_string(), Bytes::from(vec![content]), version),
                };
                if look {
                    node.take(&set);
                    prop_assert_eq!(set.delta(node.held), Delta::Nothing);
                }
            }
            node.take(&set);
        }
    }
}
