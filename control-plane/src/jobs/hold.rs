//! Exclusive holds: what is one process's alone while it says so.

use bytes::Bytes;
use weir_proto::control::records::v1 as records;

use super::error::Error;
use super::local::{Jobs, decode};
use super::rules::check_holder;
use super::types::{Hold, Holder};
use crate::records::encode;
use crate::store::{self, Compare, Entry, LeaseId, Op, Revision, Txn};

impl Jobs {
    pub(super) async fn take_hold(
        &self,
        queue: &str,
        name: &str,
        holder: Holder,
    ) -> Result<Hold, Error> {
        let problems = check_holder(&holder.node_id, &holder.boot_id);
        if !problems.is_empty() {
            return Err(Error::Problems(problems));
        }
        let key = self.keys.jobs(queue)?.hold(name)?;
        if let Some(taken) = self.store.get(key.clone(), None).await? {
            if !is_earlier_life(&taken, &holder) {
                return Err(held(name, &taken));
            }
            self.free(&key, &taken).await?;
        }
        let lease = self.store.grant(self.options.claim_ttl).await?;
        let taken = self.put_hold(&key, name, &holder, lease.id).await;
        match taken {
            Ok(fence) => Ok(Hold {
                queue: queue.to_owned(),
                name: name.to_owned(),
                holder,
                fence: fence.0,
                ttl: lease.ttl,
            }),
            Err(error) => {
                // The lease ends by itself if this fails. If the hold was taken without our knowing, it frees it.
                let _ = self.store.revoke(lease.id).await;
                Err(error)
            }
        }
    }

    /// The fence, if the hold was free.
    async fn put_hold(
        &self,
        key: &Bytes,
        name: &str,
        holder: &Holder,
        lease: LeaseId,
    ) -> Result<Revision, Error> {
        let record = records::JobHold {
            holder: Some(holder.clone()),
            since_unix_ms: self.now_unix_ms(),
        };
        let put = Op::Put {
            key: key.clone(),
            value: encode(&record),
            lease: Some(lease),
        };
        let taken = self.commit(Txn {
            when: vec![Compare::Absent(key.clone())],
            then: vec![put],
            or_else: vec![Op::Get(key.clone())],
        });
        match taken.await {
            Ok(outcome) if outcome.succeeded => Ok(outcome.revision),
            Ok(outcome) => Err(match outcome.results.first() {
                Some(store::OpResult::Got(Some(entry))) => held(name, entry),
                _ => Error::Contended,
            }),
            Err(error @ Error::Uncertain(_)) => {
                // Nobody else has this lease, so it tells whose the hold is.
                let found = self.store.get(key.clone(), None).await;
                let found = found.ok().flatten();
                let ours = found.filter(|entry| entry.lease == Some(lease));
                ours.map_or(Err(error), |entry| Ok(entry.create_revision))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn keep_hold(&self, hold: &Hold) -> Result<(), Error> {
        let key = self.keys.jobs(&hold.queue)?.hold(&hold.name)?;
        let found = self.store.get(key, None).await?;
        let entry = ours(hold, found.as_ref())?;
        let lease = entry.lease.ok_or_else(|| lost(hold, None))?;
        match self.store.keep_alive(lease).await {
            Err(store::Error::LeaseNotFound) => Err(lost(hold, None)),
            kept => Ok(kept?),
        }
    }

    pub(super) async fn end_hold(&self, hold: &Hold) -> Result<(), Error> {
        let key = self.keys.jobs(&hold.queue)?.hold(&hold.name)?;
        let found = self.store.get(key.clone(), None).await?;
        let Ok(entry) = ours(hold, found.as_ref()) else {
            return Ok(());
        };
        self.free(&key, entry).await
    }

    /// Ends this hold, and no later one of its name.
    async fn free(&self, key: &Bytes, entry: &Entry) -> Result<(), Error> {
        let fence = Compare::CreateRevision(key.clone(), entry.create_revision);
        let delete = Op::Delete(key.clone());
        self.commit(Txn::only_if(vec![fence], vec![delete])).await?;
        if let Some(lease) = entry.lease {
            // It holds nothing any more, and else ends by itself.
            let _ = self.store.revoke(lease).await;
        }
        Ok(())
    }
}

fn holder_of(entry: &Entry) -> Option<Holder> {
    decode::<records::JobHold>(entry).ok()?.holder
}

/// Whether the process that holds it is gone, because its node has started again since.
fn is_earlier_life(entry: &Entry, now: &Holder) -> bool {
    holder_of(entry).is_some_and(|then| then.node_id == now.node_id && then.boot_id < now.boot_id)
}

fn held(name: &str, entry: &Entry) -> Error {
    Error::Held {
        name: name.to_owned(),
        by: holder_of(entry).unwrap_or_default(),
    }
}

fn lost(hold: &Hold, by: Option<Holder>) -> Error {
    Error::Lost {
        name: hold.name.clone(),
        by,
    }
}

/// The entry of a hold, if it still is the caller's.
fn ours<'a>(hold: &Hold, entry: Option<&'a Entry>) -> Result<&'a Entry, Error> {
    let Some(entry) = entry else {
        return Err(lost(hold, None));
    };
    let holder = holder_of(entry);
    if entry.create_revision.0 == hold.fence && holder.as_ref() == Some(&hold.holder) {
        return Ok(entry);
    }
    Err(lost(hold, holder))
}
