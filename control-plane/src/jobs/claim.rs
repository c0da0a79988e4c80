//! Hands out jobs, within the bounds of the fleet.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;
use weir_proto::control::records::v1 as records;

use super::error::Error;
use super::local::{Jobs, decode};
use super::moves::{Open, written};
use super::ready::Candidate;
use super::rules::{check_want, free_slot, may_start, pick};
use super::tries::Tries;
use super::types::{Claim, Job, State, Ticket, Want, limits_of};
use crate::keys::JobKeys;
use crate::records::encode;
use crate::store::{Compare, Lease, LeaseId, Op, Pages, Revision, Txn};

/// Queues whose last look for lost jobs is remembered.
const QUEUES_REMEMBERED_MAX: usize = 1_000;

/// What the fleet's bounds leave.
struct Room {
    slot: Option<u32>,
    /// The last start that was seen, where starts are spaced.
    gate: Option<Revision>,
}

/// What a try came to.
enum Tried {
    Claimed(Box<Claim>),
    /// Nothing is ready, or there is no room.
    Nothing,
}

impl Jobs {
    pub(super) async fn take(&self, want: Want) -> Result<Option<Claim>, Error> {
        check_want(&want).map_err(Error::Problems)?;
        let keys = self.keys.jobs(&want.queue)?;
        self.recover_sometimes(&want.queue).await?;
        let (mut tries, mut lease) = (Tries::begin(), None);
        let taken = loop {
            let outcome = self.try_take(&keys, &want, &mut lease).await;
            match tries.after(outcome).await {
                Ok(None) => {}
                Ok(Some(tried)) => break Ok(tried),
                // So many others: they have the jobs.
                Err(Error::Contended) => break Ok(Tried::Nothing),
                Err(error) => break Err(error),
            }
        };
        match taken {
            Ok(Tried::Claimed(claim)) => Ok(Some(*claim)),
            other => {
                self.give_back(&mut lease).await;
                other.map(|_| None)
            }
        }
    }

    /// Ends a lease that is not needed, or that may have got a job without our knowing. Else it ends by itself.
    async fn give_back(&self, lease: &mut Option<Lease>) {
        if let Some(lease) = lease.take() {
            let _ = self.store.revoke(lease.id).await;
        }
    }

    async fn recover_sometimes(&self, queue: &str) -> Result<(), Error> {
        let now = Instant::now();
        {
            let mut at: tokio::sync::MutexGuard<'_, BTreeMap<String, Instant>> =
                self.recovered_at.lock().await;
            let due = at.get(queue).map(|last| *last + self.options.recover_every);
            if due.is_some_and(|due| now < due) {
                return Ok(());
            }
            if at.len() >= QUEUES_REMEMBERED_MAX {
                at.clear();
            }
            at.insert(queue.to_owned(), now);
        }
        self.recover(queue, None).await?;
        Ok(())
    }

    async fn try_take(
        &self,
        keys: &JobKeys,
        want: &Want,
        lease: &mut Option<Lease>,
    ) -> Result<Option<Tried>, Error> {
        let now = self.now_unix_ms();
        let Some(room) = self.room(keys, want, now).await? else {
            return Ok(Some(Tried::Nothing));
        };
        let candidates = self.candidates(keys, want, now).await?;
        let Some(candidate) = pick(&candidates, self.random().u64(..)) else {
            return Ok(Some(Tried::Nothing));
        };
        let Some(entry) = self.store.get(keys.job(&candidate.job_id), None).await? else {
            return Ok(None);
        };
        let open = Open::of(&entry)?;
        let lease_now = match lease {
            Some(lease) => *lease,
            None => *lease.insert(self.store.grant(self.options.claim_ttl).await?),
        };
        let txn = claiming(keys, want, candidate, &open, &room, lease_now.id, now);
        let fence = match self.commit(txn).await {
            Ok(made) if made.succeeded => made.revision,
            Ok(_) => return Ok(None),
            Err(error) => match self.is_ours(keys, &candidate.job_id, lease_now.id).await {
                Ok(Some(fence)) => fence,
                _ => {
                    // If it is made late it must not live on with the lease of another job.
                    self.give_back(lease).await;
                    return Err(error);
                }
            },
        };
        let claim = told(open.job, want, lease_now, fence);
        Ok(Some(Tried::Claimed(Box::new(claim))))
    }

    /// The fence of a job's claim, if it has this lease, which nobody else has.
    async fn is_ours(
        &self,
        keys: &JobKeys,
        job_id: &str,
        lease: LeaseId,
    ) -> Result<Option<Revision>, Error> {
        let found = self.store.get(keys.claim(job_id), None).await?;
        let ours = found.filter(|entry| entry.lease == Some(lease));
        Ok(ours.map(|entry| entry.create_revision))
    }

    /// What the fleet's bounds leave; `None` if they leave nothing.
    async fn room(&self, keys: &JobKeys, want: &Want, now: u64) -> Result<Option<Room>, Error> {
        let mut room = Room {
            slot: None,
            gate: None,
        };
        if !want.fleet_interval_min.is_zero() {
            let gate = self.store.get(keys.gate(), None).await?;
            let last: Option<records::JobGate> = gate.as_ref().map(decode).transpose()?;
            let last = last.map(|gate| gate.last_start_unix_ms);
            if last.is_some_and(|last| !may_start(now, last, want.fleet_interval_min)) {
                return Ok(None);
            }
            room.gate = Some(gate.map_or(Revision(0), |entry| entry.mod_revision));
        }
        if want.fleet_concurrent_max > 0 {
            let mut pages = Pages::below(&*self.store, keys.all_slots());
            let mut taken = BTreeSet::new();
            while let Some(page) = pages.next().await? {
                taken.extend(page.entries.iter().filter_map(|e| keys.parse_slot(&e.key)));
            }
            let draw = self.random().u64(..);
            room.slot = free_slot(&taken, want.fleet_concurrent_max, draw);
            if room.slot.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(room))
    }
}

/// The transaction of a claim.
fn claiming(
    keys: &JobKeys,
    want: &Want,
    candidate: &Candidate,
    open: &Open,
    room: &Room,
    lease: LeaseId,
    now: u64,
) -> Txn {
    let id = &candidate.job_id;
    let mut when = vec![
        Compare::ModRevision(candidate.key.clone(), candidate.seen),
        Compare::Absent(keys.claim(id)),
        open.is_seen(keys),
    ];
    let holder = Some(want.holder.clone());
    let claim = records::JobClaim {
        holder: holder.clone(),
        slot_plus_one: room.slot.map_or(0, |slot| slot + 1),
    };
    let leased = |key, value| Op::Put {
        key,
        value,
        lease: Some(lease),
    };
    let claimed = claimed(open.job.clone(), want, now);
    let mut then = vec![
        leased(keys.claim(id), encode(&claim)),
        Op::put(keys.held(id), encode(&records::JobHeld { holder })),
        Op::put(keys.job(id), written(claimed, open.record.settled_fence)),
        Op::Delete(candidate.key.clone()),
    ];
    if let Some(slot) = room.slot {
        when.push(Compare::Absent(keys.slot(slot)));
        let job_id = id.clone();
        then.push(leased(keys.slot(slot), encode(&records::JobRef { job_id })));
    }
    if let Some(seen) = room.gate {
        when.push(Compare::ModRevision(keys.gate(), seen));
        let last_start_unix_ms = now;
        let gate = records::JobGate { last_start_unix_ms };
        then.push(Op::put(keys.gate(), encode(&gate)));
    }
    Txn::only_if(when, then)
}

/// The job once it is claimed.
fn claimed(mut job: Job, want: &Want, now: u64) -> Job {
    job.attempt = job.attempt.saturating_add(1);
    job.claimed_at_unix_ms = now;
    job.holder = Some(want.holder.clone());
    job.set_state(State::Claimed);
    job
}

/// What whoever claimed it is told.
fn told(job: Job, want: &Want, lease: Lease, fence: Revision) -> Claim {
    let job = claimed(job, want, 0);
    Claim {
        attempts_max: limits_of(&job).attempts_max,
        ticket: Ticket {
            queue: want.queue.clone(),
            job_id: job.job_id,
            node_id: want.holder.node_id.clone(),
            boot_id: want.holder.boot_id.clone(),
            fence: fence.0,
        },
        spec: job.spec.unwrap_or_default(),
        attempt: job.attempt,
        ttl: lease.ttl,
    }
}
