//! Who is heard here, and until when. Pure: time comes in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::leases::Tenure;
use crate::store::Revision;

/// A registration that is heard here.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) registration_id: String,
    pub(super) ttl: Duration,
    pub(super) tenure: Tenure,
    /// The token that registered it; empty without one.
    pub(super) token: String,
    ends_at: Instant,
    /// When it is looked at; never after it ends. A heartbeat does not move it, so it costs nothing.
    look_at: Instant,
}

impl Heard {
    /// Whether this is another registration, and later than what the store showed at a revision.
    pub(super) fn is_newer(&self, registration_id: &str, seen: Revision) -> bool {
        let is_other = self.registration_id != registration_id;
        // What is not written yet will be written over what was seen.
        let is_later = self.tenure.written().is_none_or(|at| at >= seen);
        is_other && is_later && !self.tenure.is_over()
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Registrations {
    heard: BTreeMap<Bytes, Heard>,
    looks: BTreeSet<(Instant, Bytes)>,
}

impl Registrations {
    pub(super) fn len(&self) -> usize {
        self.heard.len()
    }

    pub(super) fn get(&self, key: &Bytes) -> Option<&Heard> {
        self.heard.get(key)
    }

    /// Begins to wait for heartbeats, of this registration instead of another.
    pub(super) fn insert(
        &mut self,
        key: &Bytes,
        (registration_id, token): (String, String),
        ttl: Duration,
        tenure: Tenure,
        now: Instant,
    ) {
        self.remove(key);
        let ends_at = now + ttl;
        self.looks.insert((ends_at, key.clone()));
        let heard = Heard {
            registration_id,
            ttl,
            tenure,
            token,
            ends_at,
            look_at: ends_at,
        };
        self.heard.insert(key.clone(), heard);
    }

    /// A heartbeat; false if this registration is not heard here, or its key is no longer ours.
    pub(super) fn wind(&mut self, key: &Bytes, registration_id: &str, now: Instant) -> bool {
        let heard = self.heard.get_mut(key);
        let known = heard.filter(|heard| heard.registration_id == registration_id);
        let Some(heard) = known.filter(|heard| !heard.tenure.is_over()) else {
            return false;
        };
        heard.ends_at = now + heard.ttl;
        true
    }

    pub(super) fn remove(&mut self, key: &Bytes) -> Option<Heard> {
        let heard = self.heard.remove(key)?;
        self.looks.remove(&(heard.look_at, key.clone()));
        Some(heard)
    }

    /// When to call [`Self::silent`] next.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// Takes out one that was silent for too long.
    pub(super) fn silent(&mut self, now: Instant) -> Option<(Bytes, Heard)> {
        while let Some((at, _)) = self.looks.first()
            && *at <= now
        {
            let (_, key) = self.looks.pop_first()?;
            let heard = self.heard.get_mut(&key)?;
            if heard.ends_at <= now {
                return self.heard.remove(&key).map(|heard| (key, heard));
            }
            heard.look_at = heard.ends_at;
            self.looks.insert((heard.ends_at, key));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn one(now: Instant) -> (Registrations, Bytes) {
        let mut all = Registrations::default();
        let key = Bytes::from_static(b"k");
        let id = ("id".to_owned(), String::new());
        all.insert(&key, id, TTL, Tenure::default(), now);
        (all, key)
    }

    #[test]
    fn only_silence_ends_a_registration() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let (mut all, key) = one(start);
        assert!(all.wind(&key, "id", at(9)));
        assert!(!all.wind(&key, "other", at(10)));
        assert!(all.silent(at(18)).is_none());
        assert_eq!(all.next_look(), Some(at(19)));
        let (gone, heard) = all.silent(at(19)).unwrap();
        assert_eq!((gone, heard.registration_id.as_str()), (key, "id"));
        assert_eq!((all.len(), all.next_look()), (0, None));
    }

    #[test]
    fn a_newer_registration_has_its_own_time() {
        let start = Instant::now();
        let (mut all, key) = one(start);
        let short = Duration::from_secs(2);
        let new = ("new".to_owned(), String::new());
        all.insert(&key, new, short, Tenure::default(), start);
        assert_eq!(all.next_look(), Some(start + short));
        assert!(!all.wind(&key, "id", start));
        assert!(all.silent(start + short).is_some());
        assert_eq!(all.next_look(), None);
    }
}
