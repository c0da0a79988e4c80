//! A scope's profile as the store keeps it.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use weir_core::tuning::Scope;
use weir_proto::control::records::v1 as records;
use weir_proto::control::v1 as pb;
use weir_proto::sync::{ContentHash, content_hash};

use super::settings::Settings;
use crate::records::{Error, decode, encode};

/// Which nodes are in a group, and which group wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// A node is in the group if it has all of these.
    pub labels: BTreeMap<String, String>,
    /// Higher wins.
    pub priority: u32,
}

impl Selector {
    /// Whether it picks a node with these labels.
    pub fn picks(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |(key, value)| labels.get(key) == Some(value);
        self.labels.iter().all(has)
    }
}

/// One immutable revision of a scope's profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// Whose.
    pub scope: Scope,
    /// 1 for the first of its scope; 0 for what a scope without a profile has.
    pub revision: u64,
    /// What it sets.
    pub settings: Settings,
    /// Who wrote it.
    pub author: String,
    /// Why.
    pub message: String,
    /// When.
    pub written_at_unix_ms: u64,
    /// The revision that it restores; 0 for none.
    pub rollback_of: u64,
    /// Of a group, and of nothing else.
    pub group: Option<Selector>,
    /// When an override ends; 0 for what does not end by itself.
    pub until_unix_ms: u64,
    /// Names the write that made it.
    pub write_id: String,
}

/// The newest revision of a scope, and where it is in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// What it says.
    pub revision: Revision,
    /// The store's revision that put it.
    pub mod_revision: u64,
    /// Tells it from every other head of its book; 0 for one that is only considered.
    pub(super) id: u64,
}

impl Revision {
    /// What a scope has that has no profile.
    pub fn none(scope: Scope) -> Self {
        Self {
            scope,
            revision: 0,
            settings: Settings::default(),
            author: String::new(),
            message: String::new(),
            written_at_unix_ms: 0,
            rollback_of: 0,
            group: None,
            until_unix_ms: 0,
            write_id: String::new(),
        }
    }

    /// Of a group the priority; 0 for every other scope.
    pub fn priority(&self) -> u32 {
        self.group.as_ref().map_or(0, |group| group.priority)
    }

    /// Whether it is an override that has ended.
    pub fn has_ended(&self, now_unix_ms: u64) -> bool {
        self.scope.is_override() && self.until_unix_ms <= now_unix_ms
    }

    /// Names what it sets and for whom; not who wrote it, when, and until when it holds.
    pub fn hash(&self) -> ContentHash {
        let mut content = self.settings.encode().encode_to_vec();
        if let Some(group) = &self.group {
            // Keeps a group apart from settings that happen to have the same bytes.
            content.push(0);
            content.extend(wire_selector(group).encode_to_vec());
        }
        content_hash(&content)
    }

    /// Reads the record at a key, which is one of this scope.
    pub fn read(key: &[u8], value: &[u8], scope: &Scope) -> Result<Self, Error> {
        let record: records::Profile = decode(key, value)?;
        let wrong = |field, value: &str, bound: &str| Err(Error::wrong(key, field, value, bound));
        if record.scope != scope.to_string() {
            return wrong("scope", &record.scope, &scope.to_string());
        }
        if record.revision == 0 {
            return wrong("revision", "0", "at least 1");
        }
        let is_group = matches!(scope, Scope::Group(_));
        if record.group.is_some() != is_group {
            let found = if is_group { "absent" } else { "present" };
            return wrong("group", found, "present for groups and for nothing else");
        }
        Ok(Self {
            scope: scope.clone(),
            revision: record.revision,
            settings: Settings::decode(&record.profile.unwrap_or_default()),
            author: record.author,
            message: record.message,
            written_at_unix_ms: record.written_at_unix_ms,
            rollback_of: record.rollback_of,
            group: record.group.map(|group| Selector {
                labels: group.labels,
                priority: group.priority,
            }),
            until_unix_ms: record.until_unix_ms,
            write_id: record.write_id,
        })
    }

    /// Writes the record.
    pub fn write(&self) -> Bytes {
        encode(&records::Profile {
            scope: self.scope.to_string(),
            revision: self.revision,
            profile: Some(self.settings.encode()),
            author: self.author.clone(),
            message: self.message.clone(),
            written_at_unix_ms: self.written_at_unix_ms,
            rollback_of: self.rollback_of,
            group: self.group.as_ref().map(wire_selector),
            until_unix_ms: self.until_unix_ms,
            write_id: self.write_id.clone(),
            hash: self.hash().to_vec(),
        })
    }
}

/// A selector as it is on the wire.
pub(crate) fn wire_selector(selector: &Selector) -> pb::GroupSelector {
    pb::GroupSelector {
        labels: selector.labels.clone(),
        priority: selector.priority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Revision {
        let labels = [("zone".to_owned(), "eu".to_owned())].into_iter().collect();
        Revision {
            revision: 3,
            author: "ana".to_owned(),
            message: "why".to_owned(),
            written_at_unix_ms: 5,
            rollback_of: 1,
            group: Some(Selector {
                labels,
                priority: 7,
            }),
            write_id: "w".to_owned(),
            ..Revision::none(Scope::Group("g".to_owned()))
        }
    }

    #[test]
    fn a_revision_is_read_back() {
        let written = group();
        let read = Revision::read(b"k", &written.write(), &written.scope);
        assert_eq!(read, Ok(written));
    }

    #[test]
    fn a_record_that_is_not_what_its_key_says_is_refused() {
        let value = group().write();
        let read = |scope: &str| Revision::read(b"k", &value, &scope.parse().unwrap());
        let error = read("group/h").unwrap_err().to_string();
        assert_eq!(error, "in `k` scope is `group/g`; allowed: group/h");
        let mut without = group();
        without.group = None;
        let error = Revision::read(b"k", &without.write(), &without.scope).unwrap_err();
        assert!(error.to_string().contains("group is `absent`"), "{error}");
        let fleet = Revision::none(Scope::Fleet);
        let error = Revision::read(b"k", &fleet.write(), &fleet.scope).unwrap_err();
        assert!(error.to_string().contains("at least 1"), "{error}");
    }

    #[test]
    fn a_hash_names_content_and_not_its_history() {
        let (a, mut b) = (group(), group());
        (b.author, b.revision, b.written_at_unix_ms) = ("bo".to_owned(), 9, 1);
        assert_eq!(a.hash(), b.hash());
        b.group.as_mut().unwrap().priority = 8;
        assert_ne!(a.hash(), b.hash());
    }
}
