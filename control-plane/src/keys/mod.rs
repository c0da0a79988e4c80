//! Where everything is in the store: one place that makes keys and reads them.
//!
//! All keys are below `/weir/v1/{namespace}/`: `cfg/` is what operators want, `live/` is what is there now,
//! `audit/` is what was done. [`Key`] names each, [`Keys::of`] writes it and [`Keys::parse`] reads it back.
//! Names inside of keys are checked, so no name reaches into another one's keys.

mod name;
mod parse;

use bytes::Bytes;

pub use name::{InvalidName, NAME_BYTES_MAX, check_name, check_scope};

/// The namespace of those who did not choose one.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What a key is about. Scopes are text as operators write it: `fleet`, `group/NAME`, `node/ID`, `override`,
/// `override/ID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// Which store this is; changes when it is replaced or restored.
    Epoch,
    /// The newest profile of a scope.
    ProfileHead {
        /// Whose.
        scope: &'a str,
    },
    /// One revision of a scope's profile.
    ProfileRevision {
        /// Whose.
        scope: &'a str,
        /// Which.
        revision: u64,
    },
    /// The weights of a service.
    Weights {
        /// Which.
        service: &'a str,
    },
    /// What operators want of a node.
    Orders {
        /// Which.
        node: &'a str,
    },
    /// A token.
    Token {
        /// Its hash, as text.
        hash: &'a str,
    },
    /// Something that was done.
    Audit {
        /// When, as `yyyymmdd`.
        day: &'a str,
        /// Sorts by time within the day.
        id: &'a str,
    },
    /// A node that is connected.
    Presence {
        /// Which.
        node: &'a str,
    },
    /// What a node said last.
    NodeStatus {
        /// Which.
        node: &'a str,
    },
    /// A backend that announced itself.
    Endpoint {
        /// Of this service.
        service: &'a str,
        /// Its name there.
        backend: &'a str,
    },
    /// The leader among the instances of the control plane.
    Leader,
    /// An instance of the control plane that runs.
    Instance {
        /// Which.
        instance: &'a str,
    },
}

/// The keys of one namespace. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    root: Bytes,
}

impl Keys {
    /// Those of this namespace.
    pub fn new(namespace: &str) -> Result<Self, InvalidName> {
        check_name("namespace", namespace)?;
        Ok(Self {
            root: Bytes::from(format!("/weir/v1/{namespace}/")),
        })
    }

    /// The key.
    pub fn of(&self, key: &Key<'_>) -> Result<Bytes, InvalidName> {
        key.check()?;
        let below = match *key {
            Key::Epoch => "cfg/meta/epoch".to_owned(),
            Key::ProfileHead { scope } => format!("cfg/profile/{scope}/head"),
            Key::ProfileRevision { scope, revision } => {
                format!("cfg/profile/{scope}/rev/{revision:020}")
            }
            Key::Weights { service } => format!("cfg/service/{service}/weights"),
            Key::Orders { node } => format!("cfg/node/{node}/orders"),
            Key::Token { hash } => format!("cfg/token/{hash}"),
            Key::Audit { day, id } => format!("audit/{day}/{id}"),
            Key::Presence { node } => format!("live/node/{node}/presence"),
            Key::NodeStatus { node } => format!("live/node/{node}/status"),
            Key::Endpoint { service, backend } => format!("live/endpoint/{service}/{backend}"),
            Key::Leader => "live/election/controller".to_owned(),
            Key::Instance { instance } => format!("live/cp/{instance}"),
        };
        Ok(self.below(&below))
    }

    /// What a key of this namespace is about; `None` for any other.
    pub fn parse<'a>(&self, key: &'a [u8]) -> Option<Key<'a>> {
        let below = std::str::from_utf8(key.strip_prefix(&*self.root)?).ok()?;
        let key = parse::below_root(below)?;
        key.check().is_ok().then_some(key)
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        let after = self.root().strip_prefix("/weir/v1/").unwrap_or_default();
        after.trim_end_matches('/')
    }

    /// The prefix of everything, as text.
    pub fn root(&self) -> &str {
        std::str::from_utf8(&self.root).expect("it was made of text")
    }

    /// The prefix of everything.
    pub fn all(&self) -> Bytes {
        self.root.clone()
    }

    /// The prefix of what operators want.
    pub fn cfg(&self) -> Bytes {
        self.below("cfg/")
    }

    /// The prefix of what is there now.
    pub fn live(&self) -> Bytes {
        self.below("live/")
    }

    /// The prefix of all profiles, heads and revisions.
    pub fn profiles(&self) -> Bytes {
        self.below("cfg/profile/")
    }

    /// The prefix of one scope's revisions, and of nothing else.
    ///
    /// It ends with their first digit, which is 0 below 10^19: `override/rev/` alone would be the place of a
    /// node with the name `rev` too.
    pub fn profile_revisions(&self, scope: &str) -> Result<Bytes, InvalidName> {
        check_scope(scope)?;
        Ok(self.below(&format!("cfg/profile/{scope}/rev/0")))
    }

    /// The prefix of all weights.
    pub fn weights(&self) -> Bytes {
        self.below("cfg/service/")
    }

    /// The prefix of all orders.
    pub fn orders(&self) -> Bytes {
        self.below("cfg/node/")
    }

    /// The prefix of all tokens.
    pub fn tokens(&self) -> Bytes {
        self.below("cfg/token/")
    }

    /// The prefix of what was done.
    pub fn audit(&self) -> Bytes {
        self.below("audit/")
    }

    /// The prefix of all nodes' presences and states.
    pub fn nodes(&self) -> Bytes {
        self.below("live/node/")
    }

    /// The prefix of all registered backends.
    pub fn endpoints(&self) -> Bytes {
        self.below("live/endpoint/")
    }

    /// The prefix of one service's registered backends.
    pub fn endpoints_of(&self, service: &str) -> Result<Bytes, InvalidName> {
        check_name("service", service)?;
        Ok(self.below(&format!("live/endpoint/{service}/")))
    }

    /// The prefix of the instances that run.
    pub fn instances(&self) -> Bytes {
        self.below("live/cp/")
    }

    /// The key of the leader.
    pub fn leader(&self) -> Bytes {
        self.below("live/election/controller")
    }

    fn below(&self, path: &str) -> Bytes {
        [&*self.root, path.as_bytes()].concat().into()
    }
}

impl Key<'_> {
    /// Checks every name in it.
    fn check(&self) -> Result<(), InvalidName> {
        match *self {
            Self::Epoch | Self::Leader => Ok(()),
            Self::ProfileHead { scope } | Self::ProfileRevision { scope, .. } => check_scope(scope),
            Self::Weights { service } => check_name("service", service),
            Self::Orders { node } | Self::Presence { node } | Self::NodeStatus { node } => {
                check_name("node", node)
            }
            Self::Token { hash } => check_name("hash", hash),
            Self::Audit { day, id } => {
                check_name("day", day)?;
                check_name("id", id)
            }
            Self::Endpoint { service, backend } => {
                check_name("service", service)?;
                check_name("backend", backend)
            }
            Self::Instance { instance } => check_name("instance", instance),
        }
    }
}

#[cfg(test)]
mod tests;
