//! Where profiles, weights and what was done to them are in the store.

use bytes::Bytes;
use weir_core::tuning::Scope;

const REVISION_DIGITS: usize = 20;

/// The keys of one namespace. Cheap enough to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileKeys {
    root: String,
}

/// What a key below [`ProfileKeys::profiles`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileKey {
    /// The newest profile of a scope.
    Head(Scope),
    /// One revision of a scope's profile.
    Revision(Scope, u64),
    /// What every write of a profile puts.
    Serial,
}

impl ProfileKeys {
    /// Those of this namespace.
    pub fn new(namespace: &str) -> Self {
        Self {
            root: format!("/weir/v1/{namespace}/"),
        }
    }

    /// The prefix of all profiles, heads and revisions.
    pub fn profiles(&self) -> Bytes {
        self.below("cfg/profile/")
    }

    /// The newest profile of a scope.
    pub fn head(&self, scope: &Scope) -> Bytes {
        self.below(&format!("cfg/profile/{scope}/head"))
    }

    /// One revision of a scope's profile.
    pub fn revision(&self, scope: &Scope, revision: u64) -> Bytes {
        self.below(&format!("cfg/profile/{scope}/rev/{revision:020}"))
    }

    /// The prefix of a scope's revisions, and of nothing else.
    ///
    /// It ends with their first digit, which is 0 below 10^19: `override/rev/` alone would also be where the profile
    /// of a node with the name `rev` is.
    pub fn revisions(&self, scope: &Scope) -> Bytes {
        self.below(&format!("cfg/profile/{scope}/rev/0"))
    }

    /// What every write of a profile puts, so that the next one can tell that it was made.
    pub fn serial(&self) -> Bytes {
        self.below("cfg/profile/serial")
    }

    /// The prefix of all weights.
    pub fn services(&self) -> Bytes {
        self.below("cfg/service/")
    }

    /// The weights of a service.
    pub fn weights(&self, service: &str) -> Bytes {
        self.below(&format!("cfg/service/{service}/weights"))
    }

    /// The service whose weights are at a key.
    pub fn service_of<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let path = key.strip_prefix(&*self.services())?;
        std::str::from_utf8(path).ok()?.strip_suffix("/weights")
    }

    /// What was done at a time by a write.
    pub fn audit(&self, day: &str, at_unix_ms: u64, write_id: &str) -> Bytes {
        self.below(&format!("audit/{day}/{at_unix_ms:020}-{write_id}"))
    }

    /// What a key is about; `None` for any that is not about profiles.
    pub fn parse(&self, key: &[u8]) -> Option<ProfileKey> {
        let below = key.strip_prefix(self.root.as_bytes())?;
        let path = std::str::from_utf8(below)
            .ok()?
            .strip_prefix("cfg/profile/")?;
        if path == "serial" {
            return Some(ProfileKey::Serial);
        }
        // From its end, because a scope may hold a slash and its last name may be any.
        let (front, last) = path.rsplit_once('/')?;
        if last == "head" {
            return Some(ProfileKey::Head(front.parse().ok()?));
        }
        let scope = front.strip_suffix("/rev")?.parse().ok()?;
        let is_number = last.len() == REVISION_DIGITS && last.bytes().all(|b| b.is_ascii_digit());
        let revision = last.parse().ok().filter(|_| is_number)?;
        Some(ProfileKey::Revision(scope, revision))
    }

    fn below(&self, path: &str) -> Bytes {
        format!("{}{path}", self.root).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_whatever_nodes_are_called() {
        let keys = ProfileKeys::new("default");
        for scope in ["fleet", "group/g", "node/head", "override", "override/rev"] {
            let scope: Scope = scope.parse().unwrap();
            let head = ProfileKey::Head(scope.clone());
            assert_eq!(keys.parse(&keys.head(&scope)), Some(head));
            let revision = ProfileKey::Revision(scope.clone(), 7);
            assert_eq!(keys.parse(&keys.revision(&scope, 7)), Some(revision));
            assert!(
                keys.revision(&scope, 7)
                    .starts_with(&keys.revisions(&scope))
            );
        }
        let rev = Scope::NodeOverride("rev".to_owned());
        let prefix = keys.revisions(&Scope::Override);
        assert!(!keys.head(&rev).starts_with(&prefix));
        assert!(!keys.revision(&rev, 1).starts_with(&prefix));
        assert_eq!(keys.parse(&keys.serial()), Some(ProfileKey::Serial));
        assert_eq!(keys.parse(b"/weir/v1/other/cfg/profile/fleet/head"), None);
        assert_eq!(keys.parse(&keys.weights("s")), None);
    }
}
