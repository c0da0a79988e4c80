//! Gives jobs to others whose holder is gone.

use weir_proto::control::records::v1 as records;

use super::error::Error;
use super::local::{Jobs, decode};
use super::moves::{Open, Tally, bury, unclaim, wait};
use super::types::limits_of;
use crate::keys::JobKeys;
use crate::store::{Compare, Entry, Pages, Revision, Txn};

/// Jobs of one call; more wait for the next.
const JOBS_MAX: usize = 100;

impl Jobs {
    /// Lets every job of a queue wait again whose claim ended without a word; those without attempts left are dead.
    /// Told is how many. Each is given back by a transaction of its own, which carries `guard` if there is one.
    ///
    /// # Errors
    /// When the store does not answer; what was given back stays so.
    pub async fn recover(&self, queue: &str, guard: Option<&Compare>) -> Result<usize, Error> {
        let keys = self.keys.jobs(queue)?;
        let mut held = Vec::new();
        let mut pages = Pages::below(&*self.store, keys.all_held());
        while let Some(page) = pages.next().await? {
            held.extend(page.entries);
        }
        if held.is_empty() {
            return Ok(0);
        }
        // Later than what is held: a claim that is not there any more has ended, or its job was claimed again.
        let mut claimed = std::collections::BTreeSet::new();
        let mut pages = Pages::below(&*self.store, keys.all_claims());
        while let Some(page) = pages.next().await? {
            claimed.extend(page.entries.into_iter().map(|entry| entry.key));
        }
        let mut recovered = 0;
        for entry in held {
            let id = JobKeys::job_id_below(&keys.all_held(), &entry.key);
            let Some(id) = id.filter(|id| !claimed.contains(&keys.claim(id))) else {
                continue;
            };
            match self.recover_one(&keys, id, &entry, guard).await {
                Ok(is_recovered) => recovered += usize::from(is_recovered),
                // One that cannot be read must not hold up the others.
                Err(Error::Record(error)) => tracing::error!(%error, "a job is left out"),
                Err(error) => return Err(error),
            }
            if recovered == JOBS_MAX {
                break;
            }
        }
        Ok(recovered)
    }

    /// Whether it was given back; if not, somebody else was faster, or is in the next round.
    async fn recover_one(
        &self,
        keys: &JobKeys,
        id: &str,
        held: &Entry,
        guard: Option<&Compare>,
    ) -> Result<bool, Error> {
        let [job, tally] = self.read([keys.job(id), keys.tally()]).await?;
        let mut when: Vec<Compare> = guard.cloned().into_iter().collect();
        when.extend([
            Compare::Absent(keys.claim(id)),
            Compare::ModRevision(held.key.clone(), held.mod_revision),
        ]);
        let mut then = unclaim(keys, id, None);
        let Some(job) = job else {
            // No change leaves it so; if one did, it is not looked at for ever.
            when.push(Compare::ModRevision(keys.job(id), Revision(0)));
            return Ok(self.store.txn(Txn::only_if(when, then)).await?.succeeded);
        };
        let open = Open::of(&job)?;
        when.push(open.is_seen(keys));
        let gone: records::JobHeld = decode(held)?;
        let now = self.now_unix_ms();
        let (mut job, settled) = (open.job, open.record.settled_fence);
        let node_id = gone.holder.unwrap_or_default().node_id;
        job.last_error = format!("its holder, node `{node_id}`, went away");
        if job.attempt < limits_of(&job).attempts_max {
            job.not_before_unix_ms = now;
            then.extend(wait(keys, job, settled, now));
        } else {
            let tally = Tally::of(tally.as_ref())?;
            when.push(tally.is_seen(keys));
            then.push(tally.changed(keys, -1, 1, 0));
            then.extend(bury(keys, job, settled, now)?);
        }
        Ok(self.store.txn(Txn::only_if(when, then)).await?.succeeded)
    }
}
