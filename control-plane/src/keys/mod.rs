//! Where everything is in the store: one place that makes keys and reads them.
//!
//! All keys are below `/weir/v1/{namespace}/`: `cfg/` is what operators want, `live/` is what is there now,
//! `gone/` is what must not come back, `audit/` is what was done. [`Key`] names each, [`Keys::of`] writes it and
//! [`Keys::parse`] reads it back.
//! Names inside of keys are checked, so no name reaches into another one's keys. What has no such name in it has
//! a function of its own that cannot fail.

mod jobs;
mod name;
mod parse;

use bytes::Bytes;
use weir_core::calendar::{LAST_UNIX_MS, yyyymmdd};
use weir_core::tuning::Scope;

pub use jobs::{JobKeys, ReadyKey, check_job_id};
pub use name::{InvalidName, NAME_BYTES_MAX, check_name};

/// The namespace of those who did not choose one.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What a key is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// Which store this is; changes when it is replaced or restored.
    Epoch,
    /// What every change of a token puts, so that the next one can tell that it was made.
    TokensMark,
    /// The newest profile of a scope.
    ProfileHead {
        /// Whose.
        scope: Scope,
    },
    /// One revision of a scope's profile.
    ProfileRevision {
        /// Whose.
        scope: Scope,
        /// Which.
        revision: u64,
    },
    /// What every write of a profile puts, so that the next one can tell that it was made.
    ProfileSerial,
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
        /// When; of what is after the year 9999 the end of that year.
        at_unix_ms: u64,
        /// Tells what was done in one millisecond apart.
        id: u64,
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
    /// A registration that was ended.
    Gone {
        /// Of this service.
        service: &'a str,
        /// The backend's name there.
        backend: &'a str,
        /// Which of its registrations.
        registration: &'a str,
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
        Ok(match key {
            Key::Epoch => self.epoch(),
            Key::TokensMark => self.tokens_mark(),
            Key::ProfileHead { scope } => self.profile_head(scope),
            Key::ProfileRevision { scope, revision } => self.profile_revision(scope, *revision),
            Key::ProfileSerial => self.profile_serial(),
            Key::Weights { service } => self.below(&format!("cfg/service/{service}/weights")),
            Key::Orders { node } => self.below(&format!("cfg/node/{node}/orders")),
            Key::Token { hash } => self.below(&format!("cfg/token/{hash}")),
            Key::Audit { at_unix_ms, id } => self.audit_record(*at_unix_ms, *id),
            Key::Presence { node } => self.below(&format!("live/node/{node}/presence")),
            Key::NodeStatus { node } => self.below(&format!("live/node/{node}/status")),
            Key::Endpoint { service, backend } => {
                self.below(&format!("live/endpoint/{service}/{backend}"))
            }
            Key::Gone {
                service,
                backend,
                registration,
            } => self.below(&format!("gone/{service}/{backend}/{registration}")),
            Key::Leader => self.leader(),
            Key::Instance { instance } => self.below(&format!("live/cp/{instance}")),
        })
    }

    /// What a key of this namespace is about; `None` for any other.
    pub fn parse<'a>(&self, key: &'a [u8]) -> Option<Key<'a>> {
        let below = std::str::from_utf8(key.strip_prefix(&*self.root)?).ok()?;
        let key = parse::below_root(below)?;
        key.check().is_ok().then_some(key)
    }

    /// The prefix of what operators want.
    pub fn cfg(&self) -> Bytes {
        self.below("cfg/")
    }

    /// The prefix of what is there now.
    pub fn live(&self) -> Bytes {
        self.below("live/")
    }

    /// The key of the epoch.
    pub fn epoch(&self) -> Bytes {
        self.below("cfg/meta/epoch")
    }

    /// The prefix of all profiles, heads and revisions.
    pub fn profiles(&self) -> Bytes {
        self.below("cfg/profile/")
    }

    /// The key of the newest profile of a scope.
    pub fn profile_head(&self, scope: &Scope) -> Bytes {
        self.below(&format!("cfg/profile/{scope}/head"))
    }

    /// The key of one revision of a scope's profile.
    pub fn profile_revision(&self, scope: &Scope, revision: u64) -> Bytes {
        self.below(&format!("cfg/profile/{scope}/rev/{revision:020}"))
    }

    /// The prefix of one scope's revisions, and of nothing else.
    ///
    /// It ends with their first digit, which is 0 below 10^19: `override/rev/` alone would be the place of a
    /// node with the name `rev` too.
    pub fn profile_revisions(&self, scope: &Scope) -> Bytes {
        self.below(&format!("cfg/profile/{scope}/rev/0"))
    }

    /// The key that every write of a profile puts.
    pub fn profile_serial(&self) -> Bytes {
        self.below("cfg/profile/serial")
    }

    /// The prefix of all weights.
    pub fn weights(&self) -> Bytes {
        self.below("cfg/service/")
    }

    /// The prefix of all tokens.
    pub fn tokens(&self) -> Bytes {
        self.below("cfg/token/")
    }

    /// The key that every change of a token puts.
    pub fn tokens_mark(&self) -> Bytes {
        self.below("cfg/meta/tokens")
    }

    /// The prefix of what was done.
    pub fn audit(&self) -> Bytes {
        self.below("audit/")
    }

    /// Sorts after all that was done before a time, and before all else.
    pub fn audit_from(&self, unix_ms: u64) -> Bytes {
        let at_unix_ms = unix_ms.min(LAST_UNIX_MS);
        let day = yyyymmdd(at_unix_ms);
        self.below(&format!("audit/{day}/{at_unix_ms:020}"))
    }

    /// The key of something that was done.
    pub fn audit_record(&self, at_unix_ms: u64, id: u64) -> Bytes {
        let mut key = self.audit_from(at_unix_ms).to_vec();
        key.extend_from_slice(format!("-{id:016x}").as_bytes());
        key.into()
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
    /// Checks every name in it; scopes were checked when they were made.
    fn check(&self) -> Result<(), InvalidName> {
        match *self {
            Self::Epoch
            | Self::TokensMark
            | Self::ProfileHead { .. }
            | Self::ProfileRevision { .. }
            | Self::ProfileSerial
            | Self::Audit { .. }
            | Self::Leader => Ok(()),
            Self::Weights { service } => check_name("service", service),
            Self::Orders { node } | Self::Presence { node } | Self::NodeStatus { node } => {
                check_name("node", node)
            }
            Self::Token { hash } => check_name("hash", hash),
            Self::Endpoint { service, backend } => {
                check_name("service", service)?;
                check_name("backend", backend)
            }
            Self::Gone {
                service,
                backend,
                registration,
            } => {
                check_name("service", service)?;
                check_name("backend", backend)?;
                check_name("registration", registration)
            }
            Self::Instance { instance } => check_name("instance", instance),
        }
    }
}

#[cfg(test)]
mod tests;
