//! The profiles that are in the store, kept by whoever follows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_core::error::chain;
use weir_core::tuning::Scope;

use super::offer::OfferCache;
use super::record::{Head, Revision};
use super::stack::Stack;
use super::view::ProfileView;
use crate::keys::{Key, Keys};

/// What the store holds of profiles. Feed it with everything that happens below [`Keys::profiles`]; take a
/// snapshot after all of one store revision, never amid: a write is judged by the serial that came with it.
#[derive(Debug)]
pub struct ProfileBook {
    keys: Keys,
    stack: Stack,
    serial: u64,
    problems: BTreeMap<Scope, String>,
    offers: Arc<OfferCache>,
    next_id: u64,
}

impl ProfileBook {
    /// An empty one.
    pub fn new(keys: Keys) -> Self {
        Self {
            keys,
            stack: Stack::default(),
            serial: 0,
            problems: BTreeMap::new(),
            offers: Arc::default(),
            next_id: 1,
        }
    }

    /// Takes what was put; true if a snapshot would differ. Other keys than those of profiles are ignored.
    ///
    /// Of a record that cannot be read the problem is kept, and so is what the scope had before.
    pub fn put(&mut self, key: &[u8], value: &[u8], mod_revision: u64) -> bool {
        match self.keys.parse(key) {
            Some(Key::ProfileSerial) => {
                self.serial = mod_revision;
                true
            }
            Some(Key::ProfileHead { scope }) => {
                match Revision::read(key, value, &scope) {
                    Ok(revision) => {
                        self.problems.remove(&scope);
                        self.stack.put(Head {
                            revision,
                            mod_revision,
                            id: self.next_id,
                        });
                        self.next_id += 1;
                    }
                    Err(error) => {
                        let why = chain(&error);
                        let problem = format!("the profile of {scope} cannot be read: {why}");
                        self.problems.insert(scope, problem);
                    }
                }
                true
            }
            _ => false,
        }
    }

    /// Takes what was deleted; true if a snapshot would differ.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        match self.keys.parse(key) {
            Some(Key::ProfileSerial) => {
                self.serial = 0;
                true
            }
            Some(Key::ProfileHead { scope }) => {
                let was_problem = self.problems.remove(&scope).is_some();
                self.stack.remove(&scope) || was_problem
            }
            _ => false,
        }
    }

    /// Lets overrides end that hold no longer; true if a snapshot would differ.
    pub fn expire(&mut self, now_unix_ms: u64) -> bool {
        self.stack.expire(now_unix_ms)
    }

    /// All of it as it is now. Offers of layers that are still the same are kept.
    pub fn snapshot(&mut self) -> Arc<ProfileView> {
        let mut ids: Vec<u64> = self.stack.heads().map(|head| head.id).collect();
        ids.sort_unstable();
        self.offers.keep(&ids);
        Arc::new(ProfileView {
            stack: self.stack.clone(),
            serial: self.serial,
            problems: self.problems.values().cloned().collect(),
            offers: Arc::clone(&self.offers),
        })
    }
}
