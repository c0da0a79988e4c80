//! Puts and touches, one after the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use thiserror::Error;
use weir_core::aside::What;
use weir_core::cache::UnixMs;
use weir_core::purge::{Hlc, Verdict};

use super::State;
use super::value::{fields, stored, tag_ids, time_of, version, version_of};
use crate::blocks::in_blocks;
use crate::entry::{Entry, Resource};
use crate::store::{Found, Store};
use crate::value::{encode, key_of};

/// A value, and when it is put.
#[derive(Clone, Debug)]
pub struct PutOrder {
    /// Its key.
    pub resource: Resource,
    /// Itself.
    pub value: Bytes,
    /// By which it is purged.
    pub tags: Vec<String>,
    /// How long it lives.
    pub ttl: Duration,
    /// Only if this is its version now.
    pub if_version: Option<String>,
    /// Only if there is none.
    pub if_absent: bool,
    /// Whoever puts it loaded it under this lease.
    pub lease: Option<String>,
}

/// Why a value was not put.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PutRefused {
    /// There is none.
    #[error("there is no value")]
    Absent,
    /// There is one.
    #[error("there is a value, of version `{is}`")]
    Present {
        /// Its version.
        is: String,
    },
    /// It has another version.
    #[error("the version is `{is}`")]
    OtherVersion {
        /// Which.
        is: String,
    },
    /// The lease is not held any more.
    #[error("the lease has ended")]
    LeaseEnded,
    /// Another value was put since the lease was given.
    #[error("version `{is}` was put since")]
    Overtaken {
        /// Its version.
        is: String,
    },
    /// A purge came after the load began.
    #[error("a purge came after the load began")]
    Purged,
    /// Clients hold so much of what is kept no more that nothing may be dropped for it.
    #[error(
        "clients hold more than {bytes_max} bytes that are kept no more; try again in a moment"
    )]
    Busy {
        /// What they may hold.
        bytes_max: u64,
    },
    /// There is no room for so much.
    #[error("{bytes} bytes with its key and tags, at most {bytes_max} are kept")]
    TooLarge {
        /// What it would take.
        bytes: u64,
        /// What it may.
        bytes_max: u64,
    },
}

impl<F: Clone + Send + Sync> Store<F> {
    /// Puts a value at node `own`. `beneath`: what Redis has, where that was looked at.
    ///
    /// # Errors
    /// [`PutRefused`]: nothing has changed.
    pub fn put_value(
        &self,
        order: PutOrder,
        own: &str,
        beneath: Option<Arc<Entry>>,
        now: UnixMs,
    ) -> Result<Arc<Entry>, PutRefused> {
        if !self.fills.makes_room() {
            let bytes_max = self.fills.bytes_max();
            return Err(PutRefused::Busy { bytes_max });
        }
        let mut state = self.values.state.lock();
        let resource = &order.resource;
        let current = self.believed(&state, resource, own, now).or(beneath);
        check(&order, current.as_deref())?;
        let put_at = self.fetch_time(now);
        let lease = order.lease.as_deref();
        let began = match lease {
            Some(lease) => self.began(&state, resource, lease, current.as_deref(), now)?,
            None => put_at,
        };
        let fields = fields(&version(put_at), &order.tags).unwrap_or_default();
        let entry = Arc::new(Entry::new(
            resource.clone(),
            stored(fields, now, now.after(order.ttl)),
            began,
            tag_ids(resource, &order.tags),
            // What came may be part of something longer.
            in_blocks(&order.value),
        ));
        self.keep_value(&entry, now)?;
        state.leases.end(resource.key.as_str());
        drop(state);
        self.tell(&entry, What::Put);
        Ok(entry)
    }

    fn began(
        &self,
        state: &State,
        resource: &Resource,
        lease: &str,
        current: Option<&Entry>,
        now: UnixMs,
    ) -> Result<Hlc, PutRefused> {
        let began = time_of(lease).ok_or(PutRefused::LeaseEnded)?;
        if let Some(current) = current
            && time_of(version_of(current)).is_some_and(|at| at > began)
        {
            let is = version_of(current).to_owned();
            return Err(PutRefused::Overtaken { is });
        }
        let held = state.leases.held(resource.key.as_str(), began, now);
        held.map(|lease| lease.began)
            .map_err(|_| PutRefused::LeaseEnded)
    }

    /// Gives a value another time to live.
    ///
    /// # Errors
    /// [`PutRefused::Absent`], [`PutRefused::OtherVersion`].
    pub fn touch_value(
        &self,
        resource: &Resource,
        (ttl, if_version): (Duration, Option<&str>),
        own: &str,
        beneath: Option<Arc<Entry>>,
        now: UnixMs,
    ) -> Result<Arc<Entry>, PutRefused> {
        let state = self.values.state.lock();
        let current = self.believed(&state, resource, own, now).or(beneath);
        let current = current.ok_or(PutRefused::Absent)?;
        is_version(if_version, &current)?;
        let headers = current.stored.headers.clone();
        let entry = Arc::new(Entry::new(
            resource.clone(),
            stored(headers, current.stored.responded_at, now.after(ttl)),
            current.fetched_at,
            current.tags.clone(),
            current.body.clone(),
        ));
        self.keep_value(&entry, now)?;
        drop(state);
        self.tell(&entry, What::Touched);
        Ok(entry)
    }

    fn keep_value(&self, entry: &Arc<Entry>, now: UnixMs) -> Result<(), PutRefused> {
        let bytes_max = self.memory.bytes_max().min(self.entry_bytes_max());
        if entry.cost_bytes() > bytes_max {
            let bytes = entry.cost_bytes();
            return Err(PutRefused::TooLarge { bytes, bytes_max });
        }
        if self.verdict(entry) != Verdict::Valid || !self.insert(entry, now) {
            return Err(PutRefused::Purged);
        }
        if let Some(l2) = self.l2() {
            // Later than whatever was put there before, also where the value is as old as its load or its first put.
            let stamp = self.fetch_time(now).time();
            match encode(entry) {
                Some((key, bytes)) => {
                    let ttl = entry.stored.keep_until.since(now);
                    l2.replace(&key, bytes, ttl, stamp);
                }
                None => l2.delete(&[&key_of(&entry.resource, None)], stamp),
            }
        }
        Ok(())
    }

    fn tell(&self, entry: &Entry, what: What) {
        self.values.turn(&entry.resource).notify_waiters();
        self.values.changes.of_value(entry, what);
    }

    /// Tells of values that have ended by now.
    pub fn expire_values(&self, now: UnixMs) {
        for ended in self.values.changes.ended(now) {
            let resource = &ended.resource;
            let is_purged = self.verdict_of(resource, &ended.tag_ids, ended.fetched_at);
            let key = resource.key.as_str();
            let still_lives = match self.find(key, &HeaderMap::new(), now) {
                Found::Entry(entry, _) => now < entry.stored.fresh_until,
                _ => false,
            };
            if !still_lives && is_purged == Verdict::Valid {
                self.drop_gone(key, now);
                self.values.changes.expired(ended);
            }
        }
    }
}

fn check(order: &PutOrder, current: Option<&Entry>) -> Result<(), PutRefused> {
    match (current, order.if_absent, &order.if_version) {
        (Some(current), true, _) => Err(PutRefused::Present {
            is: version_of(current).to_owned(),
        }),
        (None, _, Some(_)) => Err(PutRefused::Absent),
        (Some(current), _, wanted) => is_version(wanted.as_deref(), current),
        (None, _, None) => Ok(()),
    }
}

fn is_version(wanted: Option<&str>, current: &Entry) -> Result<(), PutRefused> {
    let is = version_of(current);
    match wanted.is_none_or(|wanted| wanted == is) {
        true => Ok(()),
        false => Err(PutRefused::OtherVersion { is: is.to_owned() }),
    }
}
